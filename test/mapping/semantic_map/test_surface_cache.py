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

"""The cached surface is that of the whole map; unchanged tiles are not computed again."""

from __future__ import annotations

import numpy as np
from rendered_room import around, Room, SPACE
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.surface import surface_of
from sync_perception.mapping.semantic_map.surface_cache import SurfaceCache

SETTINGS = MapSettings(voxel=0.06, max_range=8, radius=60, relative_sigma=0.01)


def fused(semantic_map: SemanticMap, poses) -> SemanticMap:
    """Add frames of the room."""
    for pose in poses:
        semantic_map.integrate(*Room().render(pose), pose)
    return semantic_map


def same(first, second) -> bool:
    """Return whether two surfaces have the same points."""
    first, second = (np.unique(surface.points, axis=0) for surface in (first, second))
    return first.shape == second.shape and np.allclose(first, second)


def test_only_changed_tiles_are_computed_again():
    """After each frame the surface is that of the map."""
    semantic_map, cache = fused(SemanticMap(SPACE, SETTINGS), around(12)[:2]), SurfaceCache()
    cache.note_changes(semantic_map)
    assert same(cache.update(semantic_map, None, 0), surface_of(semantic_map))
    before = dict(cache.surfaces)
    assert same(cache.update(semantic_map, None, 0), surface_of(semantic_map))
    assert all(cache.surfaces[tile] is surface for tile, surface in before.items())
    pose = around(12)[2]
    elsewhere = pose.copy()
    elsewhere[0, 3] += 20
    semantic_map.integrate(*Room().render(pose), elsewhere)
    changed = cache.note_changes(semantic_map)
    assert changed and not cache.note_changes(semantic_map)
    whole = cache.update(semantic_map, None, 0)
    assert same(whole, surface_of(semantic_map))
    assert all(cache.surfaces[tile] is surface for tile, surface in before.items())
    assert 0 < len(cache.part(changed)) < len(whole)


def test_tiles_out_of_reach_are_left_out():
    """Their centres are farther from the camera than the radius."""
    semantic_map, cache = fused(SemanticMap(SPACE, SETTINGS), around(4)), SurfaceCache()
    place, tile = np.array([2.0, 1.0, 1.0]), SETTINGS.tile
    near = cache.update(semantic_map, place, 2.5)
    distance = np.linalg.norm((np.floor(near.points / tile) + 0.5) * tile - place, axis=1)
    assert 0 < len(near) < len(surface_of(semantic_map))
    assert np.mean(distance < 2.5) > 0.97  # a vertex may lie in the tile beside its own
    assert same(cache.update(semantic_map, None, 2.5), surface_of(semantic_map))
