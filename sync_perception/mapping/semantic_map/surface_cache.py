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

"""Surface of a growing map, of which only the changed tiles are computed again."""

from __future__ import annotations

import numpy as np
from sync_perception.mapping.semantic_map.blocks import pack, unpack
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.surface import (
    joined_surface,
    LEAST_WEIGHT,
    Surface,
    tile_surface,
    TileReader,
)

AROUND = np.array([(x, y, z) for x in (0, -1) for y in (0, -1) for z in (0, -1)])
"""Tiles whose surface depends on a tile, relative to it."""


class SurfaceCache:
    """
    Surfaces of the tiles of one map.

    The surface of each tile is kept until the tile changes or is out of reach.
    """

    def __init__(self):
        self.surfaces: dict[int, Surface] = {}
        self.stale: set[int] = set()

    def note_changes(self, semantic_map: SemanticMap) -> set[int]:
        """Return the tiles that have changed since the last call."""
        changed, semantic_map.changed = semantic_map.changed, set()
        self.stale |= changed
        return changed

    def update(
            self, semantic_map: SemanticMap, place: np.ndarray | None, radius: float) -> Surface:
        """
        Return the surface of the tiles within reach.

        :param place: position of the camera, metres; None if it is not known.
        :param radius: distance of a tile's centre from the camera up to which it is within reach,
            metres; 0 for all tiles.
        """
        tiles = within_reach(semantic_map, place, radius)
        affected = dependent_tiles(self.stale)
        self.surfaces = {tile: surface for tile, surface in self.surfaces.items()
                         if tile in tiles and tile not in affected}
        self.stale = set()
        reader = TileReader(semantic_map)
        for tile in sorted(tiles - self.surfaces.keys()):
            self.surfaces[tile] = tile_surface(semantic_map, reader, tile, LEAST_WEIGHT)
        return joined_surface(self.surfaces.values())

    def part(self, changed: set[int]) -> Surface:
        """Return the surface of changed tiles, each as a whole."""
        return joined_surface(
            self.surfaces[tile] for tile in dependent_tiles(changed) if tile in self.surfaces)


def within_reach(semantic_map: SemanticMap, place: np.ndarray | None, radius: float) -> set[int]:
    """Return the tiles whose centre is within a radius of a place."""
    tiles = semantic_map.tiles()
    if place is None or not radius or not tiles:
        return set(tiles)
    centres = (unpack(np.array(tiles)) + 0.5) * semantic_map.settings.tile
    near = np.linalg.norm(centres - place, axis=1) <= radius
    return set(np.array(tiles)[near].tolist())


def dependent_tiles(tiles: set[int]) -> set[int]:
    """Return the tiles whose surface depends on one of these tiles."""
    if not tiles:
        return set()
    positions = unpack(np.fromiter(tiles, np.int64, len(tiles)))
    return set(pack((positions[:, None] + AROUND).reshape(-1, 3)).tolist())
