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


"""Depth of flat ground by the camera's height, with the pitch that the camera's motion shows."""

from __future__ import annotations

import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.runtime.mount_scale import Mount, MountLimits, wheel_ground

MEMORY = 0.9
"""Weight of the earlier frames in the mean direction of motion."""
LEAST_STEP = 0.1
"""Shortest motion between frames that shows a direction, metres."""
LEAST_FORWARD = 0.7
"""Least component along the optical axis of a motion that is taken for driving on the ground."""


class GroundPlane:
    """
    Plane of the ground under a camera on a vehicle.

    A vehicle moves along the ground, so the direction to the ground is perpendicular to the mean
    direction of motion. This corrects the pitch of the mount, to which depth is sensitive: 0.01
    rad change it by 6 % at 10 m from a height of 1.65 m.

    :param mount: height of the camera, and pitch and roll as far as they are known.
    :param space: label space, whose classes of ground at the height of the wheels are used.
    :param limits: `near` and `far` bound the depth of the ground that is used.
    """

    def __init__(self, mount: Mount, space: LabelSpace, limits: MountLimits | None = None):
        self.mount, self.limits = mount, limits or MountLimits()
        self.is_ground = np.zeros(256, bool)
        self.is_ground[wheel_ground(space)] = True
        self.down = mount.down
        self._forward = np.zeros(3)

    def update(self, motion: np.ndarray) -> None:
        """
        Update the direction to the ground.

        :param motion: position of the latest camera in the frame of the one before, (3,), metres.
        """
        length = float(np.linalg.norm(motion))
        if length < LEAST_STEP or motion[2] < LEAST_FORWARD * length:
            return
        self._forward = MEMORY * self._forward + (1 - MEMORY) * motion / length
        forward = self._forward / np.linalg.norm(self._forward)
        down = self.mount.down - (self.mount.down @ forward) * forward
        self.down = down / np.linalg.norm(down)

    def depth(self, pixel: np.ndarray, labels: np.ndarray, K: np.ndarray) -> np.ndarray:
        """
        Return the depth of the ground at pixels; NaN where there is no ground within the limits.

        :param pixel: float (N, 2), (u, v).
        :param labels: uint8 (N,).
        """
        towards = np.c_[pixel, np.ones(len(pixel))] @ np.linalg.inv(K).T @ self.down
        depth = np.full(len(pixel), np.nan)
        np.divide(self.mount.height, towards, out=depth, where=towards > 1e-6)
        with np.errstate(invalid='ignore'):
            used = self.is_ground[labels] & (depth > self.limits.near) & (depth < self.limits.far)
        return np.where(used, depth, np.nan)
