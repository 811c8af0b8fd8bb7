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

"""Conversion between camera_info messages and calibrations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sensor_msgs.msg import CameraInfo
from sync_perception.calibration.camera_calibration import (
    Calibration,
    DISTORTION_MODELS,
    read_calibration,
    Region,
)


def calibration_of(camera_info: CameraInfo) -> Calibration:
    """
    Return the calibration in a camera_info; equal values give the same object.

    :raises CalibrationError: if the values contradict each other.
    """
    region = camera_info.roi
    return _calibration(
        (camera_info.height, camera_info.width),
        np.asarray(camera_info.d, np.float64).tobytes(),
        np.concatenate([camera_info.k, camera_info.p, camera_info.r]).tobytes(),
        DISTORTION_MODELS.get(camera_info.distortion_model, camera_info.distortion_model),
        (region.y_offset, region.x_offset, region.height, region.width),
        (camera_info.binning_y or 1, camera_info.binning_x or 1))


@lru_cache(maxsize=64)
def _calibration(
        size: tuple[int, int], coefficients: bytes, matrices: bytes, model: str,
        region: tuple[int, int, int, int], binning: tuple[int, int]) -> Calibration:
    numbers = np.frombuffer(matrices)
    return Calibration(
        size=size, K=numbers[:9].reshape(3, 3), P=numbers[9:21].reshape(3, 4),
        R=numbers[21:].reshape(3, 3), D=np.frombuffer(coefficients), model=model,
        region=Region(*region), binning=binning)


def camera_info_of(calibration: Calibration) -> CameraInfo:
    """
    Return a calibration as a message with an empty header.

    If P is unknown and there is no distortion, K is used for P.
    """
    P = calibration.P
    if not calibration.has_projection and not calibration.D.any():
        P = np.column_stack([calibration.K, np.zeros(3)])
    return CameraInfo(
        height=calibration.size[0], width=calibration.size[1], distortion_model=calibration.model,
        d=calibration.D.tolist(), k=calibration.K.ravel().tolist(),
        r=calibration.R.ravel().tolist(), p=P.ravel().tolist())


def read_camera_info(path: str) -> CameraInfo:
    """
    Read a calibration file and return it as a message.

    :raises ValueError: as `read_calibration`, or if there is no such file.
    """
    try:
        return camera_info_of(read_calibration(path))
    except FileNotFoundError as error:
        raise ValueError(f'camera_info: {error}') from error
