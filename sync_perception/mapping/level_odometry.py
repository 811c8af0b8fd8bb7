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

"""Poses of the camera by visual odometry, in a level frame."""

from __future__ import annotations

import math

import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.mapping.odometry import VisualOdometry
from sync_perception.mapping.trajectory import Located, PoseLimits
from sync_perception.runtime.mount_scale import Mount
from sync_perception.types import Frame, Prediction

KEPT = 1000
"""Poses that are kept."""


class LevelOdometry:
    """
    Visual odometry of the frames, which starts again when time goes back.

    The world frame is as REP 105 has it for odometry: x ahead, y to the left and z up from the
    first camera, and z is 0 on the ground if the camera's height is known.

    :param height: height of the camera above the ground, metres; 0 if it is not known.
    :param pitch: angle by which the camera looks down, radians.
    :param limits: motions that are plausible.
    :ivar restarts: number of times that it has started again.
    """

    def __init__(self, space: LabelSpace, height: float = 0.0, pitch: float = 0.0,
                 limits: PoseLimits | None = None):
        self.space, self.limits = space, limits
        self.mount = Mount(height, pitch) if height else None
        self.world_T_first = level(height, pitch)
        self.latest: int | None = None
        self.restarts = -1
        self._restart()

    def update(self, frame: Frame, prediction: Prediction) -> Located:
        """Return the pose of a frame, world_T_camera, or why there is none."""
        if self.latest is not None and frame.stamp < self.latest:
            self._restart()
        self.latest = frame.stamp
        located = self.odometry.update(frame, prediction)
        if located.world_T_camera is None:
            return located
        return Located(self.world_T_first @ located.world_T_camera)

    def _restart(self) -> None:
        self.odometry = VisualOdometry(self.space, mount=self.mount, limits=self.limits)
        self.odometry.trajectory.keep = KEPT
        self.restarts += 1


def level(height: float, pitch: float) -> np.ndarray:
    """
    Return the pose of the first camera's optical frame in the level world frame.

    :param height: metres above the ground, where z is 0.
    :param pitch: angle in radians by which the camera looks down.
    """
    result = np.eye(4)
    down, ahead = math.sin(pitch), math.cos(pitch)
    # columns: the optical axes x (right), y (down) and z (forward) in the world
    result[:3, :3] = np.array([[0, -down, ahead], [-1, 0, 0], [0, -ahead, -down]])
    result[2, 3] = height
    return result
