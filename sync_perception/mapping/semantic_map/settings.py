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

"""Settings of a semantic map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np
from sync_perception.files.checks import number, several, whole

BLOCK_SIDE = 8
"""Voxels along the side of a block."""
TILE = 8
"""Blocks along the side of a tile, the unit that is stored as one file."""


@dataclass(frozen=True)
class MapSettings:
    """
    Settings of a semantic map. They are stored with the map and cannot change afterwards.

    :param voxel: edge length of a voxel, metres.
    :param truncation: distance from a surface up to which voxels store it, in voxels.
    :param max_range: depth beyond which pixels add no surface, metres. They still mark the space
        in front of them as free.
    :param radius: distance from the camera up to which blocks stay in memory, metres. Blocks
        beyond it are written to the map's folder, or forgotten if the map has none.
    :param relative_sigma: standard deviation of depth divided by depth, for predictions without
        uncertainty.
    :param max_weight: limit of a voxel's weight. An observation whose standard deviation is one
        voxel has the weight 1. A lower limit lets the map follow changes faster.
    :param evidence: factor of the log-likelihood of each frame's label. Successive frames make
        the same errors, so they count less than independent observations would.
    :param max_evidence: limit of the log-odds of a voxel's best class.
    :param up: direction of the vertical axis in the world frame, for the navigation grid.
    """

    voxel: float = 0.15
    truncation: float = 3.0
    max_range: float = 30.0
    radius: float = 40.0
    relative_sigma: float = 0.05
    max_weight: float = 100.0
    evidence: float = 0.5
    max_evidence: float = 20.0
    up: Sequence[float] = (0.0, 0.0, 1.0)

    def __post_init__(self):
        """
        Check the values.

        :raises ValueError: if one is out of range; the message names it.
        """
        limits = {
            'voxel': (0.001, 10), 'truncation': (1.5, 10), 'max_range': (0.1, 1000),
            'radius': (0.1, 1e5), 'relative_sigma': (1e-4, 1), 'max_weight': (0.1, 1e4),
            'evidence': (0.01, 1), 'max_evidence': (1, 100)}
        for name, (low, high) in limits.items():
            number(low, high)(getattr(self, name), name)
        several(number(-1, 1), 3)(self.up, 'up')
        if not math.isclose(float(np.linalg.norm(self.up)), 1, abs_tol=1e-3):
            raise ValueError(f'up: expected a vector of length 1, got {list(self.up)}')
        if self.radius < self.max_range:
            raise ValueError(
                f'radius: expected at least max_range, {self.max_range:g} m, got {self.radius:g}')

    @property
    def block(self) -> float:
        """Return the edge length of a block, metres."""
        return self.voxel * BLOCK_SIDE

    @property
    def tile(self) -> float:
        """Return the edge length of a tile, metres."""
        return self.block * TILE

    @property
    def margin(self) -> float:
        """Return the truncation distance, metres."""
        return self.voxel * self.truncation


def check_classes(count: int) -> None:
    """Raise ValueError unless a label space can be stored: ids are bytes, and 255 is void."""
    whole(2, 255)(count, 'number of classes')
