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

"""Plausibility checks of calibrations; they give warnings, not errors."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sync_perception.calibration.camera_calibration import Calibration, CalibrationError
from sync_perception.calibration.rectification import (
    check_pinhole,
    coefficients,
    displacement,
    rectifying_rotation,
)

LEAST_PIXELS = 1.0
"""Difference in pixels up to which an image counts as equal to the rectified one."""
USUAL_FOCAL_RATIO = 1.5
"""Ratio of fx and fy, either way, beyond which pixels are implausibly far from square."""
CENTRAL = 0.2
"""Implausible offset of the principal point in both directions, relative to the image size."""
PROJECTION_RATIO = {'equidistant': (0.1, 1.8)}
"""Plausible ratios of the focal lengths of P and K after rectification, by distortion model."""
OTHER_PROJECTION_RATIO = (0.4, 1.8)
MOST_VOID = 0.5
"""Fraction of a rectified image that may lie outside of the camera's view."""


def is_named_rectified(topic: str) -> bool:
    """Return whether a topic's name says that its images are rectified, such as image_rect."""
    return 'rect' in topic.removesuffix('/compressed').rpartition('/')[2]


@lru_cache(maxsize=64)
def distortion_warning(calibration: Calibration, rectify: bool = False, topic: str = '') -> str:
    """
    Return a warning if images that are assumed to be rectified probably are not; otherwise ''.

    :param rectify: whether the images are rectified by this package.
    :param topic: topic of the images, if they come from one.
    """
    named = is_named_rectified(topic)
    if rectify and named and calibration.D.any():
        return (f'{topic} has the name of a topic of rectified images, and `rectify` rectifies '
                'them again')
    if rectify or named:
        return ''
    try:
        pixels = displacement(calibration)
        error = f': pixels are off by up to {pixels:.1f}; `rectify` undistorts them'
    except CalibrationError:  # `contradictions` reports the reason
        pixels, error = 0.0, ''
    if calibration.D.any():
        numbers = ', '.join(f'{number:g}' for number in calibration.D[:14])
        return (
            f'the calibration states distortion ({calibration.model}, D = [{numbers}]), but the '
            f'images are taken to be rectified{error}')
    if pixels > LEAST_PIXELS:
        return (
            'K and P of the calibration, with the focal lengths '
            f'{calibration.K[0, 0]:g} and {calibration.P[0, 0]:g}, are not of the same image, but '
            f"the images are taken to be rectified, as P's{error}")
    return ''


def coverage_warning(void: np.ndarray | None, pixels: int) -> str:
    """
    Return a warning about a rectified image of which the camera shows less than half.

    :param void: indices of the pixels that the camera does not show; None for no such pixel.
    :param pixels: number of pixels of the image.
    """
    share = 0.0 if void is None else void.size / pixels
    if share <= MOST_VOID:
        return ''
    return (f'{share:.0%} of the rectified image lies outside of what the camera shows: expected '
            'distortion coefficients and a projection matrix that fit the lens')


@lru_cache(maxsize=64)
def contradictions(calibration: Calibration) -> str:
    """Return a warning about values of a calibration that contradict each other; '' if none."""
    return '; '.join(filter(None, (
        _principal_point(calibration), _focal_lengths(calibration), _projection(calibration),
        _lens(calibration))))


def _principal_point(calibration: Calibration) -> str:
    (height, width), region = calibration.size, calibration.region
    x, y = calibration.matrix[0, 2], calibration.matrix[1, 2]
    where = f'the principal point ({x:g}, {y:g}) and the size {width}x{height}'
    if not (0 <= x <= width and 0 <= y <= height):
        return f'{where} do not fit together: it lies outside the image'
    down, across = calibration.read_out
    off_x, off_y = abs(x / width - 0.5), abs(y / height - 0.5)
    if calibration.read_out != calibration.size and (
            abs(x / across - 0.5) < CENTRAL / 2 and abs(y / down - 0.5) < CENTRAL / 2
            and max(off_x, off_y) > CENTRAL):
        return (f'{where} do not fit together: it is the middle of the region {across}x{down} at '
                f'({region.left}, {region.top}), expected pixels of the full resolution')
    if min(off_x, off_y) > CENTRAL:
        return (f'{where} do not fit together: it would be the middle of {2 * x:.0f}x{2 * y:.0f} '
                'pixels')
    return ''


def _focal_lengths(calibration: Calibration) -> str:
    fx, fy = calibration.matrix[0, 0], calibration.matrix[1, 1]
    if max(fx, fy) <= USUAL_FOCAL_RATIO * min(fx, fy):
        return ''
    return f'the focal lengths fx = {fx:g} and fy = {fy:g} do not fit square pixels'


def _projection(calibration: Calibration) -> str:
    K, P = calibration.K, calibration.P
    if not calibration.has_projection or not (K[0, 0] > 0 and K[1, 1] > 0):
        return ''
    low, high = PROJECTION_RATIO.get(calibration.model, OTHER_PROJECTION_RATIO)
    for name, index in (('fx', 0), ('fy', 1)):
        if not low * K[index, index] < P[index, index] < high * K[index, index]:
            return (f'{name} = {K[index, index]:g} of K and {name} = {P[index, index]:g} of P do '
                    'not fit together')
    return ''


def _lens(calibration: Calibration) -> str:
    """Return a warning about values that only rectification uses; '' if they are valid."""
    try:
        coefficients(calibration)
        rectifying_rotation(calibration)
        if calibration.D.any():
            check_pinhole(calibration.K)
    except CalibrationError as error:
        return str(error)
    return ''
