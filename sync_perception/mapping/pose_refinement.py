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


"""Camera pose from landmarks and pixels, weighted by the uncertainty of depth and pixels."""

from __future__ import annotations

import cv2
import numpy as np
from sync_perception.mapping.landmarks import Landmarks

ITERATIONS = 30
CONVERGED = 1e-5
"""Step in radians and metres at which the refinement stops."""


def refine_pose(
        camera_T_world: np.ndarray, landmarks: Landmarks, K: np.ndarray, pixel_variance: float
        ) -> tuple[np.ndarray, np.ndarray]:
    """
    Refine a pose by Gauss-Newton steps on robust, whitened reprojection errors.

    The covariance of a landmark's error is that of its pixel plus that of its inverse depth,
    s s^T var: a point with unknown depth constrains the pose across its epipolar line only. The
    errors are weighted by Cauchy's function.

    :param camera_T_world: initial pose, float64 (4, 4).
    :param landmarks: with the pixels in which they are seen.
    :param pixel_variance: variance of the seen pixels.
    :return: the pose, and the squared whitened errors (N,).
    """
    for _ in range(ITERATIONS):
        pixels, points, slope = landmarks.projected(K, camera_T_world)
        error = landmarks.pixel - pixels
        inverse = inverse_covariance(slope, landmarks.variance, pixel_variance)
        squared = np.einsum('ni,nij,nj->n', error, inverse, error)
        weighted = inverse / (1 + squared)[:, None, None]
        jacobian = pose_jacobian(points, K)
        left = np.einsum('nia,nij->naj', jacobian, weighted)
        normal = np.einsum('naj,njb->ab', left, jacobian)
        step = np.linalg.solve(normal + 1e-9 * np.eye(6) * np.trace(normal),
                               np.einsum('naj,nj->a', left, error))
        camera_T_world = moved(camera_T_world, step)
        if np.abs(step).max() < CONVERGED:
            break
    pixels, _, slope = landmarks.projected(K, camera_T_world)
    error = landmarks.pixel - pixels
    inverse = inverse_covariance(slope, landmarks.variance, pixel_variance)
    return camera_T_world, np.einsum('ni,nij,nj->n', error, inverse, error)


def inverse_covariance(
        slope: np.ndarray, variance: np.ndarray, pixel_variance: float) -> np.ndarray:
    """Return the inverse of pixel_variance I + variance s s^T, (N, 2, 2)."""
    length = np.square(slope).sum(axis=1) * variance
    share = variance / (pixel_variance + length)
    return (np.eye(2) - share[:, None, None] * slope[:, :, None] * slope[:, None]) / pixel_variance


def pose_jacobian(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return the derivative of the pixels by rotation and translation, (N, 2, 6)."""
    x, y, z = points.T
    z = np.maximum(z, 1e-3)
    fx, fy = K[0, 0], K[1, 1]
    a, b, zero = x / z, y / z, np.zeros_like(z)
    return np.stack([
        np.stack([-fx * a * b, fx * (1 + a * a), -fx * b, fx / z, zero, -fx * a / z], axis=1),
        np.stack([-fy * (1 + b * b), fy * a * b, fy * a, zero, fy / z, -fy * b / z], axis=1),
    ], axis=1)


def moved(camera_T_world: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return a pose after a small rotation (vector) and translation of the camera's frame."""
    change = np.eye(4)
    change[:3, :3] = cv2.Rodrigues(step[:3])[0]
    change[:3, 3] = step[3:]
    return change @ camera_T_world
