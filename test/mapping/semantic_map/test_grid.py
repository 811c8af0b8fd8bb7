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


"""Navigation grid of a rendered room."""

from __future__ import annotations

import numpy as np
import pytest
from rendered_room import around, BOX, FLOOR, Room, SPACE
from sync_perception.mapping.semantic_map.export import write_surface
from sync_perception.mapping.semantic_map.grid import (
    FREE,
    GridSettings,
    navigation_grid,
    OCCUPIED,
    UNKNOWN,
)
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.surface import Surface, surface_of

SETTINGS = MapSettings(voxel=0.1, max_range=8, radius=10, relative_sigma=0.01)


def map_turned_by(world_T_room: np.ndarray) -> Surface:
    """Return the surface of the room in a world frame that is turned."""
    semantic_map = SemanticMap(SPACE, SETTINGS)
    for pose in around(10) + around(6, 1.1):
        semantic_map.integrate(*Room().render(pose), world_T_room @ pose)
    return surface_of(semantic_map)


def at(grid, x: float, y: float) -> tuple[int, int]:
    """Return value and label of the cell at a place of the room."""
    row, column = (int((value - low) / grid.resolution)
                   for value, low in zip((y, x), grid.origin[::-1]))
    return int(grid.values[row, column]), int(grid.labels[row, column])


def test_floor_is_free_and_the_box_occupied():
    """The floor is free, box and walls are occupied, and the ceiling is no obstacle."""
    grid = navigation_grid(map_turned_by(np.eye(4)), SPACE, [0, 0, 1], GridSettings(0.2))
    for x, y in ((-2, 0), (0, 1.5), (-2.5, -1.5), (0.5, -1), (2.5, 1.5)):
        assert at(grid, x, y) == (FREE, FLOOR)
    for x, y in ((1.1, 0.0), (1.1, 0.3)):
        assert at(grid, x, y) == (OCCUPIED, BOX)
    assert at(grid, 2.95, 0.1)[0] == at(grid, -2.95, 0.1)[0] == OCCUPIED
    assert 0.7 < (grid.values == FREE).sum() * 0.2 ** 2 / 24 < 1.0
    assert np.nanmax(np.abs(grid.ground)) < 0.1


def test_low_things_are_no_obstacle():
    """A robot that climbs the box, or a ceiling higher than the box, changes what is occupied."""
    surface = map_turned_by(np.eye(4))
    climbing = navigation_grid(surface, SPACE, [0, 0, 1], GridSettings(0.2, step=0.9))
    assert at(climbing, 1.1, 0.0)[0] != OCCUPIED


def test_axes_of_a_camera_world():
    """With y down, as in the first camera's frame, the grid is that of the room."""
    world_T_room = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    grid = navigation_grid(map_turned_by(world_T_room), SPACE, [0, -1, 0], GridSettings(0.2))
    assert np.allclose(grid.grid_T_world[:3, :3] @ [0, -1, 0], [0, 0, 1])
    assert at(grid, -2, 0) == (FREE, FLOOR)
    assert at(grid, 1.1, 0.0) == (OCCUPIED, BOX)


def test_empty_and_labelless_maps():
    """Without ground nothing is free; without points there is no cell."""
    empty = surface_of(SemanticMap(SPACE, SETTINGS))
    assert navigation_grid(empty, SPACE, [0, 0, 1]).values.size == 0
    surface = map_turned_by(np.eye(4))
    unlabelled = Surface(**{**vars(surface), 'labels': np.full_like(surface.labels, 255)})
    grid = navigation_grid(unlabelled, SPACE, [0, 0, 1])
    assert not np.any(grid.values == FREE) and np.any(grid.values == UNKNOWN)
    with pytest.raises(ValueError, match='resolution'):
        GridSettings(resolution=0)


def test_exported_mesh_is_read_by_open3d(tmp_path):
    """Another library reads the vertices, colours, labels and triangles."""
    o3d = pytest.importorskip('open3d')
    surface = map_turned_by(np.eye(4))
    write_surface(tmp_path / 'map.ply', surface)
    mesh = o3d.io.read_triangle_mesh(str(tmp_path / 'map.ply'))
    assert np.allclose(np.asarray(mesh.vertices), surface.points)
    assert np.array_equal(np.asarray(mesh.triangles), surface.triangles())
    assert np.array_equal(np.rint(np.asarray(mesh.vertex_colors) * 255), surface.colors)
    write_surface(tmp_path / 'cloud.ply', surface, mesh=False)
    cloud = o3d.t.io.read_point_cloud(str(tmp_path / 'cloud.ply'))
    assert np.array_equal(cloud.point['label'].numpy()[:, 0], surface.labels)
    assert np.allclose(cloud.point['confidence'].numpy()[:, 0], surface.confidence)
