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

"""Recordings to measure on: which, how many, and for how many processes."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.training.feeding.recordings import EvaluationSamples, EvaluationSource
from torch.utils.data import DataLoader


@pytest.fixture
def root(tmp_path, write_image, random_image):
    for number in range(7):
        write_image(tmp_path / 'val' / f'{number}.png', random_image())
        write_image(tmp_path / 'valannot' / f'{number}.png', np.zeros((8, 12), np.uint8))
    return tmp_path


def ids(measured):
    return [measured[index].sample.id for index in range(len(measured))]


def test_samples_are_spread_over_the_split(root):
    whole = EvaluationSource('camvid', str(root))
    assert ids(EvaluationSamples(whole)) == [f'val/{n}' for n in range(7)]
    few = EvaluationSource('camvid', str(root), samples=3)
    assert ids(EvaluationSamples(few)) == ['val/0', 'val/2', 'val/4']
    assert few.name == 'camvid' and EvaluationSource('camvid', str(root), name='x').name == 'x'


def test_processes_get_as_many_and_nothing_twice(root):
    measured = EvaluationSamples(EvaluationSource('camvid', str(root)), processes=3)
    assert len(measured) == 9
    assert [measured[7].sample, measured[8].sample] == [None, None]
    loaded = list(DataLoader(measured, batch_size=None, num_workers=1))
    assert [m.sample.id for m in loaded if m.sample] == [f'val/{n}' for n in range(7)]


def test_what_cannot_be_measured_is_refused(root):
    with pytest.raises(ValueError, match="'camvit'"):
        EvaluationSource('camvit', str(root))
    with pytest.raises(ValueError, match='at least 1 sample, got 0'):
        EvaluationSource('camvid', str(root), samples=0)
    with pytest.raises(ValueError, match='has the splits'):
        EvaluationSamples(EvaluationSource('camvid', str(root), split='dev'))
