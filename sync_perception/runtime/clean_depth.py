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


"""Removal of points that hang in the air between two surfaces, from depth and its uncertainty."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_STEP = 0.03
"""Relative change of depth per pixel below which nothing is removed: near surfaces are smooth."""


def clean_depth(
        depth: np.ndarray, K: np.ndarray, distance: float,
        deviation: np.ndarray | None = None, uncertainty: float = 0) -> np.ndarray:
    """
    Return depth with NaN at points that hang between surfaces, by slope and by uncertainty.

    A plane at the perpendicular distance d has an inverse depth whose gradient, times the focal
    length, is at most 1 / d, however far away and however slanted it is seen. The ramp between
    two surfaces, which networks and interpolation draw at depth edges, is steeper: as a plane, it
    would pass the camera at a few centimetres.

    :param depth: float32 (H, W), metres, NaN where unknown.
    :param K: float64 (3, 3), pixels.
    :param distance: metres; smaller than the camera's height above ground and its distance to
        walls that it passes. 0 removes nothing by slope.
    :param deviation: float32 (H, W), standard deviation of the depth in metres, or None.
    :param uncertainty: largest deviation that is kept, as a share of the depth; 0 for no limit.
    :raises ValueError: if a limit is negative.
    """
    for name, value in (('distance', distance), ('uncertainty', uncertainty)):
        if not value >= 0:
            raise ValueError(f'{name}: expected 0 or more, got {value}')
    if uncertainty > 0 and deviation is not None:
        depth = np.where(deviation > depth * np.float32(uncertainty), np.float32('nan'), depth)
    if distance == 0:
        return depth
    inverse = cv2.patchNaNs(cv2.divide(1.0, depth), 0)  # 1 / 0 is 0 or inf, without warning
    steps = [cv2.Sobel(inverse, cv2.CV_32F, *axis, ksize=3, scale=K[i, i] / 8)
             for i, axis in enumerate(((1, 0), (0, 1)))]
    gradient = cv2.magnitude(*steps)
    limit = np.maximum(inverse * np.float32(LEAST_STEP * K[0, 0]), np.float32(1 / distance))
    return np.where(gradient > limit, np.float32('nan'), depth)
