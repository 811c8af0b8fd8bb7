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

"""The software renderer against the pinhole equations."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.geometry import backproject, pixel_rays
from sync_perception.runtime.pictures.render import render_cloud, surface_quads, Viewpoint

K = np.array([[200.0, 0, 99.5], [0, 200.0, 49.5], [0, 0, 1]])
SIZE = (100, 200)
PAPER = (1, 2, 3)
FRONT = Viewpoint(behind=0, above=0, pitch=0, field_of_view=float(np.degrees(2 * np.arctan(0.5))))


def wall(depth: float) -> np.ndarray:
    """Make the cloud of a wall at this depth."""
    return backproject(np.full(SIZE, depth, np.float32), pixel_rays(K, SIZE))


def test_the_camera_s_own_view_is_the_camera_s_image():
    """FRONT has the intrinsics of K: what comes out is what went in, save at colour borders."""
    blocks = np.random.default_rng(0).integers(60, 200, (5, 10, 3), dtype=np.uint8)
    colors = blocks.repeat(20, axis=0).repeat(20, axis=1)
    picture = render_cloud(wall(8.0), colors, SIZE, FRONT, background=PAPER)
    inner = np.zeros((20, 20), bool)
    inner[1:-1, 1:-1] = True
    inner = np.tile(inner, (5, 10))
    np.testing.assert_array_equal(picture[inner], colors[inner])


def test_a_wall_seen_from_farther_away_is_smaller():
    colors = np.full((*SIZE, 3), 200, np.uint8)
    view = Viewpoint(behind=8.0, above=0, pitch=0, field_of_view=FRONT.field_of_view)
    picture = render_cloud(wall(8.0), colors, SIZE, view, background=PAPER)
    rows, columns = np.nonzero((picture == 200).all(axis=2))
    assert abs(np.ptp(rows) - SIZE[0] / 2) <= 2 and abs(np.ptp(columns) - SIZE[1] / 2) <= 2
    assert (picture[0, 0] == PAPER).all()


def test_a_raised_view_that_looks_down_centres_the_target():
    view = Viewpoint(behind=0.0, above=3.0, pitch=45.0)
    target = view.view_T_camera() @ np.array([0, 0, 3.0, 1])
    np.testing.assert_allclose(target[:3], [0, 0, np.hypot(3, 3)], atol=1e-9)
    view = Viewpoint(behind=0, above=0, pitch=0, yaw=90)
    right = view.view_T_camera() @ np.array([2.0, 0, 0, 1])
    np.testing.assert_allclose(right[:3], [0, 0, 2], atol=1e-9)


def test_nearer_surfaces_hide_farther_ones():
    near, far = wall(4.0), wall(9.0)
    points = np.concatenate([far, np.full((1, SIZE[1], 3), np.nan), near]).astype(np.float32)
    colors = np.concatenate([
        np.full((*SIZE, 3), 50, np.uint8), np.zeros((1, SIZE[1], 3), np.uint8),
        np.full((*SIZE, 3), 220, np.uint8)])
    picture = render_cloud(points, colors, SIZE, FRONT)
    assert (picture[10:-10, 10:-10] == 220).mean() > 0.99


def test_jumps_in_depth_are_no_surface_but_a_road_is():
    rays = pixel_rays(K, SIZE)
    depth = np.full(SIZE, 5.0, np.float32)
    depth[:, 100:] = 15.0
    quads = surface_quads(backproject(depth, rays), 60)
    assert not quads[:, 99].any() and quads.sum() == quads.size - SIZE[0] + 1
    rows = np.arange(SIZE[0])
    road = np.where(rows > 55, 1.6 * K[1, 1] / np.maximum(rows - K[1, 2], 1), np.nan)
    road = np.broadcast_to(road[:, None], SIZE).astype(np.float32)
    quads = surface_quads(backproject(road, rays), 60)
    assert quads[56:].all() and not quads[:55].any()


def test_ground_may_be_seen_at_a_smaller_angle_than_what_is_overhead():
    """The same plane below and above the camera: at 50 m it is seen at 1.8 degrees."""
    rows = np.arange(SIZE[0])
    for sign, is_surface in ((1, True), (-1, False)):
        with np.errstate(divide='ignore'):
            depth = 1.6 * K[1, 1] / np.where(sign * (rows - K[1, 2]) > 0, rows - K[1, 2], np.nan)
        depth = np.broadcast_to(np.abs(depth)[:, None], SIZE).astype(np.float32)
        quads = surface_quads(backproject(depth, pixel_rays(K, SIZE)), 500)
        far = int(K[1, 2] + sign * 1.6 * K[1, 1] / 50)
        near = int(K[1, 2] + sign * 1.6 * K[1, 1] / 10)
        assert quads[near].all() and quads[far].all() == is_surface


def test_nothing_to_draw():
    empty = np.full((*SIZE, 3), np.nan, np.float32)
    picture = render_cloud(empty, np.zeros((*SIZE, 3), np.uint8), SIZE, background=PAPER)
    assert (picture == PAPER).all()


def test_far_points_and_holes_are_left_out():
    colors = np.full((*SIZE, 3), 200, np.uint8)
    points = wall(8.0)
    points[40:60] = np.nan
    picture = render_cloud(points, colors, SIZE, FRONT, background=PAPER)
    assert (picture[45:55] == PAPER).all() and (picture[10:30, 10:-10] == 200).mean() > 0.99
    empty = render_cloud(wall(8.0), colors, SIZE, FRONT, max_depth=7, background=PAPER)
    assert (empty == PAPER).all()


def test_refuses_what_is_not_organized():
    with pytest.raises(ValueError, match=r'\(5, 3\)'):
        render_cloud(np.zeros((5, 3)), np.zeros((5, 3), np.uint8))
