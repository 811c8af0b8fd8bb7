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


"""Samplers that split samples among processes, and resume after an interruption."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

import lightning
from torch.utils.data import DistributedSampler, Sampler


def share_of(trainer: lightning.Trainer | None) -> tuple[int, int]:
    """Return the number of training processes and the rank of this one."""
    return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)


class ContinuedSampler(DistributedSampler):
    """
    Sequential sampler that gives each process its part of every batch, and can be resumed.

    Positions of epoch e start at e times the length. With W processes and batches of size B, the
    b-th batches of all processes together are the positions from b W B on: more processes with
    smaller batches use the same samples in a step.

    :param data: data set, of which only the length is used.
    :param processes: number of processes.
    :param process: rank of this process.
    """

    def __init__(self, data: Sized, processes: int = 1, process: int = 0):
        super().__init__(data, processes, process, shuffle=False, drop_last=True)
        self.done = 0

    def continue_from(self, epoch: int, done: int) -> None:
        """
        Start the next iteration in the middle of an epoch; later ones are complete.

        :param epoch: the epoch, from 0.
        :param done: processed positions of the epoch over all processes.
        """
        self.set_epoch(epoch)
        self.done = done

    def __iter__(self) -> Iterator[int]:
        """Yield this process's positions."""
        first, self.done = self.done // self.num_replicas, 0
        offset = self.epoch * len(self.dataset)
        return (offset + index for index in islice(super().__iter__(), first, None))


class SharedBatches(DistributedSampler):
    """
    Sampler of each process's part of every batch, position by position.

    It is not a batch sampler, because Lightning would split one among the processes again.

    :param batches: total batches over all processes, of equal sizes, identical in every process.
    :param batch_size: positions per batch of each process.
    :param processes: number of processes.
    :param process: rank of this process.
    """

    def __init__(
            self, batches: Sampler[list[Any]], batch_size: int, processes: int = 1,
            process: int = 0):
        super().__init__(batches, processes, process, shuffle=False)
        self.batches, self.batch_size = batches, batch_size

    def __len__(self) -> int:
        """Return the number of this process's positions per epoch."""
        return len(self.batches) * self.batch_size

    def __iter__(self) -> Iterator[Any]:
        """Yield this process's positions, batch by batch."""
        first = self.rank * self.batch_size
        for batch in self.batches:
            yield from batch[first:first + self.batch_size]
