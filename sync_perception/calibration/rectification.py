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
Rectification: from a distorted image to that of a pinhole camera.

OpenCV's remapping tables are computed once per calibration and stored in fixed point.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from sync_perception.calibration.camera_calibration import (
    Calibration,
    CalibrationError,
    FOCAL_RANGE,
)
from sync_perception.geometry import pixel_rays, resize_intrinsics
from sync_perception.types import Frame

COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (4, 5, 8, 12, 14), 'equidistant': (4,)}
"""Valid numbers of distortion coefficients, by distortion model."""
ROTATION_TOLERANCE = 1e-2
RADII = 2000
"""Number of samples at which the distorted radius is checked to increase."""


class Rectification:
    """
    Rectification maps of one calibration.

    The rectified camera has the intrinsics P and the rotation R of the calibration. If P is
    unknown, it is chosen so that every pixel has a source (alpha 0).

    :param calibration: calibration of the distorted images.
    :raises CalibrationError: if the distortion model is unknown, its number of coefficients is
        wrong, or R is not a rotation.
    :ivar K: float64 (3, 3), intrinsics of the rectified image.
    :ivar void: sorted flat indices of the pixels of the rectified image that the camera does not
        cover.
    :ivar maps: OpenCV's maps in fixed point; None if the image is already rectified.
    """

    def __init__(self, calibration: Calibration):
        D = coefficients(calibration)
        R = rectifying_rotation(calibration)
        self.size = calibration.image_size
        camera = calibration.of_image(calibration.K)
        check_pinhole(calibration.K)
        self.K = calibration.intrinsics if calibration.has_projection else (
            fitting_intrinsics(camera, D, self.size, calibration.model))
        self.void = np.zeros(0, np.intp)
        self.maps = None
        if D.any() or not np.allclose(R, np.eye(3), atol=1e-9) or not np.allclose(camera, self.K):
            u, v = source_pixels(camera, D, R, self.K, self.size, calibration.model)
            self.void = np.flatnonzero(outside(u, v, self.size))
            self.maps = cv2.convertMaps(u, v, cv2.CV_16SC2)

    def image(self, image: np.ndarray) -> np.ndarray:
        """
        Rectify an image.

        :param image: uint8 (H, W, 3) of the calibration's image size.
        :return: uint8 (H, W, 3); pixels without a source are black.
        """
        if self.maps is None:
            return image
        return cv2.remap(image, *self.maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def frame(self, frame: Frame) -> Frame:
        """Rectify a frame; its stamp and frame id stay the same."""
        return replace(frame, image=self.image(frame.image), K=self.K, void=self.void)


@lru_cache(maxsize=4)
def rectification_of(calibration: Calibration) -> Rectification:
    """Return the rectification of a calibration; the latest four are cached."""
    return Rectification(calibration)


class Rectifier:
    """Rectification of the frames of one camera; caches the maps of its latest calibration."""

    def __init__(self):
        self.calibration: Calibration | None = None
        self.rectification: Rectification | None = None

    def __call__(self, frame: Frame, calibration: Calibration) -> Frame:
        """
        Rectify a frame.

        :raises CalibrationError: as `Rectification`.
        """
        if calibration is not self.calibration:
            self.rectification = Rectification(calibration)
            self.calibration = calibration
        return self.rectification.frame(frame)


def coefficients(calibration: Calibration) -> np.ndarray:
    """
    Return the distortion coefficients in OpenCV's format.

    :return: float64 (N,), empty without distortion; (4,) for the model `equidistant`.
    :raises CalibrationError: if the model is unknown, or the number of coefficients is wrong.
    """
    D, model = calibration.D, calibration.model
    if not D.any():
        return np.zeros(0)
    counts = COEFFICIENTS.get(model)
    if counts is None:
        raise CalibrationError(
            'distortion', f'got the distortion model {model!r:.60}, expected '
            f'{", ".join(COEFFICIENTS)}')
    count = next((each for each in counts if each >= len(D)), counts[-1])
    if len(D) < counts[0] or D[count:].any():
        raise CalibrationError(
            'distortion', f'got {len(D)} distortion coefficients of the model {model}, expected '
            f'{" or ".join(map(str, counts))}')
    return np.concatenate([D[:count], np.zeros(max(count - len(D), 0))])


def rectifying_rotation(calibration: Calibration) -> np.ndarray:
    """
    Return R, or the identity if R is unknown.

    :raises CalibrationError: if R is not a rotation.
    """
    R = calibration.R
    if not R.any():
        return np.eye(3)
    error = np.abs(R @ R.T - np.eye(3)).max()
    if error > ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        raise CalibrationError(
            'distortion', f'got R = {R.tolist()}, expected a rotation: R times its transpose is '
            f'off the identity by {error:.2g}, its determinant is {np.linalg.det(R):.2g}')
    return R


def check_pinhole(K: np.ndarray) -> None:
    """
    Check that OpenCV's distortion models can use K.

    :raises CalibrationError: if its focal lengths are not positive, or it has skew.
    """
    if not (K[0, 0] > 0 and K[1, 1] > 0) or abs(K[0, 1]) > 1e-3 * K[0, 0]:
        raise CalibrationError(
            'distortion', f'got K = {K.tolist()}, expected positive focal lengths and no skew, '
            'to rectify the images')


def fitting_intrinsics(
        K: np.ndarray, D: np.ndarray, size: tuple[int, int], model: str) -> np.ndarray:
    """
    Return the intrinsics of a rectified image in which every pixel has a source.

    :param K: float64 (3, 3), intrinsics of the distorted image.
    :param size: height and width of both images.
    :raises CalibrationError: if there are no such intrinsics.
    """
    if not D.size:
        return K
    width_height = size[::-1]
    if model == 'equidistant':
        found = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            K, D, width_height, np.eye(3), balance=0.0)
    else:
        found = cv2.getOptimalNewCameraMatrix(K, D, width_height, 0.0)[0]
    focals = found[0, 0], found[1, 1]
    if not (np.isfinite(found).all() and FOCAL_RANGE[0] <= min(focals) and (
            max(focals) <= FOCAL_RANGE[1])):
        raise CalibrationError(
            'distortion', f'got the distortion {D.tolist()} and no P, for which no rectified '
            f'camera is found (focal lengths {focals[0]:g} and {focals[1]:g}), expected P')
    return found


def source_pixels(
        camera: np.ndarray, D: np.ndarray, R: np.ndarray, K: np.ndarray, size: tuple[int, int],
        model: str) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the position in the distorted image of each pixel of the rectified image.

    :param camera: float64 (3, 3), intrinsics of the distorted image.
    :param D: as returned by `coefficients`.
    :param R: as returned by `rectifying_rotation`.
    :param K: float64 (3, 3), intrinsics of the rectified image.
    :param size: height and width of the rectified image.
    :return: columns and rows, float32 (H, W); -1e4 beyond the valid angles of the lens model.
    """
    rectify = cv2.fisheye if model == 'equidistant' and D.size else cv2
    u, v = rectify.initUndistortRectifyMap(
        camera, D if D.size else None, R, K, size[::-1], cv2.CV_32FC1)
    rays = pixel_rays(K, size) @ R.astype(np.float32)  # R's transpose, for rows
    across = np.hypot(rays[..., 0], rays[..., 1])
    # beyond its largest valid angle the model folds back and would repeat the image centre
    behind = rays[..., 2] <= 0
    with np.errstate(divide='ignore', invalid='ignore'):
        radius = np.where(behind, np.inf, across / rays[..., 2])
    beyond = behind | (radius > largest_radius(D, model, float(radius[~behind].max(initial=0))))
    u[beyond] = v[beyond] = -1e4
    return u, v


def largest_radius(D: np.ndarray, model: str, needed: float) -> float:
    """
    Return the radius up to which a lens model is valid, where the distorted radius stops growing.

    :param D: as returned by `coefficients`.
    :param needed: largest radius of interest.
    :return: radius in the plane z = 1.
    """
    radii = np.linspace(0, needed, RADII)
    if model == 'equidistant':
        angle = np.arctan(radii)
        squared = angle ** 2
        distorted = angle * np.polynomial.polynomial.polyval(squared, [1, *D])
    else:
        k1, k2, _, _, k3, k4, k5, k6 = np.concatenate([D, np.zeros(14)])[:8]
        squared = radii ** 2
        distorted = radii * np.polynomial.polynomial.polyval(squared, [1, k1, k2, k3])
        distorted /= np.polynomial.polynomial.polyval(squared, [1, k4, k5, k6])
    falling = np.flatnonzero(np.diff(distorted) < 0)
    return float(radii[falling[0]]) if falling.size else np.inf


def outside(u: np.ndarray, v: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which pixels (u, v) lie outside an image of the given height and width: bool."""
    return ~((u >= -0.5) & (v >= -0.5) & (u <= size[1] - 0.5) & (v <= size[0] - 0.5))


def displacement(calibration: Calibration) -> float:
    """
    Return the largest displacement of a pixel by rectification.

    :return: pixels of the image; 0 for an image that is already rectified.
    :raises CalibrationError: as `Rectification`.
    """
    D, R = coefficients(calibration), rectifying_rotation(calibration)
    size = calibration.image_size
    check_pinhole(calibration.K)
    scale = min(1.0, 64 / max(size))
    small = tuple(max(1, round(side * scale)) for side in size)
    camera, K = (resize_intrinsics(calibration.of_image(matrix), size, small)
                 for matrix in (calibration.K, calibration.matrix))
    u, v = source_pixels(camera, D, R, K, small, calibration.model)
    rows, columns = np.indices(small, np.float32)
    moved = np.hypot((u - columns) * size[1] / small[1], (v - rows) * size[0] / small[0])
    return float(moved[~outside(u, v, small)].max(initial=0.0))
