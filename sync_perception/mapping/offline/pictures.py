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

"""Pictures of a map from above and from the side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.mapping.semantic_map.grid import turn_up
from sync_perception.mapping.semantic_map.surface import Surface
from sync_perception.runtime.pictures.render import BACKGROUND, render_quads
from sync_perception.runtime.pictures.visualize import legend

WIDTH = 1280
LARGEST_HEIGHT = 1000
FAR = 50.0
"""Distance of the viewer divided by the size of the map: nearly parallel rays."""
SIDE_ANGLE = 30.0
"""Degrees by which the picture from the side looks down."""
LIGHT = np.array([0.3, 0.5, 0.81], np.float32)
AMBIENT = 0.55
PATH = (255, 200, 0)
BORDER = 0.03
"""Width of the border divided by the extent of the map."""
OUTLIERS = 0.5
"""Percentage of the vertices that may lie outside of the picture on each side."""


def picture_from_above(
        surface: Surface, poses: Sequence[np.ndarray], space: LabelSpace, up: Sequence[float]
        ) -> np.ndarray:
    """
    Return the map as seen from above, in the colours of its labels, with the camera's path.

    :param poses: world_T_camera of each frame.
    :param up: vertical axis of the world frame.
    :return: uint8 (H, W, 3), RGB.
    """
    return _picture(surface, poses, space, up, 90.0, surface_paint(surface, space))


def picture_from_the_side(
        surface: Surface, poses: Sequence[np.ndarray], space: LabelSpace, up: Sequence[float]
        ) -> np.ndarray:
    """
    Return the map from the side: in the camera's colours, and below in those of its labels.

    :param poses: world_T_camera of each frame.
    :param up: vertical axis of the world frame.
    :return: uint8 (H, W, 3), RGB.
    """
    camera = _picture(surface, poses, space, up, SIDE_ANGLE, surface.colors, legend_below=False)
    labels = _picture(surface, poses, space, up, SIDE_ANGLE, surface_paint(surface, space))
    return np.concatenate([camera, labels])


def surface_paint(surface: Surface, space: LabelSpace) -> np.ndarray:
    """Return the label colour of each vertex, uint8 (N, 3); grey without a label."""
    palette = space.palette
    palette[len(space):] = 128
    return palette[surface.labels]


def _picture(
        surface: Surface, poses: Sequence[np.ndarray], space: LabelSpace, up: Sequence[float],
        angle: float, paint: np.ndarray, legend_below: bool = True) -> np.ndarray:
    if not len(surface):
        return np.full((WIDTH // 4, WIDTH, 3), BACKGROUND, np.uint8)
    places = np.array([pose[:3, 3] for pose in poses]).reshape(-1, 3)
    view = view_rotation(surface.points, places, up, angle)
    points, path = surface.points @ view.T, places @ view.T
    low, high = np.percentile(points, [OUTLIERS, 100 - OUTLIERS], axis=0)
    if len(path):
        low, high = np.minimum(low, path.min(axis=0)), np.maximum(high, path.max(axis=0))
    border = BORDER * float(max(high[:2] - low[:2]))
    low, high = low - border, high + border
    scale = min(WIDTH / (high[0] - low[0]), LARGEST_HEIGHT / (high[1] - low[1]))
    size = (int(np.ceil(scale * (high[1] - low[1]))), int(np.ceil(scale * (high[0] - low[0]))))
    centre, extent = (low + high) / 2, float(np.linalg.norm(high - low))
    shift = np.array([-centre[0], -centre[1], FAR * extent - centre[2]])
    quads = surface.quads()[:, [0, 1, 3, 2]]
    light = AMBIENT + (1 - AMBIENT) * np.clip(
        surface.normals @ turn_up(np.asarray(up, np.float64))[:3, :3].T @ LIGHT, 0, 1)
    shaded = (paint * light[:, None]).astype(np.uint8)
    picture = render_quads(
        (points + shift).astype(np.float32)[quads], shaded[quads], size, scale * FAR * extent)
    line = (path[:, :2] - centre[:2]) * scale + np.array(size[::-1]) / 2
    cv2.polylines(picture, [np.rint(line).astype(np.int32)], False, PATH, 3, cv2.LINE_AA)
    _draw_scale(picture, scale)
    if not legend_below:
        return picture
    return np.concatenate([picture, legend(surface.labels[:, None], space, picture.shape[1])])


def view_rotation(
        points: np.ndarray, path: np.ndarray, up: Sequence[float], angle: float) -> np.ndarray:
    """
    Return the rotation to a viewer who sees the long side of the map from left to right.

    :param angle: degrees by which the viewer looks down.
    :return: view_R_world, float64 (3, 3), to x right, y down, z forward.
    """
    level = turn_up(np.asarray(up, np.float64))[:3, :3]
    flat = (path if len(path) > 1 and np.ptp(path, axis=0).max() > 1 else points) @ level.T
    flat = flat[:, :2] - flat[:, :2].mean(axis=0)
    along = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    if len(path) > 1 and along @ (flat[-1] - flat[0]) < 0:
        along = -along
    right = np.array([along[0], along[1], 0])
    away = np.array([-along[1], along[0], 0])
    pitch = np.radians(angle)
    forward = np.cos(pitch) * away - np.sin(pitch) * np.array([0, 0, 1.0])
    return np.stack([right, np.cross(forward, right), forward]) @ level


def _draw_scale(picture: np.ndarray, pixels_per_metre: float) -> None:
    """Draw a scale bar of a round length."""
    wanted = 0.15 * picture.shape[1] / pixels_per_metre
    power = 10 ** np.floor(np.log10(wanted))
    length = power * max(step for step in (1, 2, 5) if step * power <= wanted)
    end = 20 + round(length * pixels_per_metre)
    row = picture.shape[0] - 20
    cv2.line(picture, (20, row), (end, row), (255, 255, 255), 3)
    cv2.putText(picture, f'{length:g} m', (20, row - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.7,
                (255, 255, 255), 2, cv2.LINE_AA)
