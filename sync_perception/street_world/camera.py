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

"""Camera of a street's drive: intrinsics, and where it sits on its vehicle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sync_perception.geometry import centred_pinhole, pinhole

KITTI_SIZE = (375, 1242)
KITTI_K = pinhole(725.0087, 725.0087, 620.5, 187.0)


@dataclass(frozen=True)
class CameraMount:
    """
    Where a camera sits on its vehicle.

    :param height: height above the road, metres.
    :param pitch: mean downward pitch, radians.
    :param roll: mean roll, positive where the image turns anticlockwise, radians.
    :param yaw: rotation to the left of the direction of travel, radians.
    """

    height: float = 1.65
    pitch: float = 0.0
    roll: float = 0.0
    yaw: float = 0.0


KITTI_MOUNT = CameraMount()


def default_intrinsics(size: tuple[int, int]) -> np.ndarray:
    """Return intrinsics with Virtual KITTI's horizontal field of view for an image size."""
    return centred_pinhole(KITTI_K[0, 0] * size[1] / KITTI_SIZE[1], size)


def draw_camera(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, CameraMount]:
    """
    Draw the camera of a street, between a small robot's and a van's.

    The focal length is 0.6 to 2 times Virtual KITTI's (110 to 46 degrees across), the principal
    point off the centre by a few per cent, the height 1 to 2.5 m, the pitch and the roll a few
    degrees at most. Three of five cameras look ahead, the others up to 110 degrees to a side.

    :param seed: random seed of the street.
    :param size: height and width of the images.
    :return: intrinsics float64 (3, 3) in pixels, and the mount.
    """
    rng = np.random.default_rng([seed, 53])
    K = default_intrinsics(size)
    K[:2, :2] *= np.exp(rng.uniform(np.log(0.6), np.log(2.0)))
    K[0, 2] += rng.normal(scale=0.02) * size[1]
    K[1, 2] += rng.normal(scale=0.05) * size[0]
    height, pitch, roll = rng.uniform(1.0, 2.5), rng.normal(scale=0.04), rng.normal(scale=0.02)
    yaw = rng.uniform(-np.radians(110), np.radians(110)) if rng.random() < 0.4 else 0.0
    return K, CameraMount(height, pitch, roll, yaw)
