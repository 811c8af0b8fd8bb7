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


"""Houses and blocks: walls with a window grid in their texture coordinates, roofs, annexes."""

from __future__ import annotations

import numpy as np
from sync_perception.street_world.mesh import box, join, Kind, make, Material, Mesh, sheet

FACADES = np.array([
    [0.55, 0.5, 0.4], [0.6, 0.57, 0.5], [0.62, 0.62, 0.6], [0.5, 0.4, 0.25], [0.45, 0.3, 0.18],
    [0.5, 0.25, 0.17], [0.35, 0.36, 0.36], [0.28, 0.26, 0.22], [0.55, 0.45, 0.2],
    [0.4, 0.45, 0.42], [0.65, 0.6, 0.45], [0.3, 0.12, 0.07], [0.7, 0.7, 0.7]], np.float32)
ROOFS = np.array([
    [0.2, 0.07, 0.04], [0.14, 0.05, 0.03], [0.06, 0.055, 0.05], [0.1, 0.09, 0.085],
    [0.25, 0.1, 0.05]], np.float32)


def wall_color(rng: np.random.Generator) -> np.ndarray:
    """Draw the colour of a wall: off-whites, creams, greys, some brick and pastel."""
    color = FACADES[rng.integers(len(FACADES))]
    grey = color.mean()
    return (grey + (color - grey) * rng.uniform(0.3, 1.0)) * rng.uniform(0.65, 1.2)


def _walls(width: float, depth: float, height: float, bay: float, storey: float, color,
           material: Material) -> Mesh:
    """Make four walls around [0, width] x [0, depth]; u counts bays, v counts storeys."""
    corners = [(0, 0), (width, 0), (width, depth), (0, depth), (0, 0)]
    floors = max(1, round(height / storey))
    parts = []
    for a, b in zip(corners[:-1], corners[1:]):
        bays = max(1, round(np.hypot(b[0] - a[0], b[1] - a[1]) / bay))
        points = [[(*a, -0.5), (*b, -0.5)], [(*a, height), (*b, height)]]
        low = -0.5 * floors / height
        uv = [[(0, low), (bays, low)], [(0, floors), (bays, floors)]]
        parts.append(sheet(points, Kind.BUILDING, material, color, uv))
    return join(parts)


def _gable(width: float, depth: float, height: float, rise: float, along_x: bool, roof,
           wall) -> Mesh:
    """Make a pitched roof with eaves over [0, width] x [0, depth]."""
    eave = 0.4
    if not along_x:
        mesh = _gable(depth, width, height, rise, True, roof, wall)
        mesh.vertices = mesh.vertices[:, [1, 0, 2]].copy()
        return mesh
    drop = rise * eave / (depth / 2)
    slopes = []
    for y in (-eave, depth + eave):
        points = [[(-eave, y, height - drop), (width + eave, y, height - drop)],
                  [(-eave, depth / 2, height + rise), (width + eave, depth / 2, height + rise)]]
        run = np.hypot(depth / 2 + eave, rise + drop)
        uv = [[(0, 0), (width, 0)], [(0, run), (width, run)]]
        slopes.append(sheet(points, Kind.BUILDING, Material.TILES, roof, uv))
    ends = [make([(x, 0, height), (x, depth, height), (x, depth / 2, height + rise)], [0, 1, 2],
                 Kind.BUILDING, Material.PLASTER, wall) for x in (0, width)]
    return join(slopes + ends)


def house(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """
    Make a dwelling house with a pitched roof over [0, width] x [0, depth], its front at y = 0.

    :return: a mesh of kind `BUILDING`, two to four storeys.
    """
    storey = rng.uniform(2.6, 3.1)
    height = storey * rng.integers(1, 4) + 0.4
    wall = wall_color(rng)
    roof = ROOFS[rng.integers(len(ROOFS))] * rng.uniform(0.7, 1.3)
    along = rng.random() < 0.65
    rise = (depth if along else width) / 2 * rng.uniform(0.55, 1.05)
    parts = [_walls(width, depth, height, rng.uniform(2.2, 3.6), storey, wall, Material.FACADE),
             _gable(width, depth, height, rise, along, roof, wall)]
    if rng.random() < 0.7:
        x, y = width * rng.uniform(0.2, 0.8), depth * rng.uniform(0.35, 0.65)
        parts.append(box((0.6, 0.6, 1.6), (x, y, height + rise + 0.1), Kind.BUILDING,
                         Material.BRICK, (0.2, 0.08, 0.05)))
    if along and rng.random() < 0.4:
        parts.append(box((1.6, 1.4, 1.4), (width * rng.uniform(0.25, 0.75), depth * 0.22,
                                           height + rise * 0.35), Kind.BUILDING,
                         Material.PLASTER, wall * 0.8))
    return join(parts)


def block(rng: np.random.Generator, width: float, depth: float, height: float) -> Mesh:
    """
    Make a town block with a flat roof over [0, width] x [0, depth], its front at y = 0.

    :return: a mesh of kind `BUILDING`, with a cornice, perhaps balconies and a parapet.
    """
    storey = rng.uniform(2.8, 3.6)
    floors = max(2, round(height / storey))
    height = floors * storey
    wall = wall_color(rng)
    bay = rng.uniform(1.9, 3.8)
    parts = [_walls(width, depth, height, bay, storey, wall, Material.FACADE),
             box((width, depth, 0.3), (width / 2, depth / 2, height + 0.15), Kind.BUILDING,
                 Material.PLASTER, (0.2, 0.2, 0.2)),
             box((width + 0.3, 0.3, 0.3), (width / 2, -0.02, height + 0.1), Kind.BUILDING,
                 Material.PLASTER, wall * 0.9)]
    bays = max(1, round(width / bay))
    if rng.random() < 0.45:
        step = int(rng.integers(1, 3))
        color = wall * rng.uniform(0.6, 1.2)
        for floor in range(1, floors):
            for i in range(int(rng.integers(0, 2)), bays, step + 1):
                x = (i + 0.5) * width / bays
                parts.append(box((width / bays * 0.9, 1.1, 0.95), (
                    x, -0.55, floor * storey + 0.45), Kind.BUILDING, Material.PLASTER, color))
    if rng.random() < 0.5:
        parts.append(_gable(width, depth, height, rng.uniform(2, 4), True, ROOFS[rng.integers(
            len(ROOFS))], wall))
    if rng.random() < 0.4:
        parts.append(box((width, 1.4, 0.15), (width / 2, -0.7, 3.1), Kind.BUILDING,
                         Material.PLASTER, rng.uniform(0.05, 0.5, 3)))
    return join(parts)


def hall(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """Make a shed or a supermarket: low, wide, few windows, of kind `BUILDING`."""
    height = rng.uniform(4, 8)
    wall = wall_color(rng)
    return join([
        _walls(width, depth, height, 6.0, height, wall, Material.PLASTER),
        box((width + 0.1, depth + 0.1, 0.4), (width / 2, depth / 2, height), Kind.BUILDING,
            Material.METAL, rng.uniform(0.05, 0.4, 3)),
        box((width * 0.4, 0.06, 2.2), (width * rng.uniform(0.3, 0.7), -0.02, 1.4), Kind.BUILDING,
            Material.GLASS, (0.03, 0.035, 0.04))])
