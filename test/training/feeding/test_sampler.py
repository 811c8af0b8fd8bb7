# Copyright 2026 The sync_perception Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The order of positions: shared out, continued, epoch after epoch."""

from __future__ import annotations

import pytest
from sync_perception.training.feeding.sampler import ContinuedSampler, SharedBatches
from torch.utils.data import BatchSampler


def test_processes_share_every_batch():
    """Two processes with batches of 3 see together what one with batches of 6 sees."""
    alone = list(BatchSampler(ContinuedSampler(range(20)), 6, drop_last=True))
    parts = [list(BatchSampler(ContinuedSampler(range(20), 2, process), 3, drop_last=True))
             for process in (0, 1)]
    assert [sorted(first + second) for first, second in zip(*parts)] == alone
    assert alone[0] == [0, 1, 2, 3, 4, 5] and len(alone) == len(parts[0]) == 3


@pytest.mark.parametrize('processes', [1, 2])
def test_an_epoch_goes_on_in_its_middle_and_the_next_is_whole(processes):
    samplers = [ContinuedSampler(range(12), processes, process) for process in range(processes)]
    for sampler in samplers:
        sampler.continue_from(epoch=1, done=8)
    assert sorted(sum(map(list, samplers), [])) == [20, 21, 22, 23]
    assert len(samplers[0]) == 12 // processes  # a training's length does not change
    for sampler in samplers:
        sampler.set_epoch(2)
    assert sorted(sum(map(list, samplers), [])) == list(range(24, 36))


@pytest.mark.parametrize('processes', [1, 2, 3])
def test_batches_are_shared_out(processes):
    """Each process has a part of every batch, none has another's, and all have as many."""
    batches = [list('abcdef'), list('ghijkl')]
    size = 6 // processes
    parts = [SharedBatches(batches, size, processes, process) for process in range(processes)]
    assert [len(part) for part in parts] == [12 // processes] * processes
    own = [list(BatchSampler(part, size, drop_last=True)) for part in parts]
    assert [sum(together, []) for together in zip(*own)] == batches
