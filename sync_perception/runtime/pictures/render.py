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

"""Software rendering of an organized cloud from another viewpoint, without display or GPU."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

GRAZING, GRAZING_GROUND = math.tan(math.radians(2.5)), math.tan(math.radians(1))
"""Tangents of the least viewing angles of a surface and of ground; less is a depth jump."""
DENSITY = 1.25
"""Samples per picture pixel along each axis: enough that rounding leaves no gaps."""
BACKGROUND = (24, 26, 30)
SUBDIVISIONS = (1, 2, 3, 4, 6, 9, 14, 20)


@dataclass(frozen=True)
class Viewpoint:
    """
    Viewpoint relative to the camera that recorded the cloud.

    :param behind: distance behind the camera, metres.
    :param above: distance above the camera, metres.
    :param aside: distance to the right of the camera, metres.
    :param pitch: downward pitch, degrees.
    :param yaw: yaw to the right, degrees.
    :param field_of_view: horizontal field of view, degrees.
    """

    behind: float = 5.0
    above: float = 3.2
    aside: float = 0.0
    pitch: float = 9.0
    yaw: float = 0.0
    field_of_view: float = 60.0

    def view_T_camera(self) -> np.ndarray:
        """Return the 4x4 transform from the camera's optical frame to the viewer's."""
        pitch, yaw = math.radians(self.pitch), math.radians(self.yaw)
        look_down = np.array([
            [1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)],
            [0, math.sin(pitch), math.cos(pitch)]])
        look_right = np.array([
            [math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0],
            [math.sin(yaw), 0, math.cos(yaw)]])
        target = np.eye(4)
        target[:3, :3] = look_down @ look_right
        target[:3, 3] = target[:3, :3] @ -np.array([self.aside, -self.above, -self.behind])
        return target


def render_cloud(
        points: np.ndarray, colors: np.ndarray, size: tuple[int, int] = (720, 1280),
        view: Viewpoint | None = None, max_depth: float = 60.0,
        background: tuple[int, int, int] = BACKGROUND) -> np.ndarray:
    """
    Render an organized cloud as the surfaces that it samples.

    Neighbouring points are joined by quads, except across depth jumps: predicted depth changes
    smoothly between an object and its background, which would be drawn as a fan of rays. Each
    quad is sampled at the picture's resolution and drawn with a z-buffer. Depth edges are darkened
    (eye-dome lighting, Boucheny 2009).

    :param points: float (H, W, 3), metres in the camera's optical frame, NaN for holes.
    :param colors: uint8 (H, W, 3), RGB.
    :param size: height and width of the picture.
    :param view: the viewpoint; by default behind and above the camera.
    :param max_depth: greatest depth of the points drawn, metres.
    :param background: RGB colour of pixels without points.
    :return: uint8 (height, width, 3), RGB.
    :raises ValueError: if the cloud is not organized or the shapes differ.
    """
    if points.ndim != 3 or points.shape[2] != 3 or colors.shape != points.shape:
        raise ValueError(
            f'expected points and colors (H, W, 3), got {points.shape} and {colors.shape}')
    view = view or Viewpoint()
    quads = surface_quads(points, max_depth)
    target = view.view_T_camera().astype(np.float32)
    viewed = np.where(np.isfinite(points), points, 0).astype(np.float32) @ target[:3, :3].T
    viewed += target[:3, 3]
    focal = size[1] / 2 / math.tan(math.radians(view.field_of_view) / 2)
    corners = [viewed[:-1, :-1], viewed[:-1, 1:], viewed[1:, :-1], viewed[1:, 1:]]
    paints = [colors[:-1, :-1], colors[:-1, 1:], colors[1:, :-1], colors[1:, 1:]]
    corners = np.stack([corner[quads] for corner in corners], axis=1)
    paints = np.stack([paint[quads] for paint in paints], axis=1)
    return render_quads(corners, paints, size, focal, background)


def render_quads(
        corners: np.ndarray, paints: np.ndarray, size: tuple[int, int], focal: float,
        background: tuple[int, int, int] = BACKGROUND) -> np.ndarray:
    """
    Render quadrilaterals with a z-buffer; depth edges are darkened.

    :param corners: float32 (N, 4, 3), metres in the viewer's optical frame: the corners at the top
        left, top right, bottom left and bottom right of each.
    :param paints: uint8 (N, 4, 3), RGB.
    :param size: height and width of the picture.
    :param focal: focal length in pixels.
    :param background: RGB colour of pixels without points.
    :return: uint8 (height, width, 3), RGB.
    """
    buffer = _ZBuffer(size)
    extent = _extent(corners, focal) * DENSITY
    for finer, count in zip((0, *SUBDIVISIONS), SUBDIVISIONS):
        chosen = (extent > finer) & ((extent <= count) | (count == SUBDIVISIONS[-1]))
        if chosen.any():
            buffer.add(*_subdivide(corners[chosen], paints[chosen], count), focal)
    return buffer.picture(background)


def surface_quads(points: np.ndarray, max_depth: float) -> np.ndarray:
    """
    Return which 2x2 neighbours of an organized cloud lie on one surface.

    A surface at a grazing angle looks like a depth jump. Distant ground is seen at such angles, so
    points that may be ground, in the lower half of the height range below the camera, have a
    smaller limit.

    :param points: (H, W, 3), NaN for holes.
    :return: bool (H - 1, W - 1).
    """
    y, z = points[..., 1], points[..., 2]
    if not np.isfinite(z).any():
        return np.zeros((z.shape[0] - 1, z.shape[1] - 1), bool)
    corners = np.stack([z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:]])
    near, far = corners.min(axis=0), corners.max(axis=0)
    with np.errstate(invalid='ignore', divide='ignore'):
        spacing = np.nanmedian(np.abs(np.diff(points[..., 0] / z, axis=1)))
        ground = y[:-1, :-1] > max(0, 0.5 * np.nanpercentile(y, 95))
        limit = near * spacing / np.where(ground, GRAZING_GROUND, GRAZING)
        return (far < max_depth) & (near > 0) & (far - near < limit)


def _extent(corners: np.ndarray, focal: float) -> np.ndarray:
    """Return the longest side in pixels of each projected quad (N, 4, 3)."""
    z = np.maximum(corners[..., 2:], 0.1)
    pixels = corners[..., :2] / z * focal
    sides = pixels[:, [1, 3, 2, 0]] - pixels[:, [0, 1, 3, 2]]
    return np.abs(sides).max(axis=(1, 2))


def _subdivide(
        corners: np.ndarray, paints: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample quads (N, 4, 3) at count x count points; return points (M, 3) and colours (M, 3)."""
    share = np.arange(count, dtype=np.float32) / count
    right, down = (grid.ravel() for grid in np.meshgrid(share, share))
    weights = np.stack(
        [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], axis=1)
    points = np.einsum('kc,ncd->nkd', weights, corners, optimize=True)
    nearest = paints[:, weights.argmax(axis=1)]
    return points.reshape(-1, 3), nearest.reshape(-1, 3)


class _ZBuffer:
    """Buffer of the nearest sample of every pixel."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self.depth = np.full(size[0] * size[1], np.inf, np.float32)
        self.color = np.zeros((size[0] * size[1], 3), np.uint8)

    def add(self, points: np.ndarray, colors: np.ndarray, focal: float) -> None:
        """Draw points (N, 3) in the viewer's frame."""
        height, width = self.size
        front = points[:, 2] > 0.1
        points, colors = points[front], colors[front]
        z = points[:, 2]
        u = np.rint(points[:, 0] / z * focal + (width - 1) / 2).astype(np.int64)
        v = np.rint(points[:, 1] / z * focal + (height - 1) / 2).astype(np.int64)
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        pixel, z, colors = (v * width + u)[inside], z[inside], colors[inside]
        np.minimum.at(self.depth, pixel, z)
        nearest = z == self.depth[pixel]
        self.color[pixel[nearest]] = colors[nearest]

    def picture(self, background: tuple[int, int, int]) -> np.ndarray:
        """Return the picture, uint8 (H, W, 3) RGB, with darkened depth edges."""
        empty = np.isinf(self.depth).reshape(self.size)
        logs = np.log2(np.where(empty, 1e6, self.depth.reshape(self.size)))
        shade = np.zeros(self.size, np.float32)
        for down, right in ((0, 2), (0, -2), (2, 0), (-2, 0)):
            neighbour = np.roll(logs, (down, right), axis=(0, 1))
            shade += np.clip(logs - neighbour - 0.02, 0, 0.3)
        light = np.exp(-1.5 * shade)[..., None]
        picture = self.color.reshape(*self.size, 3) * light
        picture[empty] = background
        return picture.astype(np.uint8)
