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


"""Maps of a rendered room: their surfaces and labels, storage, memory and moving things."""

from __future__ import annotations

import numpy as np
import pytest
from rendered_room import around, BOX, K, look, noisy, Room, SIZE, SPACE
from sync_perception.mapping.semantic_map.blocks import BLOCK_BYTES
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.surface import surface_of
from sync_perception.types import Frame, Prediction

VOXEL = 0.08
SETTINGS = MapSettings(voxel=VOXEL, max_range=8, radius=10, relative_sigma=0.01)
EVERYWHERE = around(12) + around(8, -0.8) + around(8, 1.1)


def mapped(poses, room=None, settings=SETTINGS, **kwargs) -> SemanticMap:
    """Return the map of a room, seen exactly."""
    semantic_map = SemanticMap(SPACE, settings, **kwargs)
    for pose in poses:
        semantic_map.integrate(*(room or Room()).render(pose), pose)
    return semantic_map


def content(semantic_map: SemanticMap) -> dict[int, dict[str, bytes]]:
    """Return everything that a map stores, tile by tile."""
    return {tile: {'keys': keys.tobytes(), **{name: array.tobytes() for name, array in
                                              values.items()}}
            for tile in semantic_map.tiles()
            for keys, values in [semantic_map.read_tile(tile)] if len(keys)}


def test_room_is_reproduced():
    """Exact depth and labels give the planes within a voxel, and their labels."""
    room = Room()
    surface = surface_of(mapped(EVERYWHERE, room))
    distance = room.distance(surface.points)
    assert len(surface) > 9000
    assert np.median(distance) < 0.05 * VOXEL
    assert np.mean(distance < VOXEL) > 0.99
    assert np.mean(surface.labels == room.labels(surface.points)) > 0.97
    right = [near[surface.labels == label] < VOXEL  # where two surfaces meet, both are right
             for label, near in room.label_distances(surface.points).items()]
    assert sum(map(np.sum, right)) > 0.99 * len(surface)
    # every wall is covered
    for axis, side in ((0, -3), (0, 3), (1, -2), (1, 2), (2, 0), (2, 2.5)):
        near = np.abs(surface.points[:, axis] - side) < VOXEL
        corner = surface.points[near].max(axis=0) - surface.points[near].min(axis=0)
        assert np.delete(corner, axis).prod() > 0.9 * np.delete([6, 4, 2.5], axis).prod()
    true_colors = SPACE.palette[room.labels(surface.points)]
    assert np.mean(np.abs(surface.colors.astype(int) - true_colors).max(axis=1) < 8) > 0.96


def test_mesh_is_the_room():
    """The triangles cover the room once, and face the free space."""
    surface = surface_of(mapped(EVERYWHERE, Room(None)))
    corners = surface.points[surface.triangles()]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    true = 2 * 6 * 4 + 2 * 2.5 * (6 + 4)
    assert 0.95 * true < area.sum() / 2 < 1.05 * true
    inward = np.array([0, 0, 1.25]) - corners.mean(axis=1)
    assert area[np.sum(normals * inward, axis=1) > 0].sum() > 0.99 * area.sum()
    assert np.mean(np.sum(surface.normals * ([0, 0, 1.25] - surface.points), axis=1) > 0) > 0.99


def test_map_is_better_than_its_frames():
    """Errors of depth and labels average out over the frames."""
    rng, room = np.random.default_rng(3), Room()
    semantic_map = SemanticMap(SPACE, MapSettings(voxel=VOXEL, max_range=8, radius=10))
    wrong, errors = [], []
    for pose in around(36):
        frame, true = room.render(pose)
        prediction = noisy(true, sigma=0.03, wrong=0.3, rng=rng)
        wrong.append(np.mean(prediction.labels != true.labels))
        errors.append(np.abs(prediction.depth - true.depth).mean())
        semantic_map.integrate(frame, prediction, pose)
    surface = surface_of(semantic_map)
    labels = room.labels(surface.points)
    assert np.mean(wrong) > 0.2
    assert np.mean(surface.labels != labels) < 0.35 * np.mean(wrong)
    assert np.median(room.distance(surface.points)) < 0.6 * np.mean(errors)
    sure = surface.confidence > 0.9
    assert np.mean(surface.labels[sure] == labels[sure]) > np.mean(
        surface.labels[~sure] == labels[~sure])


def test_moved_box_leaves_no_ghost():
    """A box that has gone is seen through, and vanishes from the map."""
    semantic_map = mapped(around(8))
    assert np.mean(surface_of(semantic_map).labels == BOX) > 0.02
    for pose in around(20):
        semantic_map.integrate(*Room(None).render(pose), pose)
    surface = surface_of(semantic_map)
    assert np.mean(Room(None).distance(surface.points) > VOXEL) < 0.005
    assert np.mean(surface.labels == BOX) < 0.005


def test_movable_classes_are_left_out():
    """A person is neither surface nor free space; sky is free space."""
    pose = look((0, 0, 1.2), 0.0)
    frame, true = Room(None).render(pose)
    labels, depth = true.labels.copy(), true.depth.copy()
    labels[40:80, 60:100], depth[40:80, 60:100] = SPACE.index('person'), 1.0
    semantic_map = SemanticMap(SPACE, SETTINGS)
    for _ in range(4):
        semantic_map.integrate(frame, Prediction(depth, labels, true.confidence), pose)
    points = surface_of(semantic_map).points
    assert len(points) and not np.any((np.abs(points[:, 0] - 1) < 0.3) & (points[:, 2] > 0.5))
    assert not np.any((points[:, 0] > 2.8) & (np.abs(points[:, 1]) < 0.3)
                      & (np.abs(points[:, 2] - 1.2) < 0.3))
    sky = Prediction(
        np.full(SIZE, np.nan, np.float32), np.full(SIZE, SPACE.index('sky'), np.uint8))
    for _ in range(12):
        semantic_map.integrate(frame, sky, pose)
    assert len(surface_of(semantic_map)) < 0.05 * len(points)


def test_stored_map_continues(tmp_path):
    """A map that was stored and loaded half way is bit by bit that of one run."""
    poses = around(12)
    once = mapped(poses)
    first = mapped(poses[:5], folder=tmp_path / 'map')
    first.commit({'next': 5})
    first.integrate(*Room().render(poses[5]), poses[5])  # not committed, so lost
    second, state = SemanticMap.load(tmp_path / 'map')
    assert (state['next'], second.frames) == (5, 5)
    for pose in poses[state['next']:]:
        second.integrate(*Room().render(pose), pose)
    assert content(second) == content(once)
    second.commit()
    with pytest.raises(ValueError, match='map'):
        SemanticMap(SPACE, SETTINGS, tmp_path / 'map')
    assert content(SemanticMap.load(tmp_path / 'map')[0]) == content(once)


def corridor(x: float) -> tuple[Frame, Prediction, np.ndarray]:
    """Return an exact frame of an endless corridor, whose camera looks along it."""
    pose = look((x, 0, 1.2), 0.0, 0.1)
    moved = pose.copy()
    moved[0, 3] = -2.9  # a room whose far end is left out
    frame, prediction = Room(None).render(moved)
    end = prediction.depth > 5
    depth = np.where(end, np.nan, prediction.depth).astype(np.float32)
    return frame, Prediction(depth, prediction.labels, prediction.confidence), pose


def test_memory_is_bounded_by_the_radius(tmp_path):
    """Blocks behind the camera go to disk, come back, and the map is that without paging."""
    near = MapSettings(voxel=0.1, max_range=4, radius=6)
    far = MapSettings(voxel=0.1, max_range=4, radius=1000)
    places = [*np.arange(0, 66, 3.0), *np.arange(64, 44, -3.0)]
    paged, whole = SemanticMap(SPACE, near, tmp_path / 'map'), SemanticMap(SPACE, far)
    forgetful = SemanticMap(SPACE, near)
    counts = []
    for x in places:
        for each in (paged, whole, forgetful):
            each.integrate(*corridor(x))
        counts.append(len(paged.blocks))
    assert max(counts) < 0.5 * len(whole.blocks)
    assert max(counts[16:22]) < 1.2 * max(counts[5:16])
    assert paged.blocks.memory == paged.blocks.capacity * BLOCK_BYTES
    assert list((tmp_path / 'map' / 'tiles').iterdir())
    assert content(paged) == content(whole)
    assert len(forgetful.tiles()) < len(whole.tiles())
    paged.commit()
    assert content(SemanticMap.load(tmp_path / 'map')[0]) == content(whole)


@pytest.mark.parametrize(('key', 'value'), [
    ('voxel', 0), ('radius', 1), ('up', (0, 0, 2)), ('max_range', float('nan'))])
def test_settings_are_checked(key, value):
    """A setting out of range is named."""
    with pytest.raises(ValueError, match=key):
        MapSettings(**{key: value})


def test_bad_frames_are_refused():
    """A pose that is not finite, or maps of another size, change nothing."""
    semantic_map, pose = SemanticMap(SPACE, SETTINGS), look((0, 0, 1), 0.0)
    frame, prediction = Room().render(pose)
    with pytest.raises(ValueError, match='nan'):
        semantic_map.integrate(frame, prediction, np.full((4, 4), np.nan))
    other = Frame(np.zeros((8, 8, 3), np.uint8), K)
    with pytest.raises(ValueError, match='depth'):
        semantic_map.integrate(other, prediction, pose)
    with pytest.raises(ValueError, match='depth'):
        semantic_map.integrate(frame, Prediction(labels=prediction.labels), pose)
    assert not len(semantic_map.blocks) and not len(surface_of(semantic_map))


def test_damaged_map_is_refused(tmp_path):
    """A tile that is cut short, or a description that is none, is named."""
    semantic_map = mapped(around(2), folder=tmp_path)
    semantic_map.commit()
    tile = next((tmp_path / 'tiles').iterdir())
    tile.write_bytes(tile.read_bytes()[:100])
    with pytest.raises(ValueError, match=tile.name):
        surface_of(SemanticMap.load(tmp_path)[0])
    (tmp_path / 'map.json').write_text('{"format": 2}')
    with pytest.raises(ValueError, match='format'):
        SemanticMap.load(tmp_path)
