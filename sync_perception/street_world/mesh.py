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


"""Triangle meshes with materials, colours, texture coordinates and kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np


class Material(IntEnum):
    """Material of a surface, which selects its shading."""

    PLAIN = 0
    ASPHALT = 1
    PAVING = 2
    CONCRETE = 3
    GRASS = 4
    SOIL = 5
    FACADE = 6
    PLASTER = 7
    BRICK = 8
    TILES = 9
    BARK = 10
    LEAVES = 11
    METAL = 12
    PAINT = 13
    GLASS = 14
    LAMP = 15
    SIGN = 16
    LATTICE = 17
    CLOTH = 18


class Kind(IntEnum):
    """Kind of object of a surface; finer than any label space of the written data."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    TRAFFIC_LIGHT = 6
    TRAFFIC_SIGN = 7
    TREE = 8
    VEGETATION = 9
    TERRAIN = 10
    SKY = 11
    PERSON = 12
    RIDER = 13
    CAR = 14
    VAN = 15
    TRUCK = 16
    BUS = 17
    MOTORCYCLE = 18
    BICYCLE = 19
    GUARD_RAIL = 20
    MISC = 21


@dataclass
class Mesh:
    """
    A triangle soup in metres, z up.

    :param vertices: float32 (V, 3).
    :param triangles: int32 (T, 3), indices of vertices.
    :param uv: float32 (V, 2), texture coordinates, whose meaning depends on the material.
    :param material: uint8 (T,), values of `Material`.
    :param color: float32 (T, 3), linear RGB albedo in [0, 1].
    :param kind: uint8 (T,), values of `Kind`.
    :param normals: float32 (V, 3), unit normals for interpolated shading; NaN for the triangle's
        own normal.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    color: np.ndarray
    kind: np.ndarray
    normals: np.ndarray

    def __len__(self) -> int:
        """Return the number of triangles."""
        return len(self.triangles)

    def placed(self, position, yaw: float = 0.0, scale=1.0) -> Mesh:
        """Return the mesh scaled, rotated about z by `yaw` radians, and moved to `position`."""
        c, s = np.cos(yaw), np.sin(yaw)
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
        vertices = self.vertices * np.float32(scale) @ rotation.T + np.asarray(
            position, np.float32)
        return replace(self, vertices=vertices.astype(np.float32),
                       normals=self.normals @ rotation.T)

    def smoothed(self) -> Mesh:
        """Return the mesh with normals averaged over the triangles around a vertex."""
        a, b, c = (self.vertices[self.triangles[:, i]] for i in range(3))
        cross = np.cross(b - a, c - a)
        total = np.zeros_like(self.vertices)
        for i in range(3):
            np.add.at(total, self.triangles[:, i], cross)
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
        return replace(self, normals=total)


def join(meshes: list[Mesh]) -> Mesh:
    """Join meshes to one."""
    counts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    triangles = [m.triangles + int(n) for m, n in zip(meshes, counts)]
    fields = {
        name: np.concatenate([getattr(m, name) for m in meshes])
        for name in ('vertices', 'uv', 'material', 'color', 'kind', 'normals')}
    return Mesh(triangles=np.concatenate(triangles), **fields)


def make(vertices, triangles, kind, material=Material.PLAIN, color=(0.5, 0.5, 0.5), uv=None,
         normals=None) -> Mesh:
    """
    Build a mesh; `kind`, `material` and `color` are single values or one per triangle.

    Without `uv`, a vertex's texture coordinates are a slanted projection of its position, for
    surfaces without a pattern.
    """
    vertices = np.ascontiguousarray(vertices, np.float32).reshape(-1, 3)
    triangles = np.ascontiguousarray(triangles, np.int32).reshape(-1, 3)
    count = len(triangles)
    if uv is None:
        uv = np.stack([vertices[:, 0] + 0.61 * vertices[:, 1], vertices[:, 2] + 0.3
                       * vertices[:, 1]], axis=1)
    if normals is None:
        normals = np.full(vertices.shape, np.nan, np.float32)
    return Mesh(
        vertices, triangles, np.ascontiguousarray(uv, np.float32).reshape(-1, 2),
        np.broadcast_to(np.asarray(material, np.uint8), count).copy(),
        np.broadcast_to(np.asarray(color, np.float32), (count, 3)).copy(),
        np.broadcast_to(np.asarray(kind, np.uint8), count).copy(),
        np.asarray(normals, np.float32))


def sheet(points, kind, material=Material.PLAIN, color=(0.5, 0.5, 0.5), uv=None) -> Mesh:
    """
    Build quadrilaterals over a grid of points.

    :param points: (R, C, 3).
    :param kind: one, or (R - 1, C - 1).
    :param material: one, or (R - 1, C - 1).
    :param color: (3,), or (R - 1, C - 1, 3).
    :param uv: (R, C, 2), or None.
    """
    points = np.asarray(points, np.float32)
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=2)

    def twice(value, trailing):
        value = np.asarray(value)
        if value.ndim == trailing:
            return value
        return np.repeat(value.reshape(-1, *value.shape[2:]), 2, axis=0)

    return make(points, triangles, twice(kind, 0), twice(material, 0), twice(color, 1), uv)


def box(size, center, kind, material=Material.PLAIN, color=(0.5, 0.5, 0.5)) -> Mesh:
    """Make an axis-aligned box of `size` (x, y, z) around `center`."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4],
                      [1, 5, 7, 3]])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return make(corners * size + np.asarray(center), triangles, kind, material, color)


def tube(path, radii, kind, material=Material.PLAIN, color=(0.5, 0.5, 0.5), sides: int = 6,
         closed: bool = True) -> Mesh:
    """
    Sweep a circle along a path.

    :param path: (N, 3).
    :param radii: one, or (N,), metres.
    :param closed: whether the ends are closed.
    """
    path = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radii, np.float64), (len(path),))
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # An axis that the path is never parallel to keeps the frame from flipping.
    helper = np.eye(3)[np.abs(along).max(axis=0).argmin()]
    first = np.cross(along, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = (first[:, None] * np.cos(angle)[None, :, None]
            + second[:, None] * np.sin(angle)[None, :, None])
    points = path[:, None] + ring * radii[:, None, None]
    if closed:
        points = np.concatenate([
            np.repeat(path[:1, None], sides + 1, axis=1), points,
            np.repeat(path[-1:, None], sides + 1, axis=1)])
    return sheet(points, kind, material, color)


def sphere(rings: int, sides: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices (V, 3) and triangles (T, 3) of a unit sphere."""
    polar = np.linspace(0, np.pi, rings + 1)
    around = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    grid = np.stack([
        np.sin(polar)[:, None] * np.cos(around), np.sin(polar)[:, None] * np.sin(around),
        np.cos(polar)[:, None] * np.ones(sides)], axis=-1)
    index = np.arange((rings + 1) * sides).reshape(rings + 1, sides)
    nxt = np.roll(index, -1, axis=1)
    lower = np.stack([index[:-1], index[1:], nxt[1:]], -1).reshape(-1, 3)
    upper = np.stack([index[:-1], nxt[1:], nxt[:-1]], -1).reshape(-1, 3)
    return grid.reshape(-1, 3), np.concatenate([lower, upper])


def disc(center, normal, radius: float, kind, material, color, sides: int = 12) -> Mesh:
    """Make a flat disc."""
    normal = np.asarray(normal, np.float64) / np.linalg.norm(normal)
    helper = np.array([0.0, 0, 1]) if abs(normal[2]) < 0.8 else np.array([1.0, 0, 0])
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rim = np.asarray(center) + radius * (
        first * np.cos(angle)[:, None] + second * np.sin(angle)[:, None])
    around = np.arange(1, sides + 1)
    triangles = np.stack([np.zeros(sides), around, np.roll(around, -1)], -1)
    uv = np.concatenate([[[0, 0]], np.stack([np.cos(angle), np.sin(angle)], -1)])
    return make(np.concatenate([[center], rim]), triangles, kind, material, color, uv)


def rectangle(center, right, up, size, kind, material, color) -> Mesh:
    """Make a rectangle of `size` (width, height) with texture coordinates in [-1, 1]."""
    right, up = np.asarray(right, np.float64), np.asarray(up, np.float64)
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    points = np.asarray(center) + (corner[:, :1] * right * size[0] + corner[:, 1:] * up
                                   * size[1]) / 2
    return make(points, [[0, 1, 2], [0, 2, 3]], kind, material, color, corner)
