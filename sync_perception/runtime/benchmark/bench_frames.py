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

"""Frames that benchmarks send through the node or the predictor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sync_perception.geometry import centred_pinhole
from sync_perception.images.reading import read_image
from sync_perception.types import Frame


@dataclass(frozen=True)
class BenchFrames:
    """
    Which frames to measure with, and how many.

    :param count: number of timed frames.
    :param size: height and width, pixels.
    :param image: photograph to use, resized; by default a synthetic street image.
    :raises ValueError: if there is no frame, or it has no pixel.
    """

    count: int = 100
    size: tuple[int, int] = (375, 1242)
    image: str | Path | None = None

    def __post_init__(self):
        """Check the numbers."""
        if self.count < 1 or min(self.size) < 1:
            raise ValueError(
                f'expected at least 1 frame of at least 1x1 pixels, got {self.count} of '
                f'{self.size[1]}x{self.size[0]}')

    def frame(self) -> Frame:
        """
        Return the frame.

        :raises ValueError: if the photograph cannot be read.
        """
        return Frame(self.picture(), intrinsics_like_kitti(self.size), frame_id='camera')

    def picture(self) -> np.ndarray:
        """
        Return the frame's image: uint8 (H, W, 3), RGB.

        :raises ValueError: if the photograph cannot be read.
        """
        if not self.image:
            return drawn_street(self.size)
        return cv2.resize(read_image(self.image), self.size[::-1])


def intrinsics_like_kitti(size: tuple[int, int]) -> np.ndarray:
    """Return the intrinsics of a camera with the field of view of KITTI's: float64 (3, 3)."""
    return centred_pinhole(0.58 * size[1], size)


def drawn_street(size: tuple[int, int]) -> np.ndarray:
    """Return a reproducible street image of flat shapes and noise: uint8 (H, W, 3)."""
    height, width = size
    picture = np.full((height, width, 3), (150, 185, 225), np.uint8)
    horizon = int(height * 0.46)
    picture[horizon:] = (95, 130, 70)
    rng = np.random.default_rng(0)
    for left in range(0, width, max(1, width // 12)):
        top = int(horizon * rng.uniform(0.1, 0.8))
        shade = tuple(int(value) for value in rng.integers(60, 200, 3))
        cv2.rectangle(picture, (left, top), (left + width // 14, horizon + 8), shade, -1)
    corners = [[0.1, 1], [0.48, 0.46], [0.52, 0.46], [0.9, 1]]
    road = np.rint(np.array(corners) * (width, height)).astype(np.int32)
    cv2.fillPoly(picture, [road], (105, 105, 110))
    for x, scale in ((0.35, 0.10), (0.62, 0.07), (0.53, 0.03)):
        center = np.array([x * width, (0.5 + scale) * height])
        half = np.array([scale * width / 2, scale * height])
        low, high = np.rint([center - half, center + half]).astype(int)
        cv2.rectangle(picture, tuple(low.tolist()), tuple(high.tolist()), (40, 40, 120), -1)
    grain = rng.integers(-12, 13, picture.shape)
    return (picture + grain).clip(0, 255).astype(np.uint8)
