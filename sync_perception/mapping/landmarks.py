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


"""Landmarks of visual odometry: points along viewing rays, with inverse depth and its variance."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

LEAST = 0.05
"""
Least relative deviation of an inverse depth that parallax has refined. Parallax fixes the shape of
the scene, not its scale, which the depth of later frames must be able to correct.
"""


@dataclass
class Landmarks:
    """
    Points in the world, each on the ray along which a camera first saw it.

    A point lies at `origin + ray / inverse`. Inverse depth is estimated, because its error is
    closer to a normal distribution than that of depth (Civera et al., 2008).

    :param origin: float64 (N, 3), the camera's position at the first sight, world frame, metres.
    :param ray: float64 (N, 3), world frame; its component along the camera's z axis is 1.
    :param inverse: float64 (N,), inverse depth along z of the first camera, 1 / metres.
    :param variance: float64 (N,), variance of the inverse depth.
    :param pixel: float32 (N, 2), (u, v) in the latest image.
    """

    origin: np.ndarray
    ray: np.ndarray
    inverse: np.ndarray
    variance: np.ndarray
    pixel: np.ndarray

    @classmethod
    def none(cls) -> Landmarks:
        """Return a set without points."""
        return cls(np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty(0),
                   np.empty((0, 2), np.float32))

    @classmethod
    def seen(cls, pixel: np.ndarray, K: np.ndarray, world_T_camera: np.ndarray,
             depth: np.ndarray, deviation: np.ndarray) -> Landmarks:
        """
        Return the landmarks of pixels with known depth.

        :param pixel: float32 (N, 2), (u, v).
        :param depth: float (N,), metres along z.
        :param deviation: float (N,), standard deviation of ln(depth).
        """
        rays = np.c_[pixel, np.ones(len(pixel))] @ np.linalg.inv(K).T @ world_T_camera[:3, :3].T
        inverse = 1 / depth.astype(np.float64)
        return cls(np.tile(world_T_camera[:3, 3], (len(pixel), 1)), rays, inverse,
                   (inverse * deviation) ** 2, pixel.astype(np.float32))

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.inverse)

    @property
    def points(self) -> np.ndarray:
        """Return the positions in the world, float64 (N, 3), metres."""
        return self.origin + self.ray / self.inverse[:, None]

    @property
    def are_known(self) -> np.ndarray:
        """Return which points have a depth that is known within a third, bool (N,)."""
        return self.variance < np.square(self.inverse / 3)

    def where(self, kept: np.ndarray) -> Landmarks:
        """Return the landmarks that a mask or an index selects."""
        return Landmarks(*(getattr(self, field.name)[kept] for field in fields(self)))

    def joined(self, other: Landmarks) -> Landmarks:
        """Return these landmarks followed by others."""
        return Landmarks(*(np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                           for field in fields(self)))

    def projected(self, K: np.ndarray, camera_T_world: np.ndarray
                  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Project the landmarks into a camera.

        :return: pixels (u, v) (N, 2), points in the camera's frame (N, 3), and the derivative of
            the pixels by inverse depth (N, 2).
        """
        points = self.points @ camera_T_world[:3, :3].T + camera_T_world[:3, 3]
        z = np.maximum(points[:, 2:], 1e-3)
        focal = np.array([K[0, 0], K[1, 1]])
        pixels = points[:, :2] / z * focal + K[:2, 2]
        along = -(self.ray / self.inverse[:, None] ** 2) @ camera_T_world[:3, :3].T
        slope = (along[:, :2] - points[:, :2] / z * along[:, 2:]) / z * focal
        return pixels, points, slope

    def observe(self, slope: np.ndarray, error: np.ndarray, pixel_variance: float) -> None:
        """
        Refine the inverse depths by where the points are seen (Kalman update), in place.

        :param slope: derivative of the pixels by inverse depth, (N, 2).
        :param error: seen minus projected pixels, (N, 2).
        :param pixel_variance: variance of the seen pixels.
        """
        information = 1 / self.variance + np.square(slope).sum(axis=1) / pixel_variance
        self.inverse += (slope * error).sum(axis=1) / pixel_variance / information
        self.variance = np.maximum(1 / information, np.square(LEAST * self.inverse))

    def measure(self, depth: np.ndarray, deviation: np.ndarray, points: np.ndarray,
                camera_T_world: np.ndarray) -> None:
        """
        Refine the inverse depths by the depth that the latest image gives, in place.

        :param depth: float (N,), metres along z of the latest camera; NaN where unknown.
        :param deviation: float (N,), standard deviation of ln(depth).
        :param points: the points in the latest camera's frame, (N, 3).
        """
        # along a ray, z = slant / inverse + start
        slant = self.ray @ camera_T_world[2, :3]
        start = points[:, 2] - slant / self.inverse
        with np.errstate(divide='ignore', invalid='ignore'):
            seen = slant / (depth - start)
            variance = (seen * deviation * depth / (depth - start)) ** 2
            used = (seen > 0) & np.isfinite(variance) & (
                np.square(seen - self.inverse) < 9 * (variance + self.variance))
        weight = np.where(used, 1 / np.where(used, variance, 1), 0)
        information = 1 / self.variance + weight
        self.inverse += np.where(used, seen - self.inverse, 0) * weight / information
        self.variance = 1 / information
