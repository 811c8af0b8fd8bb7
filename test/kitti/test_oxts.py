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

"""KITTI's navigation: poses against short ways on the globe, and against the calibration."""

from __future__ import annotations

import math

from bag_checks import packet
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sync_perception.datasets.kitti.raw import KittiRaw
from sync_perception.kitti.oxts import Oxts, poses

DRIVE = '2011_09_26_drive_0001_sync'
CAMERAS = """S_rect_02: 12 8
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 10 0 5 0.6 0 10 4 0 0 0 1 0
"""
SCANNER_TO_CAMERA = 'R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.1 -0.3\n'  # x forward becomes z
IMU_TO_SCANNER = 'R: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n'
METRES_PER_DEGREE = np.pi / 180 * 6378137
KARLSRUHE = 49.0, 8.4, 115.0
METRES = 1.1131949079  # of 1e-5 degrees on a sphere of radius 6378137 m: 6378137 * 1e-5 * pi / 180


@pytest.fixture
def drive(tmp_path, write_image, random_image):
    """Write a drive of three frames: at rest, 10 m to the east, and turned to the north."""
    folder = tmp_path / DRIVE
    (folder / 'oxts' / 'data').mkdir(parents=True)
    latitude, longitude, height = KARLSRUHE
    east = 10 / METRES_PER_DEGREE / np.cos(np.radians(latitude))
    packets = (
        (latitude, longitude, height, 0, 0, 0),
        (latitude, longitude + east, height + 0.5, 0, 0, 0),
        (latitude + 20 / METRES_PER_DEGREE, longitude, height, 0, 0, np.pi / 2))
    for frame, values in enumerate(packets):
        write_image(folder / 'image_02' / 'data' / f'{frame:010}.png', random_image())
        words = ' '.join(f'{number:.12f}' for number in values)
        (folder / 'oxts' / 'data' / f'{frame:010}.txt').write_text(words + ' 0' * 24)
    for name, text in (('cam_to_cam', CAMERAS), ('velo_to_cam', SCANNER_TO_CAMERA),
                       ('imu_to_velo', IMU_TO_SCANNER)):
        (tmp_path / f'calib_{name}.txt').write_text(text)
    return folder


def test_a_drive_to_the_east(drive):
    """The car looks east: 10 m are along the camera's z, and half a metre up is against its y."""
    data = KittiRaw(drive)
    start = data.pose(data.ids[0])
    moved = np.linalg.inv(start) @ data.pose(data.ids[0], 1)
    np.testing.assert_allclose(moved[:3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(moved[:3, 3], [0, -0.5, 10], atol=1e-4)
    np.testing.assert_allclose(start[:3, 2], [1, 0, 0], atol=1e-12)  # the world's x is east
    np.testing.assert_allclose(start[:3, 1], [0, 0, -1], atol=1e-12)  # down


def test_a_turn_to_the_north(drive):
    """North is on the left of east; the world's y."""
    data = KittiRaw(drive)
    pose = data.pose(data.ids[2])
    np.testing.assert_allclose(pose[:3, 2], [0, 1, 0], atol=1e-9)


def test_the_chain_of_calibrations(drive):
    """The camera sits at the inverse of all steps: 0.3 + 0.8 m ahead of the unit, and so on."""
    data = KittiRaw(drive)
    origin = data.pose(data.ids[0])[:3, 3]
    # camera 2: 0.06 m to the left of camera 0 along the image's x, which is south
    np.testing.assert_allclose(origin, [0.8 + 0.3, 0.06 - 0.3, 0.8 - 0.1], atol=1e-9)


def test_turns_are_about_forward_left_and_up(tmp_path):
    """Roll, then pitch, then yaw about fixed axes, as scipy composes them."""
    turned = read(tmp_path, roll=0.03, pitch=-0.05, yaw=1.2)
    expected = Rotation.from_euler('xyz', (0.03, -0.05, 1.2)).as_matrix()
    np.testing.assert_allclose(turned.rotation, expected, atol=1e-12)
    assert turned.rotation[2, 0] == pytest.approx(np.sin(0.05))  # a negative pitch lifts the nose


def test_what_is_missing_or_malformed_is_named(drive):
    data = KittiRaw(drive)
    path = drive / 'oxts' / 'data' / f'{1:010}.txt'
    path.write_text('49 8.4')
    with pytest.raises(ValueError, match='0000000001.txt.*2.*30'):
        data.pose(data.ids[1])
    path.write_text('49 north 3 0 0 0')
    with pytest.raises(ValueError, match='0000000001.txt .*numbers'):
        data.pose(data.ids[1])
    path.unlink()
    assert data.pose(data.ids[1]) is None
    assert data.pose(data.ids[0], -1) is None


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


@pytest.mark.parametrize(('text', 'message'), [
    ('1 2 3', 'has 3 numbers, expected 30'), ('', 'has 0 numbers'),
    ('nan ' * 30, 'expected 30 finite'), ('a ' * 30, 'not numbers'),
    ('91 ' + '0 ' * 29, 'latitude 91.0')])
def test_what_is_no_packet_is_refused(tmp_path, text, message):
    path = tmp_path / 'packet.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Oxts.read(path)
