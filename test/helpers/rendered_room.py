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


"""A room with a box, rendered exactly, for maps with a known answer."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace
from sync_perception.types import Frame, Prediction

SPACE = LabelSpace.load('driving')
FLOOR, WALL, CEILING, BOX = (SPACE.index(name) for name in (
    'road', 'building', 'vegetation', 'fence'))
SIZE = (120, 160)
K = np.array([[90.0, 0, 79.5], [0, 90.0, 59.5], [0, 0, 1]])
LOW, HIGH = np.array([-3.0, -2.0, 0.0]), np.array([3.0, 2.0, 2.5])
BOX_LOW, BOX_HIGH = np.array([1.0, -0.5, 0.0]), np.array([1.8, 0.5, 0.8])


@dataclass(frozen=True)
class Room:
    """
    A room of 6 m x 4 m x 2.5 m; z points up.

    :param box: lower and upper corner of a box in the room; None for an empty room.
    """

    box: tuple[np.ndarray, np.ndarray] | None = (BOX_LOW, BOX_HIGH)

    def render(self, pose: np.ndarray, stamp: int = 0) -> tuple[Frame, Prediction]:
        """Return the frame at a pose (world_T_camera), and its exact depth and labels."""
        rays = (pixel_rays(K, SIZE).reshape(-1, 3) @ pose[:3, :3].T).astype(np.float64)
        rays[rays == 0] = 1e-12
        start = pose[:3, 3]
        far = np.maximum((LOW - start) / rays, (HIGH - start) / rays)
        depth, axis = far.min(axis=1), far.argmin(axis=1)
        labels = np.full(len(rays), WALL, np.uint8)
        labels[axis == 2] = np.where(rays[axis == 2, 2] < 0, FLOOR, CEILING)
        if self.box is not None:
            first, second = ((corner - start) / rays for corner in self.box)
            near = np.minimum(first, second).max(axis=1)
            hit = (near < np.maximum(first, second).min(axis=1)) & (near > 0)
            depth[hit], labels[hit] = near[hit], BOX
        labels = labels.reshape(SIZE)
        frame = Frame(SPACE.palette[labels], K, stamp)
        return frame, Prediction(
            depth=depth.reshape(SIZE).astype(np.float32), labels=labels,
            confidence=np.full(SIZE, 0.8, np.float32))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return each point's distance from the nearest surface, metres."""
        distance = _wall_distances(points).min(axis=1)
        return distance if self.box is None else np.minimum(distance, self._box_distance(points))

    def label_distances(self, points: np.ndarray) -> dict[int, np.ndarray]:
        """Return each point's distance from the nearest surface of each label, metres."""
        walls = _wall_distances(points)
        distances = {FLOOR: walls[:, 2], CEILING: walls[:, 5],
                     WALL: walls[:, [0, 1, 3, 4]].min(axis=1)}
        return distances if self.box is None else {**distances, BOX: self._box_distance(points)}

    def labels(self, points: np.ndarray) -> np.ndarray:
        """Return the label of the nearest surface."""
        distances = self.label_distances(points)
        nearest = np.argmin([*distances.values()], axis=0)
        return np.array([*distances], np.uint8)[nearest]

    def _box_distance(self, points: np.ndarray) -> np.ndarray:
        outside = np.maximum(self.box[0] - points, points - self.box[1])
        return np.where((outside > 0).any(axis=1), np.linalg.norm(np.maximum(outside, 0), axis=1),
                        -outside.max(axis=1))


def look(position: tuple[float, float, float], yaw: float, pitch: float = 0.0) -> np.ndarray:
    """Return the pose of a camera: yaw 0 looks along x, positive pitch downwards (radians)."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    across = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([across, np.cross(forward, across), forward], axis=1)
    pose[:3, 3] = position
    return pose


def around(count: int, pitch: float = 0.25) -> list[np.ndarray]:
    """Return poses of a camera that turns around in the room on a small circle."""
    return [look((-0.8 + 0.4 * np.cos(a), 0.4 * np.sin(a), 1.2 + 0.1 * np.sin(3 * a)), a, pitch)
            for a in np.linspace(0, 2 * np.pi, count, endpoint=False)]


def noisy(prediction: Prediction, sigma: float, wrong: float, rng: np.random.Generator
          ) -> Prediction:
    """
    Return a prediction with errors; those of depth are smooth, as those of networks.

    :param sigma: standard deviation of depth divided by depth.
    :param wrong: share of pixels with a random label.
    """
    field = cv2.GaussianBlur(rng.standard_normal(SIZE).astype(np.float32), None, 4)
    depth = prediction.depth * (1 + sigma / field.std() * field)
    labels = prediction.labels.copy()
    other = rng.random(SIZE) < wrong
    labels[other] = rng.choice([FLOOR, WALL, CEILING, BOX], other.sum())
    return Prediction(depth=depth, labels=labels, confidence=prediction.confidence)


def _wall_distances(points: np.ndarray) -> np.ndarray:
    """Return the distances from the six sides of the room, (N, 6)."""
    return np.abs(np.concatenate([points - LOW, HIGH - points], axis=1))
