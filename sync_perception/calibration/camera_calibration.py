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

"""Camera calibration with validation, as in camera_info messages and calibration files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.geometry import crop_intrinsics, resize_intrinsics
from sync_perception.types import MalformedInput
import yaml

FOCAL_RANGE = (1e-2, 1e7)
"""Plausible focal lengths in pixels; viewing rays stay representable in single precision."""
LARGEST = 1e9
"""Largest magnitude of an entry, so that results computed from the entries stay finite."""
MOST_UNEQUAL_FOCALS = 4.0
"""Largest accepted ratio of fx and fy, either way."""
DISTORTION_MODELS = {
    'plumb_bob': 'plumb_bob', 'pinhole': 'plumb_bob', 'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant', 'fisheye': 'equidistant'}
"""sensor_msgs' name of the distortion model, by name of a distortion or camera model."""


class CalibrationError(MalformedInput):
    """A calibration that contradicts itself or does not fit its image."""


@dataclass(frozen=True)
class Region:
    """Region of the sensor that is read out; a height and width of 0 mean the whole sensor."""

    top: int = 0
    left: int = 0
    height: int = 0
    width: int = 0


@dataclass(frozen=True, eq=False)
class Calibration:
    """
    Camera calibration with the fields and conventions of sensor_msgs/CameraInfo.

    All lengths are in pixels of the full resolution, before region and binning.

    :param size: height and width of the full resolution.
    :param K: float64 (3, 3), intrinsics of the raw (distorted) image.
    :param P: float64 (3, 4), projection; the left 3x3 are the intrinsics of the rectified image;
        zeros if unknown.
    :param R: float64 (3, 3), rotation from the camera to the rectified camera; zeros if unknown.
    :param D: float64 (N,), distortion coefficients.
    :param model: sensor_msgs' name of the distortion model.
    :param region: region of interest.
    :param binning: vertical and horizontal binning factors; at least 1.
    :raises CalibrationError: if the values are not a valid camera calibration.
    """

    size: tuple[int, int]
    K: np.ndarray
    P: np.ndarray = field(default_factory=lambda: np.zeros((3, 4)))
    R: np.ndarray = field(default_factory=lambda: np.eye(3))
    D: np.ndarray = field(default_factory=lambda: np.zeros(5))
    model: str = 'plumb_bob'
    region: Region = Region()
    binning: tuple[int, int] = (1, 1)

    def __post_init__(self):
        """Check that the values are consistent."""
        self._check_region()
        for name in ('K', 'P', 'R', 'D'):
            values = getattr(self, name)
            if not (np.abs(values) <= LARGEST).all():
                raise CalibrationError(
                    'camera_info values', f'got the calibration {name} = {values.tolist()}, '
                    f'expected finite numbers up to {LARGEST:g}')
        self._check_matrix()
        self._check_binning()

    @property
    def read_out(self) -> tuple[int, int]:
        """Height and width of the region, before binning."""
        return self.region.height or self.size[0], self.region.width or self.size[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.read_out[0] // self.binning[0], self.read_out[1] // self.binning[1]

    @property
    def has_projection(self) -> bool:
        """Whether P is known."""
        return bool(self.P[0, 0] > 0)

    @property
    def matrix(self) -> np.ndarray:
        """
        Intrinsics of the rectified camera at full resolution: those of P, or K if P is unknown.

        :return: float64 (3, 3).
        """
        return self.P[:, :3] if self.has_projection else self.K

    @property
    def intrinsics(self) -> np.ndarray:
        """Intrinsics of the rectified image, float64 (3, 3), pixels of the image."""
        return self.of_image(self.matrix)

    def of_image(self, matrix: np.ndarray) -> np.ndarray:
        """Convert intrinsics from pixels of the full resolution to pixels of the image."""
        if self.read_out != self.size:
            matrix = crop_intrinsics(matrix, self.region.top, self.region.left)
        return resize_intrinsics(matrix, self.read_out, self.image_size)

    def check_size(self, size: tuple[int, int]) -> None:
        """
        Check that the calibration is for images of a size.

        :param size: height and width of the image.
        :raises CalibrationError: if it is for images of another size.
        """
        expected = self.image_size
        if tuple(size) != expected:
            raise CalibrationError(
                'camera_info size', f'got a calibration for {expected[1]}x{expected[0]} pixels '
                f'({self.size[1]}x{self.size[0]}, region {self.region.width}x'
                f'{self.region.height}, binning {self.binning[1]}x{self.binning[0]}), expected '
                f'{size[1]}x{size[0]} as the image has')

    def _check_region(self) -> None:
        region, (height, width) = self.region, self.size
        if (region.height and region.top + region.height > height
                or region.width and region.left + region.width > width):
            raise CalibrationError(
                'camera_info size', f'got a region of {region.width}x{region.height} pixels at '
                f'({region.left}, {region.top}) in the calibration, expected one within its '
                f'{width}x{height}')
        if 0 in self.image_size:
            raise CalibrationError(
                'camera_info size', f'got a calibration for {self.image_size[1]}x'
                f'{self.image_size[0]} pixels ({width}x{height}, binning {self.binning[1]}x'
                f'{self.binning[0]}), expected at least 1x1')

    def _check_matrix(self) -> None:
        matrix = self.matrix
        focals = matrix[0, 0], matrix[1, 1]
        if not FOCAL_RANGE[0] <= min(focals) <= max(focals) <= FOCAL_RANGE[1]:
            raise CalibrationError(
                'focal length', f'got the focal lengths {focals[0]} and {focals[1]} in the '
                f'calibration, expected {FOCAL_RANGE[0]:g} to {FOCAL_RANGE[1]:g} pixels: is the '
                'camera calibrated?')
        others = matrix[[1, 2, 2, 2], [0, 0, 1, 2]]
        if (others != (0, 0, 0, 1)).any() or np.abs(matrix[:2, 1:]).max() > FOCAL_RANGE[1]:
            raise CalibrationError(
                'camera_info values', f'got the intrinsics {matrix.tolist()} in the calibration, '
                'expected [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] in pixels')
        if max(focals) > MOST_UNEQUAL_FOCALS * min(focals):
            raise CalibrationError(
                'focal length', f'got the focal lengths fx = {focals[0]:g} and fy = '
                f'{focals[1]:g} in the calibration, which do not fit together: expected a ratio '
                f'of at most {MOST_UNEQUAL_FOCALS:g}')

    def _check_binning(self) -> None:
        """Check that the intrinsics are not already divided by the binning."""
        binned = [axis for axis in (0, 1) if self.binning[axis] > 1]
        center = self.matrix[1, 2], self.matrix[0, 2]
        if binned and all(
                abs(center[axis] * self.binning[axis] / self.size[axis] - 0.5) < 0.12
                for axis in binned):
            raise CalibrationError(
                'camera_info values', f'got the principal point ({center[1]:g}, {center[0]:g}) '
                f'and binning {self.binning[1]}x{self.binning[0]} of {self.size[1]}x'
                f'{self.size[0]} pixels, which do not fit together: the intrinsics are those of '
                'the binned image, expected those of the full resolution')


def read_calibration(path: str | Path) -> Calibration:
    """
    Read a calibration YAML in the format of ROS's camera_calibration or a similar tool.

    `image_width`, `image_height` and `camera_matrix` are required. `distortion_model` is optional
    if `camera_model` is fisheye or pinhole, or if the coefficients are zero.

    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if an entry is missing or invalid, or entries contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no calibration file {str(path)!r}, expected a YAML file')
    try:
        entries = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is not YAML: {error}') from error
    try:
        return parse_calibration(entries)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def parse_calibration(entries: Any) -> Calibration:
    """
    Return the calibration from the entries of its YAML file.

    :raises ValueError: as `read_calibration`.
    """
    if not isinstance(entries, dict):
        raise ValueError(
            f'got {type(entries).__name__}, expected named entries: image_width, image_height, '
            'camera_matrix, distortion_coefficients and others')
    width, height = (_entry(entries, f'image_{side}', int) for side in ('width', 'height'))
    D = _numbers(entries, 'distortion_coefficients', None, lambda: np.zeros(5))
    return Calibration(
        size=(height, width), model=_model(entries, D), D=D,
        K=_numbers(entries, 'camera_matrix', (3, 3)),
        R=_numbers(entries, 'rectification_matrix', (3, 3), lambda: np.eye(3)),
        P=_numbers(entries, 'projection_matrix', (3, 4), lambda: np.zeros((3, 4))))


def _model(entries: dict, D: np.ndarray) -> str:
    """Return sensor_msgs' name of the distortion model in the entries."""
    stated = {name: _entry(entries, name, str) for name in ('distortion_model', 'camera_model')
              if name in entries}
    lens = stated.get('camera_model', '')
    if 'distortion_model' in stated:
        model = DISTORTION_MODELS.get(stated['distortion_model'], stated['distortion_model'])
        of_lens = DISTORTION_MODELS.get(lens)
        if lens and 'equidistant' in {model, of_lens} and model != of_lens:
            raise ValueError(
                f'got camera_model {lens!r} and distortion_model {stated["distortion_model"]!r}, '
                'which do not fit together')
        return model
    if lens and lens not in DISTORTION_MODELS:
        raise ValueError(f'got camera_model {lens!r}, expected {" or ".join(DISTORTION_MODELS)}')
    if not lens and D.any():
        raise ValueError(
            f'got no distortion_model for the coefficients {D.tolist()}, expected '
            f'{", ".join(sorted(set(DISTORTION_MODELS.values())))}')
    return DISTORTION_MODELS.get(lens, 'plumb_bob')


def _entry(entries: dict, name: str, kind: type) -> Any:
    value = entries.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f'got {value!r} for {name}, expected {kind.__name__}')
    return value


def _numbers(entries: dict, name: str, shape: tuple[int, ...] | None,
             default: Callable[[], np.ndarray] | None = None) -> np.ndarray:
    if default is not None and name not in entries:
        return default()
    data = _entry(entries, name, dict).get('data')
    count = None if shape is None else int(np.prod(shape))
    numbers = isinstance(data, list) and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) for each in data)
    if not numbers or len(data) != (len(data) if count is None else count):
        expected = 'numbers' if count is None else f'{count} numbers'
        raise ValueError(f'got {data!r} for the data of {name}, expected {expected}')
    return np.array(data, np.float64).reshape(-1 if shape is None else shape)
