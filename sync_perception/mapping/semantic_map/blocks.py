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

"""Blocks of voxels in memory: a hash of their positions, and one array for each property."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sync_perception.mapping.semantic_map.settings import BLOCK_SIDE
import torch
from torch import Tensor

VOXELS = BLOCK_SIDE ** 3
KEPT_CLASSES = 3
"""Number of classes whose evidence a voxel stores."""
BITS = 21
HALF = 1 << (BITS - 1)
FIRST_CAPACITY = 1024
FREE = 0.95
"""A block whose distances all exceed this has no surface."""
PROPERTIES = {
    'distance': (torch.float16, ()), 'weight': (torch.float16, ()), 'color': (torch.uint8, (3,)),
    'classes': (torch.uint8, (KEPT_CLASSES,)), 'evidence': (torch.float16, (KEPT_CLASSES,))}
"""
Type and shape of each property of a voxel: the signed distance to the surface in truncation
distances (positive in front of it), its weight (0: never seen), the colour, the most probable
classes and their log-odds against every class that is not kept.
"""
BLOCK_BYTES = VOXELS * sum(
    dtype.itemsize * int(np.prod(shape)) for dtype, shape in PROPERTIES.values())


def pack(positions: np.ndarray) -> np.ndarray:
    """Return int (N, 3) positions of blocks as one int64 each; they sort by x, y, z."""
    x, y, z = (np.asarray(positions, np.int64) + HALF).T
    return x << 2 * BITS | y << BITS | z


def unpack(keys: np.ndarray) -> np.ndarray:
    """Return the int64 (N, 3) positions of packed keys."""
    keys = np.asarray(keys, np.int64)
    mask = (1 << BITS) - 1
    return np.stack([keys >> 2 * BITS, keys >> BITS & mask, keys & mask], axis=-1) - HALF


class Blocks:
    """
    Growing set of voxel blocks.

    :param device: torch device of the arrays.
    :ivar arrays: a tensor (capacity, VOXELS, ...) for each of `PROPERTIES`; the voxels of a block
        are in the order x, y, z, with z fastest.
    :ivar has_surface: bool (capacity,), blocks that may contain a surface.
    """

    def __init__(self, device: str | torch.device = 'cpu'):
        self.device = torch.device(device)
        self.slots: dict[int, int] = {}
        self.free: list[int] = []
        self.arrays: dict[str, Tensor] = {}
        self.has_surface = np.zeros(0, bool)
        self._grow(FIRST_CAPACITY)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.slots)

    @property
    def capacity(self) -> int:
        """Return the number of blocks for which memory is allocated."""
        return len(self.has_surface)

    @property
    def memory(self) -> int:
        """Return the allocated memory in bytes."""
        return self.capacity * BLOCK_BYTES

    def keys(self) -> np.ndarray:
        """Return the keys of all blocks, sorted: int64 (N,)."""
        return np.sort(np.fromiter(self.slots, np.int64, len(self.slots)))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the slot of each key, int64 (N,); -1 if there is no such block."""
        get = self.slots.get
        return np.fromiter((get(key, -1) for key in keys.tolist()), np.int64, len(keys))

    def add(self, keys: Iterable[int]) -> None:
        """Add the blocks that are missing, as never seen."""
        missing = [key for key in keys if key not in self.slots]
        while len(self.free) < len(missing):
            self._grow(2 * self.capacity)
        taken = [self.free.pop() for _ in missing]
        self.slots.update(zip(missing, taken))

    def remove(self, keys: Iterable[int]) -> None:
        """Remove blocks; their memory is used again for new blocks."""
        freed = [self.slots.pop(key) for key in keys]
        if freed:
            place = torch.tensor(freed, device=self.device)
            for array in self.arrays.values():
                array.index_fill_(0, place, 0)
            self.has_surface[freed] = False
        self.free += freed

    def read(self, keys: np.ndarray) -> dict[str, np.ndarray]:
        """Return the properties of blocks as arrays (N, VOXELS, ...)."""
        place = torch.from_numpy(self.find(keys)).to(self.device)
        return {name: array[place].cpu().numpy() for name, array in self.arrays.items()}

    def write(self, keys: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Set the properties of blocks, which are added if missing."""
        self.add(keys.tolist())
        slots = self.find(keys)
        place = torch.from_numpy(slots).to(self.device)
        for name, array in self.arrays.items():
            array[place] = torch.from_numpy(values[name]).to(self.device)
        self.note_surfaces(slots)

    def note_surfaces(self, slots: np.ndarray) -> None:
        """Update `has_surface` of these slots by their voxels."""
        place = torch.from_numpy(slots).to(self.device)
        # as integers, which are several times as fast and have the same order for float16 >= 0;
        # negative distances are negative integers
        weight, distance = (self.arrays[name].view(torch.int16).index_select(0, place)
                            for name in ('weight', 'distance'))
        limit = int(torch.tensor(FREE, dtype=torch.float16).view(torch.int16))
        self.has_surface[slots] = (
            (weight != 0) & (distance < limit)).any(dim=1).cpu().numpy()

    def _grow(self, capacity: int) -> None:
        former = self.capacity
        for name, (dtype, shape) in PROPERTIES.items():
            array = torch.zeros((capacity, VOXELS, *shape), dtype=dtype, device=self.device)
            if former:
                array[:former] = self.arrays[name]
            self.arrays[name] = array
        self.has_surface = np.concatenate(
            [self.has_surface, np.zeros(capacity - former, bool)])
        self.free += range(capacity - 1, former - 1, -1)
