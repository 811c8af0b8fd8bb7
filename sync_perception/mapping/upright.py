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

"""Vertical axis of a trajectory's world frame."""

from __future__ import annotations

import numpy as np
from sync_perception.mapping.trajectory import Trajectory

AXES = {'x': (1, 0, 0), 'y': (0, 1, 0), 'z': (0, 0, 1),
        '-x': (-1, 0, 0), '-y': (0, -1, 0), '-z': (0, 0, -1)}
SNAP = np.cos(np.radians(25))
"""Cosine of the largest angle between the cameras' mean up and an axis of the world frame."""


def vertical(trajectory: Trajectory | None, named: str = 'auto') -> tuple[float, float, float]:
    """
    Return the vertical axis of the world frame.

    :param trajectory: the poses; None for odometry, whose world is the first camera's frame.
    :param named: an axis such as `z` or `-y`; `auto` for the axis nearest to the cameras' mean up,
        or that mean if no axis is near.
    :return: unit vector.
    :raises ValueError: if there is no such axis.
    """
    if named != 'auto':
        if named not in AXES:
            raise ValueError(f'up: expected auto or one of {", ".join(AXES)}, got {named!r}')
        return tuple(map(float, AXES[named]))
    if trajectory is None or not len(trajectory):
        return (0.0, -1.0, 0.0)
    mean = -np.mean([pose[:3, 1] for pose in trajectory.poses], axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    for axis in AXES.values():
        if np.dot(axis, mean) > SNAP:
            return tuple(map(float, axis))
    return tuple(mean.tolist())
