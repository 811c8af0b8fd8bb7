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

"""Test the street's camera: its intrinsics and its mount, as seen in what is rendered."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.geometry import pixel_rays
from sync_perception.street_world import StreetWorld
from sync_perception.street_world.camera import (
    CameraMount,
    default_intrinsics,
    draw_camera,
    KITTI_K,
    KITTI_SIZE,
)
from sync_perception.street_world.mesh import Kind

SIZE = (120, 200)


def test_intrinsics_scale_with_the_image_and_are_kittis_at_kittis_size():
    np.testing.assert_allclose(default_intrinsics(KITTI_SIZE), KITTI_K)
    half = default_intrinsics((188, 621))
    np.testing.assert_allclose(half[0, 0], KITTI_K[0, 0] / 2)
    np.testing.assert_allclose(half[0, 2], 310.0)


def test_drawn_cameras_cover_robots_and_vans():
    cameras = [draw_camera(seed, SIZE) for seed in range(300)]
    focal = np.array([K[0, 0] for K, _ in cameras]) / default_intrinsics(SIZE)[0, 0]
    heights = np.array([mount.height for _, mount in cameras])
    assert 0.6 <= focal.min() < 0.65 and 1.9 < focal.max() <= 2.0
    assert 1.0 <= heights.min() < 1.05 and 2.4 < heights.max() <= 2.5
    assert all(K[0, 0] == K[1, 1] for K, _ in cameras)
    yaw = np.array([mount.yaw for _, mount in cameras])
    assert 0.5 < (yaw == 0).mean() < 0.7
    assert np.degrees(yaw.min()) < -90 and np.degrees(yaw.max()) > 90
    again = draw_camera(7, SIZE)
    np.testing.assert_array_equal(again[0], cameras[7][0])
    assert again[1] == cameras[7][1]


@pytest.mark.parametrize(
    'mount', [CameraMount(1.1, 0.1, -0.05), CameraMount(2.4, -0.05, 0.1)], ids=str)
def test_the_rendered_road_lies_below_the_mount(flat_street, mount):
    """Fit a plane to the near road's points: its distance and tilt are the mount's."""
    world = StreetWorld(flat_street.seed, SIZE, weather='overcast', frames=4, mount=mount)
    rendered = world.render(0)
    near_road = (rendered.kinds == Kind.ROAD) & (rendered.depth < 15)
    points = (pixel_rays(world.K, SIZE) * rendered.depth[..., None])[near_road]
    normal, *_ = np.linalg.lstsq(points, np.ones(len(points)), rcond=None)
    height = 1 / np.linalg.norm(normal)
    down = normal * height
    assert height == pytest.approx(mount.height, abs=0.08)  # the road is cambered, the car sways
    assert np.arcsin(down[2]) == pytest.approx(mount.pitch, abs=0.03)
    assert np.arctan2(down[0], down[1]) == pytest.approx(mount.roll, abs=0.03)


def test_a_camera_that_looks_to_a_side_stays_level_and_where_it_was(flat_street):
    ahead, left = (
        StreetWorld(flat_street.seed, SIZE, weather='overcast', frames=4, mount=mount).pose(1)
        for mount in (CameraMount(), CameraMount(yaw=np.pi / 2)))
    np.testing.assert_allclose(ahead[:3, 3], left[:3, 3])
    assert ahead[:3, 0] @ left[:3, 2] == pytest.approx(-1, abs=0.02)  # the left is where it looks
