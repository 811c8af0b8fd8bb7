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
from typing import Any

import lightning
from torch.utils.data import DistributedSampler, Sampler


def share_of(trainer: lightning.Trainer | None) -> tuple[int, int]:
    """Return how many processes learn together, and which of them this is."""
    return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)


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


class SharedBatches(DistributedSampler):
    """
    Each process's part of every batch, one position after another.

    It is no sampler of batches, because Lightning would share out such a one once more.

    :param batches: what all processes together learn from at a step; of equal sizes, and the same
        in every process.
    :param batch_size: positions of each process in a batch.
    :param processes: how many share the batches.
    :param process: which of them this is.
    """

    def __init__(
            self, batches: Sampler[list[Any]], batch_size: int, processes: int = 1,
            process: int = 0):
        super().__init__(batches, processes, process, shuffle=False)
        self.batches, self.batch_size = batches, batch_size

    def __len__(self) -> int:
        """Count this process's positions in an epoch."""
        return len(self.batches) * self.batch_size

    def __iter__(self) -> Iterator[Any]:
        """Give this process's positions; those of one batch follow each other."""
        first = self.rank * self.batch_size
        for batch in self.batches:
            yield from batch[first:first + self.batch_size]
