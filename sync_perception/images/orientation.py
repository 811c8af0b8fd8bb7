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

"""
Rotation of images and intrinsics to the upright orientation given by the file's header.

Image files and videos follow one rule. The header's orientation is applied to the pixels. A
calibration describes the pixels as stored, so it is rotated with them, unless its size matches
only the rotated image. Messages are not rotated, since camera_info describes their pixels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from sync_perception.calibration.camera_calibration import Calibration
from sync_perception.geometry import pinhole

# EXIF orientation -> (transpose, then mirror the columns, mirror the rows)
TURNS = {
    1: (False, False, False), 2: (False, True, False), 3: (False, True, True),
    4: (False, False, True), 5: (True, False, False), 6: (True, True, False),
    7: (True, True, True), 8: (True, False, True)}
OF_DEGREES = {0: 1, 90: 6, 180: 3, 270: 8}
"""EXIF orientation by the clockwise rotation in degrees that a video needs."""


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """
    Return an image in upright orientation.

    :param image: (H, W[, C]) as stored.
    :param orientation: EXIF orientation, 1 to 8.
    """
    transpose, columns, rows = TURNS[orientation]
    if transpose:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image[::-1 if rows else 1, ::-1 if columns else 1])


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the height and width of an image of the given size in upright orientation."""
    return size[::-1] if TURNS[orientation][0] else size


def calibration_orientation(
        orientation: int, calibrated: tuple[int, int], stored: tuple[int, int]) -> int:
    """
    Return the orientation to apply to the calibration of an image.

    :param orientation: orientation in the image's header.
    :param calibrated: height and width of the calibration.
    :param stored: height and width of the image as stored.
    :return: 1 if the calibration is for the upright image, otherwise the image's orientation.
    :raises ValueError: if the calibration is for an image of another size.
    """
    if calibrated == stored:
        return orientation
    if calibrated == turned_size(stored, orientation):
        return 1
    raise ValueError(
        f'the calibration is for {calibrated[1]}x{calibrated[0]} pixels, the image is '
        f'{stored[1]}x{stored[0]}')


@lru_cache(maxsize=16)
def turn_calibration(
        calibration: Calibration, stored: tuple[int, int], orientation: int) -> Calibration:
    """
    Return the calibration of the upright images; equal arguments give the same object.

    :param calibration: calibration of the images as stored, unless its size matches only the
        upright images.
    :param stored: height and width of the images as stored.
    :param orientation: EXIF orientation of the images, 1 to 8.
    :raises ValueError: if its size matches neither, or it contains parts that cannot be rotated:
        tangential distortion, rectification, a second camera, a region or binning.
    """
    orientation = calibration_orientation(orientation, calibration.image_size, stored)
    if orientation == 1:
        return calibration
    P, tangential = calibration.P, calibration.D[2:4]
    if (calibration.model != 'equidistant' and tangential.any() or P[:, 3].any()
            or calibration.R.any() and (calibration.R != np.eye(3)).any()
            or calibration.image_size != calibration.size):
        raise ValueError(
            'the images must be rotated upright, which is not supported with a calibration with '
            'tangential distortion, rectification, a second camera, a region or binning: rotate '
            'and rectify the images first')
    if calibration.has_projection:
        P = np.column_stack([turn_intrinsics(P[:, :3], stored, orientation), np.zeros(3)])
    return replace(
        calibration, size=turned_size(stored, orientation), P=P,
        K=turn_intrinsics(calibration.K, stored, orientation))


def turn_intrinsics(K: np.ndarray, size: tuple[int, int], orientation: int) -> np.ndarray:
    """
    Return the intrinsics of the upright image.

    :param K: float64 (3, 3), pixels of the image as stored.
    :param size: height and width of the image as stored.
    :raises ValueError: if K has skew, which rotated intrinsics cannot represent.
    """
    if orientation == 1:
        return K
    if K[0, 1]:
        raise ValueError('expected intrinsics without skew for an image that must be rotated, got '
                         f'{K[0, 1]}')
    transpose, columns, rows = TURNS[orientation]
    focals, center = K[[0, 1], [0, 1]], K[:2, 2]
    if transpose:
        focals, center = focals[::-1], center[::-1]
    height, width = turned_size(size, orientation)
    cx = width - 1 - center[0] if columns else center[0]
    cy = height - 1 - center[1] if rows else center[1]
    return pinhole(*focals, cx, cy)
