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
Surface of a map: points or a mesh with colour, label and confidence.

Source: Gibson, "Constrained elastic surface nets", MICCAI 1998, in the common form without
relaxation: each cell between eight voxels that the surface crosses has one vertex, and each edge
between two voxels that the surface crosses has one quadrilateral.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sync_perception.labels import VOID
from sync_perception.mapping.semantic_map.blocks import KEPT_CLASSES, pack, unpack, VOXELS
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap, Tile
from sync_perception.mapping.semantic_map.settings import BLOCK_SIDE
from sync_perception.mapping.semantic_map.storage import tile_keys

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8)
                  if np.abs(CORNERS[a] - CORNERS[b]).sum() == 1])
LEAST_WEIGHT = 0.1
"""Default of the least weight of the voxels at a vertex."""
STEEPEST = 2.0
"""
Largest change of distance from voxel to voxel, in voxels. A distance changes by at most one voxel;
it jumps where the space behind a surface borders on free space that was seen past its edge.
"""
REMEMBERED = 8
"""Tiles that are kept while their neighbours are read."""


@dataclass(frozen=True)
class Surface:
    """
    Vertices of a map's surface.

    :param points: float32 (N, 3), metres, world frame.
    :param normals: float32 (N, 3), unit normals towards free space.
    :param colors: uint8 (N, 3), RGB.
    :param labels: uint8 (N,), class ids, 255 where no label was seen.
    :param confidence: float32 (N,), probability of the label; 0 where there is none.
    :param weight: float32 (N,), weight of the nearest voxel.
    :param cells: int64 (N,), packed cells of the vertices, sorted.
    :param crossings: int8 (N, 3), for each edge of the cell's first corner along x, y and z: 1 if
        it leads out of the surface, -1 if into it, 0 if it does not cross it.
    """

    points: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    weight: np.ndarray
    cells: np.ndarray
    crossings: np.ndarray

    def __len__(self) -> int:
        """Return the number of vertices."""
        return len(self.points)

    def triangles(self) -> np.ndarray:
        """Return the triangles of the mesh, counterclockwise seen from free space: (M, 3)."""
        quads = self.quads()
        return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])

    def quads(self) -> np.ndarray:
        """Return the quadrilaterals, counterclockwise seen from free space: int (M, 4)."""
        found = []
        for axis in range(3):
            first, second = (np.eye(3, dtype=int)[(axis + turn) % 3] for turn in (1, 2))
            rows = np.flatnonzero(self.crossings[:, axis])
            cell = unpack(self.cells[rows])
            around = [self._find(cell - step) for step in (
                0 * first, first, first + second, second)]
            quads = np.stack(around, axis=1)
            complete = (quads >= 0).all(axis=1)
            quads, outward = quads[complete], self.crossings[rows[complete], axis] > 0
            quads[~outward] = quads[~outward][:, ::-1]
            found.append(quads)
        return np.concatenate(found)

    def _find(self, cells: np.ndarray) -> np.ndarray:
        keys = pack(cells)
        at = np.minimum(np.searchsorted(self.cells, keys), len(self.cells) - 1)
        return np.where(self.cells[at] == keys, at, -1)


def surface_of(
        semantic_map: SemanticMap, least_weight: float = LEAST_WEIGHT,
        tiles: list[int] | None = None) -> Surface:
    """
    Return the surface of a map, also of what is in its files.

    :param least_weight: least weight of the eight voxels around a vertex.
    :param tiles: keys of the tiles; None for all.
    """
    reader = TileReader(semantic_map)
    parts = [tile_surface(semantic_map, reader, tile, least_weight)
             for tile in (semantic_map.tiles() if tiles is None else tiles)]
    return joined_surface(parts)


def joined_surface(parts: Iterable[Surface]) -> Surface:
    """Return the surface of several parts that share no vertex."""
    parts = [part for part in parts if len(part)] or [empty_surface()]
    joined = {name: np.concatenate([getattr(part, name) for part in parts])
              for name in vars(parts[0])}
    order = np.argsort(joined['cells'])
    return Surface(**{name: values[order] for name, values in joined.items()})


def empty_surface() -> Surface:
    """Return a surface without vertices."""
    vectors, numbers = np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
    return Surface(
        vectors, vectors, vectors.astype(np.uint8), numbers.astype(np.uint8), numbers, numbers,
        numbers.astype(np.int64), vectors.astype(np.int8))


class TileReader:
    """Reads blocks of a map by key, whether they are in memory or in files."""

    def __init__(self, semantic_map: SemanticMap):
        self.map = semantic_map
        self.known = set(semantic_map.tiles())
        self.recent: OrderedDict[int, Tile] = OrderedDict()

    def tile(self, tile: int) -> Tile | None:
        """Return a tile's blocks; None if the map has no such tile."""
        if tile not in self.known:
            return None
        if tile not in self.recent:
            self.recent[tile] = self.map.read_tile(tile)
        self.recent.move_to_end(tile)
        while len(self.recent) > REMEMBERED:
            self.recent.popitem(last=False)
        return self.recent[tile]

    def voxels(self, keys: np.ndarray, index: np.ndarray, names: tuple[str, ...]
               ) -> dict[str, np.ndarray]:
        """
        Return properties of single voxels; all are 0 where there is no block.

        :param keys: int64 (N,), the block of each voxel.
        :param index: int (N,), its index in the block; or an array (N, M) for M voxels of each.
        """
        result: dict[str, np.ndarray] = {}
        own = tile_keys(keys)
        for tile in np.unique(own).tolist():
            rows = np.flatnonzero(own == tile)
            found = self.tile(tile)
            if found is None or not len(found[0]):
                continue
            at = np.minimum(np.searchsorted(found[0], keys[rows]), len(found[0]) - 1)
            there = found[0][at] == keys[rows]
            rows, at = rows[there], at[there]
            at = at.reshape(at.shape + (1,) * (index.ndim - 1))
            for name in names:
                values = found[1][name][at, index[rows]]
                if name not in result:
                    result[name] = np.zeros(index.shape + values.shape[index.ndim:], values.dtype)
                result[name][rows] = values
        return result


def tile_surface(
        semantic_map: SemanticMap, reader: TileReader, tile: int, least_weight: float) -> Surface:
    """Return the vertices of the cells of one tile."""
    found = reader.tile(tile)
    if found is None or not len(found[0]):
        return empty_surface()
    keys = found[0][(found[1]['weight'] >= least_weight).any(axis=1)]
    if not len(keys):
        return empty_surface()
    distance = padded(reader, keys, least_weight)
    corners = np.stack([
        distance[:, x:x + BLOCK_SIDE, y:y + BLOCK_SIDE, z:z + BLOCK_SIDE]
        for x, y, z in CORNERS], axis=-1)
    corners = corners.reshape(len(keys), VOXELS, 8)
    with np.errstate(invalid='ignore'):
        crossed = (corners.min(axis=2) < 0) & (corners.max(axis=2) >= 0)
    block, voxel = np.nonzero(crossed)
    corners = corners[block, voxel]
    steepest = STEEPEST / semantic_map.settings.truncation
    local, count = vertices(corners, steepest)
    block, voxel, corners, local = (
        values[count > 0] for values in (block, voxel, corners, local))
    if not len(block):
        return empty_surface()
    cells = unpack(keys[block]) * BLOCK_SIDE + np.stack(
        np.unravel_index(voxel, (BLOCK_SIDE, BLOCK_SIDE, BLOCK_SIDE)), axis=-1)
    nearest = cells + CORNERS[np.abs(corners).argmin(axis=1)]
    properties = voxel_properties(reader, cells, nearest, len(semantic_map.space))
    return Surface(
        points=((cells + 0.5 + local) * semantic_map.settings.voxel).astype(np.float32),
        normals=gradients(corners), cells=pack(cells),
        crossings=np.stack([crossing(corners, axis, steepest) for axis in range(3)], axis=1),
        **properties)


def padded(reader: TileReader, keys: np.ndarray, least_weight: float) -> np.ndarray:
    """
    Return the distances of blocks with the first layer of the blocks behind them.

    :return: float32 (N, SIDE + 1, SIDE + 1, SIDE + 1), NaN where the weight is too small.
    """
    result = np.full((len(keys), BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), np.nan,
                     np.float32)
    for step in CORNERS:
        index = np.arange(VOXELS).reshape(BLOCK_SIDE, BLOCK_SIDE, BLOCK_SIDE)
        index = index[tuple(slice(0, 1) if s else slice(None) for s in step)]
        place = tuple(slice(BLOCK_SIDE, None) if s else slice(0, BLOCK_SIDE) for s in step)
        values = reader.voxels(
            pack(unpack(keys) + step), np.broadcast_to(index.ravel(), (len(keys), index.size)),
            ('distance', 'weight'))
        if values:
            seen = values['weight'] >= np.float32(least_weight)
            result[(slice(None), *place)] = np.where(
                seen, values['distance'].astype(np.float32), np.nan).reshape(-1, *index.shape)
    return result


def crossed_edge(start: np.ndarray, end: np.ndarray, steepest: float) -> np.ndarray:
    """Return whether the surface crosses edges, by the distances at both ends."""
    return ((start < 0) != (end < 0)) & (np.abs(start - end) <= steepest)


def vertices(corners: np.ndarray, steepest: float) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the mean of the points in which the surface crosses the edges of each cell.

    :return: float64 (N, 3), and the number of edges, (N,); the mean of none is 0.
    """
    total, count = np.zeros((len(corners), 3)), np.zeros(len(corners), int)
    for a, b in EDGES:
        start, end = corners[:, a], corners[:, b]
        cross = crossed_edge(start, end, steepest)
        share = np.divide(start, start - end, out=np.zeros_like(start), where=cross)
        total += cross[:, None] * (CORNERS[a] + share[:, None] * (CORNERS[b] - CORNERS[a]))
        count += cross
    return total / np.maximum(count, 1)[:, None], count


def gradients(corners: np.ndarray) -> np.ndarray:
    """Return the direction in which the distance grows: unit vectors, float32 (N, 3)."""
    signs = (2 * CORNERS - 1).astype(np.float32)
    normals = corners @ signs
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.maximum(length, 1e-6)).astype(np.float32)


def crossing(corners: np.ndarray, axis: int, steepest: float) -> np.ndarray:
    """Return how the edge of the first corner along an axis crosses the surface, int8 (N,)."""
    last = int(np.flatnonzero((CORNERS == np.eye(3, dtype=int)[axis]).all(axis=1))[0])
    start, end = corners[:, 0], corners[:, last]
    outward = np.where(start < 0, np.int8(1), np.int8(-1))
    return np.where(crossed_edge(start, end, steepest), outward, np.int8(0))


def voxel_properties(
        reader: TileReader, cells: np.ndarray, nearest: np.ndarray, classes: int
        ) -> dict[str, np.ndarray]:
    """
    Return colour, label, confidence and weight of vertices.

    :param cells: positions of the cells, int64 (N, 3).
    :param nearest: of the voxels at the corners of each cell, that nearest to the surface.
    :param classes: number of classes.
    """
    values = reader.voxels(*block_and_index(nearest), ('color', 'weight'))
    labels, confidence = cell_labels(reader, cells, classes)
    return {'colors': values['color'], 'labels': labels, 'confidence': confidence,
            'weight': values['weight'].astype(np.float32)}


def block_and_index(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the block of each voxel, packed, and its index in the block."""
    block = voxels // BLOCK_SIDE
    return pack(block), np.ravel_multi_index(
        (voxels - block * BLOCK_SIDE).T, (BLOCK_SIDE, BLOCK_SIDE, BLOCK_SIDE))


def cell_labels(reader: TileReader, cells: np.ndarray, classes: int
                ) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the most probable class of cells, and its probability.

    The evidence of a class is the mean over those of the eight voxels around the vertex that have
    evidence at all: it changes less from vertex to vertex than that of the nearest voxel, whose
    pixels were few.

    :return: uint8 (N,), 255 without evidence, and float32 (N,).
    """
    total = np.zeros(len(cells) * classes)
    seen = np.zeros(len(cells), int)
    first = np.arange(len(cells)) * classes
    for step in CORNERS:
        values = reader.voxels(*block_and_index(cells + step), ('classes', 'evidence'))
        if not values:
            continue
        evidence = values['evidence'].astype(np.float32)
        seen += evidence.max(axis=1) > 0
        for kept in range(KEPT_CLASSES):
            total += np.bincount(first + np.minimum(values['classes'][:, kept], classes - 1),
                                 evidence[:, kept], len(total))
    logs = total.reshape(-1, classes) / np.maximum(seen, 1)[:, None]
    best = logs.argmax(axis=1)
    greatest = logs.max(axis=1, keepdims=True)
    confidence = (1 / np.exp(logs - greatest).sum(axis=1)).astype(np.float32)
    return np.where(seen > 0, best, VOID).astype(np.uint8), np.where(seen > 0, confidence, 0)
