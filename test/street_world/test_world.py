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


"""What is said to be exact is: depth, normals, poses and intrinsics against each other."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.geometry import (
    backproject,
    normals_from_points,
    pixel_rays,
    project,
    transform,
)
from sync_perception.labels import LabelSpace
from sync_perception.street_world import StreetWorld
from sync_perception.street_world.mesh import Kind
from sync_perception.street_world.world import CLASSES, kinds_to_ids, THINGS

DRIVING = LabelSpace.load('driving')


def test_the_same_seed_and_index_give_the_same_frame():
    first, second = (StreetWorld(5, (48, 160), frames=6) for _ in range(2))
    second.render(1)
    a, b = first.render(4), second.render(4)
    np.testing.assert_array_equal(a.frame.image, b.frame.image)
    np.testing.assert_array_equal(a.depth, b.depth)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.world_T_camera, b.world_T_camera)


def test_other_seeds_and_other_indices_give_other_frames(street):
    other = StreetWorld(6, (120, 400), frames=20).render(0)
    frames = [street.render(0), street.render(9), other]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (frames[a].labels != frames[b].labels).mean() > 0.02
        assert np.abs(frames[a].frame.image.astype(int) - frames[b].frame.image).mean() > 4


def test_the_weather_changes_the_image_alone():
    clear, fog = (StreetWorld(3, (48, 160), weather=w, frames=4).render(2)
                  for w in ('clear', 'fog'))
    np.testing.assert_array_equal(clear.depth, fog.depth)
    np.testing.assert_array_equal(clear.labels, fog.labels)
    assert np.abs(clear.frame.image.astype(int) - fog.frame.image).mean() > 10


def test_shapes_types_and_ranges(street):
    rendered = street.render(3)
    size = (120, 400)
    assert rendered.frame.size == size and rendered.frame.stamp == 300_000_000
    assert rendered.depth.dtype == np.float32 and rendered.depth.shape == size
    assert rendered.labels.dtype == np.uint8 and rendered.labels.shape == size
    assert rendered.instances.dtype == np.int32 and rendered.instances.shape == size
    assert rendered.normals.dtype == np.float32 and rendered.normals.shape == (*size, 3)
    assert (rendered.depth > 0).all()
    sky = rendered.labels == DRIVING.index('sky')
    np.testing.assert_array_equal(sky, np.isinf(rendered.depth))
    np.testing.assert_array_equal(sky, np.isnan(rendered.normals).all(axis=-1))
    np.testing.assert_allclose(np.linalg.norm(rendered.normals[~sky], axis=-1), 1, atol=1e-4)


def test_poses_are_rigid_and_move_forward(street):
    poses = [street.pose(i) for i in range(10)]
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        np.testing.assert_allclose(pose[3], [0, 0, 0, 1])
    for before, after in zip(poses, poses[1:]):
        step = np.linalg.inv(before) @ after
        assert step[2, 3] == pytest.approx(street.layout.speed / 10, rel=0.1)
        assert abs(step[0, 3]) < 0.2


def test_depth_of_a_flat_road_is_the_ground_planes(flat_street):
    rendered = flat_street.render(1)
    pose, rays = rendered.world_T_camera, pixel_rays(flat_street.K, flat_street.size)
    # Road at z = 0: depth * (ray in the world).z + camera.z = 0.
    falling = (rays.astype(np.float64) @ pose[:3, :3].T)[..., 2]
    plane = -pose[2, 3] / falling
    road = (rendered.labels == DRIVING.index('road')) & (rendered.depth < 60)
    assert road.sum() > 3000
    np.testing.assert_allclose(rendered.depth[road], plane[road], rtol=2e-3)
    assert 1.55 < pose[2, 3] < 1.75
    up = rendered.normals[road] @ pose[:3, :3].T
    np.testing.assert_allclose(up, np.broadcast_to([0, 0, 1], up.shape), atol=1e-3)


def test_static_points_of_one_frame_lie_where_the_next_one_sees_them(street):
    first, second = street.render(2), street.render(4)
    points = backproject(first.depth.astype(np.float64), pixel_rays(street.K, street.size))
    second_T_first = np.linalg.inv(second.world_T_camera) @ first.world_T_camera
    static = np.isfinite(first.depth) & ~np.isin(first.kinds, THINGS) & (first.depth < 80)
    moved = transform(points[static], second_T_first)
    u, v = np.rint(project(moved, street.K)).astype(int).T
    seen = (moved[:, 2] > 1) & (u >= 0) & (u < street.size[1]) & (v >= 0) & (v < street.size[0])
    assert seen.sum() > 5000
    found = second.depth[v[seen], u[seen]]
    expected = moved[seen, 2]
    error = np.abs(found - expected) / expected
    # The nearest pixel's centre is up to half a pixel off, and edges occlude.
    assert np.median(error) < 0.01
    assert (error < 0.05).mean() > 0.8
    same = second.labels[v[seen], u[seen]] == first.labels[static][seen]
    assert same.mean() > 0.85


def test_normals_agree_with_those_of_the_depth_map(street):
    rendered = street.render(5)
    points = backproject(rendered.depth, pixel_rays(street.K, street.size))
    estimated = normals_from_points(np.where(np.isfinite(points), points, np.nan))
    smooth = np.isin(rendered.kinds, (Kind.ROAD, Kind.SIDEWALK, Kind.BUILDING))
    smooth &= np.isfinite(estimated).all(axis=-1) & (rendered.depth < 40)
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        neighbour = np.roll(rendered.normals, shift, axis)
        smooth &= (neighbour * rendered.normals).sum(axis=-1) > 0.9999
    cosine = (estimated[smooth] * rendered.normals[smooth]).sum(axis=-1)
    assert smooth.sum() > 5000
    assert (cosine > 0.99).mean() > 0.95
    facing = (points * rendered.normals).sum(axis=-1)[np.isfinite(rendered.depth)]
    assert (facing <= 1e-4).all()


def test_vehicles_move_and_the_rest_stands_still(street):
    renders = street.render(0), street.render(8)
    rays = pixel_rays(street.K, street.size)
    world_of = [transform(backproject(np.minimum(r.depth, 1e4).astype(np.float64), rays),
                          r.world_T_camera) for r in renders]
    moving = {p for p in np.unique(renders[0].instances) if p > len(street.layout.site.meshes)}
    common = [p for p in moving if all((r.instances == p).sum() > 20 for r in renders)]
    assert common
    for part in common:
        centres = [np.median(w[r.instances == part], axis=0) for w, r in zip(world_of, renders)]
        assert np.linalg.norm(centres[0] - centres[1]) > 0.4


def test_a_street_shows_many_classes(street):
    seen = set(np.unique(np.stack([street.render(i).labels for i in (0, 7, 14)])))
    names = {DRIVING.names[i] for i in seen - {255}}
    assert {'road', 'building', 'vegetation', 'sky', 'car', 'pole'} <= names
    assert len(names) >= 9


def test_every_kind_has_its_classes():
    assert set(CLASSES) == set(Kind)
    table = kinds_to_ids('driving')
    assert table[Kind.CAR] == table[Kind.VAN] == 13 and table[Kind.GUARD_RAIL] == 19
    assert table[Kind.MISC] == 255
    assert kinds_to_ids('vkitti2')[Kind.VAN] == LabelSpace.load('vkitti2').index('Van')


def test_an_unknown_weather_is_refused():
    with pytest.raises(ValueError, match="'hail'"):
        StreetWorld(0, (20, 30), weather='hail')


@pytest.mark.parametrize('size,K', [((96, 128), None), ((64, 64), np.array(
    [[40.0, 0, 30], [0, 42, 33], [0, 0, 1]]))])
def test_any_size_and_camera(size, K):
    rendered = StreetWorld(2, size, K, frames=3).render(0)
    assert rendered.frame.size == rendered.depth.shape == size
    if K is not None:
        np.testing.assert_array_equal(rendered.frame.K, K)
