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


"""The order of the samples: shared out among processes, and continued where it was left."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice

from torch.utils.data import DistributedSampler


class ContinuedSampler(DistributedSampler):
    """
    Positions in their order, each process its part of every batch, perhaps from the middle on.

    Epoch e counts on from e times the length. With W processes and batches of B, the b-th batches
    of all processes together are the positions from b W B on, whatever W is: as many processes
    with smaller batches learn from the same samples.

    :param data: what is drawn from; only its length is used.
    :param processes: how many share the positions.
    :param process: which of them this is.
    """

    def __init__(self, data: Sized, processes: int = 1, process: int = 0):
        super().__init__(data, processes, process, shuffle=False, drop_last=True)
        self.done = 0

    def continue_from(self, epoch: int, done: int) -> None:
        """
        Let the next iteration begin in the middle of an epoch; later ones are whole again.

        :param epoch: the epoch, from 0.
        :param done: positions of the epoch that all processes together have had.
        """
        self.set_epoch(epoch)
        self.done = done

    def __iter__(self) -> Iterator[int]:
        """Give this process's positions."""
        first, self.done = self.done // self.num_replicas, 0
        offset = self.epoch * len(self.dataset)
        return (offset + index for index in islice(super().__iter__(), first, None))
