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

"""Colour map of depth, the same in every picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

NEAR_SHARE = 1 / 40
"""Near end of the colour scale as a share of the far end: 2 m of 80 m."""


def colorize_depth(
        depth: np.ndarray, max_depth: float = 80.0, min_depth: float | None = None) -> np.ndarray:
    """
    Return depth as colours on a logarithmic scale: near red, far blue, invalid black.

    :param depth: float (H, W), metres, NaN invalid.
    :param max_depth: metres with the farthest colour; larger depths have the same colour.
    :param min_depth: metres with the nearest colour; smaller depths have the same colour; by
        default NEAR_SHARE of max_depth.
    :return: uint8 (H, W, 3), RGB.
    :raises ValueError: unless 0 < min_depth < max_depth.
    """
    min_depth = max_depth * NEAR_SHARE if min_depth is None else min_depth
    if not 0 < min_depth < max_depth:
        raise ValueError(f'expected 0 < min_depth < max_depth, got {min_depth}, {max_depth}')
    valid = np.isfinite(depth) & (depth > 0)
    logs = np.log(np.where(valid, depth, max_depth), dtype=np.float32)
    share = (math.log(max_depth) - logs) / math.log(max_depth / min_depth)
    painted = cv2.applyColorMap((share.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    painted[~valid] = 0
    return cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)
