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


"""Correspondence of a view to an earlier one, by depth and the camera's motion."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

NEAREST = np.float32(1e-3)
"""Least depth of a point in front of a camera, metres."""
GREATEST_CORRECTION = 0.5
"""Difference of ln(depth) beyond which the earlier depth does not guide the correspondence."""
ITERATIONS = 2
"""Fixed-point iterations."""


class Correspondence(NamedTuple):
    """
    Pixels of the earlier view that show what the present view shows.

    :param u: float32 (h, w), columns of the earlier view.
    :param v: float32 (h, w), rows of the earlier view.
    :param log_depth: float32 (h, w), ln of the earlier depth at these pixels, in metres along z of
        the present camera.
    :param seen: bool (h, w), whether the pixels lie within the earlier view.
    """

    u: np.ndarray
    v: np.ndarray
    log_depth: np.ndarray
    seen: np.ndarray


def correspond(
        log_depth: np.ndarray, K: np.ndarray, earlier_log_depth: np.ndarray,
        earlier_K: np.ndarray, earlier_T_present: np.ndarray, fixed: np.ndarray
        ) -> Correspondence:
    """
    Find the pixels of an earlier view by the present depth, which the earlier depth corrects.

    Each iteration projects the present pixels into the earlier view, and takes from its depth
    there a better depth of the present pixels.

    :param log_depth: float32 (h, w), ln(metres) of the present view.
    :param K: float64 (3, 3), pixels of the present view.
    :param earlier_log_depth: float32 (h, w), ln(metres) of the earlier view.
    :param earlier_K: float64 (3, 3), pixels of the earlier view.
    :param earlier_T_present: float64 (4, 4), metres.
    :param fixed: bool (h, w), pixels whose present depth is not corrected.
    """
    present_T_earlier = np.linalg.inv(earlier_T_present)
    height, width = log_depth.shape
    # an earlier pixel times its depth is turned * z + shift; plane by plane, which is faster
    across, down, constant = (earlier_K @ earlier_T_present[:3, :3] @ np.linalg.inv(K)).T
    columns, rows = np.arange(width), np.arange(height)[:, None]
    turned = [(across[i] * columns + down[i] * rows + constant[i]).astype(np.float32)
              for i in range(3)]
    shift = (earlier_K @ earlier_T_present[:3, 3]).astype(np.float32)
    # depth of an earlier pixel along z of the present camera: (row . pixel) * z + start
    row = (present_T_earlier[2, :3] @ np.linalg.inv(earlier_K)).astype(np.float32)
    start = np.float32(present_T_earlier[2, 3])
    inverse = cv2.exp(-earlier_log_depth)  # inverse depth is linear on planes
    guess = log_depth
    for _ in range(ITERATIONS):
        z = cv2.exp(guess)
        u, v, depth = (plane * z + step for plane, step in zip(turned, shift))
        np.maximum(depth, NEAREST, out=depth)
        u /= depth
        v /= depth
        found = cv2.remap(inverse, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        slant = u * row[0] + v * row[1]
        slant += row[2]
        slant /= found
        slant += start
        warped = cv2.log(np.maximum(slant, NEAREST, out=slant))
        guess = np.where(
            fixed | (cv2.absdiff(warped, log_depth) > GREATEST_CORRECTION), log_depth, warped)
    seen = (depth > NEAREST) & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    return Correspondence(u, v, warped, seen)
