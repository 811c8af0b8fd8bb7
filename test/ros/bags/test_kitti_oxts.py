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


"""KITTI's packets: poses and velocities computed by hand, rotations by SciPy."""

from __future__ import annotations

import math

from bag_checks import packet
import numpy as np
import pytest
from sync_perception.ros.bags.kitti_oxts import Oxts, poses, quaternion

METRES = 1.1131949079  # of 1e-5 degrees on a sphere of radius 6378137 m: 6378137 * 1e-5 * pi / 180


def read(tmp_path, **values) -> Oxts:
    """Write a packet and read it."""
    path = tmp_path / f'{len(list(tmp_path.iterdir())):010}.txt'
    path.write_text(packet(**values))
    return Oxts.read(path)


def test_the_numbers_are_where_kitti_says(tmp_path):
    oxts = read(tmp_path, latitude=49.0, longitude=8.4, altitude=115.5, roll=0.1, pitch=0.2,
                yaw=0.3, velocity=(4.0, 5.0, 6.0))
    assert (oxts.latitude, oxts.longitude, oxts.altitude) == (49.0, 8.4, 115.5)
    assert (oxts.roll, oxts.pitch, oxts.yaw) == (0.1, 0.2, 0.3)
    np.testing.assert_array_equal(oxts.velocity, [5.0, 4.0, 6.0])  # east, north, up
    np.testing.assert_array_equal(oxts.acceleration, [0.1, 0.2, 9.81])
    np.testing.assert_array_equal(oxts.angular_velocity, [0.01, 0.02, 0.03])
    assert (oxts.position_accuracy, oxts.velocity_accuracy) == (0.05, 0.08)


@pytest.mark.parametrize(('yaw', 'step', 'expected'), [
    (0.0, {'longitude': 1e-5}, (METRES, 0, 0)),  # facing east, going east: forward
    (math.pi / 2, {'longitude': 1e-5}, (0, -METRES, 0)),  # facing north, going east: right
    (0.0, {'latitude': 1e-5}, (0, METRES, 0)),  # facing east, going north: left
    (math.pi, {'latitude': 1e-5}, (0, -METRES, 0)),  # facing west, going north: right
    (0.3, {'altitude': 102.5}, (0, 0, 2.5))])
@pytest.mark.parametrize('latitude', [0.0, 49.0])
def test_steps_are_metres_seen_from_the_first_pose(tmp_path, latitude, yaw, step, expected):
    step = {'altitude': 100.0, **step, 'latitude': latitude + step.get('latitude', 0.0)}
    if 'longitude' in step:
        step['longitude'] /= math.cos(math.radians(latitude))  # meridians come together
    first = read(tmp_path, latitude=latitude, yaw=yaw)
    pose = poses([first, read(tmp_path, yaw=yaw, **step)])[1]
    np.testing.assert_allclose(pose[:3, 3], expected, atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-12)


@pytest.mark.parametrize(('turn', 'x_becomes', 'y_becomes'), [
    ({'yaw': math.pi / 2}, (0, 1, 0), (-1, 0, 0)),  # to the left
    ({'pitch': math.pi / 2}, (0, 0, -1), (0, 1, 0)),  # front down
    ({'roll': math.pi / 2}, (1, 0, 0), (0, 0, 1))])  # left side up
def test_angles_turn_as_kitti_says(tmp_path, turn, x_becomes, y_becomes):
    pose = poses([read(tmp_path), read(tmp_path, **turn)])[1]
    np.testing.assert_allclose(pose[:3, 0], x_becomes, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 1], y_becomes, atol=1e-12)


def test_the_first_pose_is_the_origin_wherever_it_was(tmp_path):
    first = read(tmp_path, latitude=49.0, longitude=8.4, roll=0.1, pitch=-0.2, yaw=2.0)
    np.testing.assert_allclose(poses([first])[0], np.eye(4), atol=1e-9)
    assert poses([]).shape == (0, 4, 4)


def test_velocity_is_along_the_bodys_axes(tmp_path):
    north = read(tmp_path, yaw=math.pi / 2, velocity=(5.0, 0.0, 0.0))
    np.testing.assert_allclose(north.body_velocity, [5, 0, 0], atol=1e-12)
    slipping = read(tmp_path, yaw=0.0, velocity=(1.0, 5.0, 0.0))
    np.testing.assert_allclose(slipping.body_velocity, [5, 1, 0], atol=1e-12)
    climbing = read(tmp_path, pitch=-math.pi / 6, velocity=(0.0, math.cos(math.pi / 6), 0.5))
    np.testing.assert_allclose(climbing.body_velocity, [1, 0, 0], atol=1e-12)


def test_quaternions_are_scipys():
    rotation = pytest.importorskip('scipy.spatial.transform').Rotation
    turns = [*rotation.random(50, random_state=0),
             *(rotation.from_rotvec(np.pi * axis) for axis in np.eye(3)),
             rotation.from_rotvec([0, 0, np.pi - 1e-9]), rotation.identity()]
    for turn in turns:
        ours, theirs = np.array(quaternion(turn.as_matrix())), turn.as_quat()
        assert ours[3] >= 0
        assert abs(ours @ theirs) == pytest.approx(1, abs=1e-12)  # q and -q are one rotation


@pytest.mark.parametrize(('text', 'message'), [
    ('1 2 3', 'has 3 numbers, expected 30'), ('', 'has 0 numbers'),
    ('nan ' * 30, 'expected 30 finite'), ('a ' * 30, 'something else than numbers'),
    ('91 ' + '0 ' * 29, 'latitude 91.0')])
def test_what_is_no_packet_is_refused(tmp_path, text, message):
    path = tmp_path / 'packet.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Oxts.read(path)
