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

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sync_perception.datasets.kitti.raw import KittiRaw
from sync_perception.geometry import transform
from sync_perception.kitti.oxts import imu_pose

DRIVE = '2011_09_26_drive_0001_sync'
CAMERAS = """S_rect_02: 12 8
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 10 0 5 0.6 0 10 4 0 0 0 1 0
"""
SCANNER_TO_CAMERA = 'R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.1 -0.3\n'  # x forward becomes z
IMU_TO_SCANNER = 'R: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n'
METRES_PER_DEGREE = np.pi / 180 * 6378137
KARLSRUHE = 49.0, 8.4, 115.0


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
    for frame, packet in enumerate(packets):
        write_image(folder / 'image_02' / 'data' / f'{frame:010}.png', random_image())
        words = ' '.join(f'{number:.12f}' for number in packet)
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
    imu = imu_pose(
        np.array([KARLSRUHE[0] + 20 / METRES_PER_DEGREE, *KARLSRUHE[1:], 0, 0, 0]),
        np.array([*KARLSRUHE, 0, 0, 0]))
    assert imu[1, 3] == pytest.approx(20, abs=1e-3)


def test_the_chain_of_calibrations(drive):
    """The camera sits at the inverse of all steps: 0.3 + 0.8 m ahead of the unit, and so on."""
    data = KittiRaw(drive)
    origin = data.pose(data.ids[0])[:3, 3]
    # camera 2: 0.06 m to the left of camera 0 along the image's x, which is south
    np.testing.assert_allclose(origin, [0.8 + 0.3, 0.06 - 0.3, 0.8 - 0.1], atol=1e-9)


def test_turns_are_about_forward_left_and_up():
    """Roll, then pitch, then yaw about fixed axes, as scipy composes them."""
    roll, pitch, yaw = 0.03, -0.05, 1.2
    pose = imu_pose(np.array([*KARLSRUHE, roll, pitch, yaw]), np.array([*KARLSRUHE, 0, 0, 0]))
    expected = Rotation.from_euler('xyz', (roll, pitch, yaw)).as_matrix()
    np.testing.assert_allclose(pose[:3, :3], expected, atol=1e-12)
    ahead = transform(np.array([1.0, 0, 0]), pose)
    assert ahead[2] == pytest.approx(np.sin(0.05))  # a negative pitch lifts the nose


def test_what_is_missing_or_malformed_is_named(drive):
    data = KittiRaw(drive)
    packet = drive / 'oxts' / 'data' / f'{1:010}.txt'
    packet.write_text('49 8.4')
    with pytest.raises(ValueError, match='0000000001.txt has 2 numbers, expected 30'):
        data.pose(data.ids[1])
    packet.write_text('49 north 3 0 0 0')
    with pytest.raises(ValueError, match='0000000001.txt: .*expected the numbers'):
        data.pose(data.ids[1])
    packet.unlink()
    assert data.pose(data.ids[1]) is None
    assert data.pose(data.ids[0], -1) is None
