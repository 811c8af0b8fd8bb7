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


"""KITTI drives: found, calibrated, stamped; and every way in which a folder can be wrong."""

from __future__ import annotations

from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from sync_perception.kitti.drive import (
    find_drives,
    KittiCalibration,
    KittiDrive,
    parse_stamp,
    read_scan,
    read_stamps,
)

DRIVE = '2011_09_26_drive_0001_sync'
CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_rect_02: 6.0e+00 4.0e+00
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 7 0 3 0.5 0 8 2 0.25 0 0 1 0.125
"""
VELO_TO_CAM = """calib_time: 15-Mar-2012 11:37:16
R: 0 -1 0 0 0 -1 1 0 0
T: 0.1 0.2 0.3
delta_f: 0 0
"""


@pytest.fixture
def day(tmp_path):
    """Write a day with one drive of three frames, 5 to 7."""
    images = tmp_path / '2011_09_26' / DRIVE / 'image_02'
    (images / 'data').mkdir(parents=True)
    for number in (5, 6, 7):
        image = np.full((4, 6, 3), (number, 20, 30), np.uint8)
        cv2.imwrite(str(images / 'data' / f'{number:010}.png'), image[..., ::-1])
    (images / 'timestamps.txt').write_text(
        ''.join(f'2011-09-26 13:02:{second:02}.500000001\n' for second in range(9)))
    (images.parents[1] / 'calib_cam_to_cam.txt').write_text(CAM_TO_CAM)
    (images.parents[1] / 'calib_velo_to_cam.txt').write_text(VELO_TO_CAM)
    return images.parents[1]


def test_written_drive_comes_back(day):
    drive = KittiDrive(day.parent)
    assert drive.name == DRIVE
    assert len(drive) == 3
    assert drive.size == (4, 6)
    np.testing.assert_array_equal(drive.K, [[7, 0, 3], [0, 8, 2], [0, 0, 1]])
    np.testing.assert_array_equal(drive.calibration.P_rect[:, 3], [0.5, 0.25, 0.125])
    np.testing.assert_array_equal(
        drive.calibration.velo_to_cam,
        [[0, -1, 0, 0.1], [0, 0, -1, 0.2], [1, 0, 0, 0.3], [0, 0, 0, 1]])
    frame = drive.frame(1, 'cam')
    assert (frame.stamp, frame.frame_id) == (drive.stamps[1], 'cam')
    assert frame.image[0, 0].tolist() == [6, 20, 30]


@pytest.mark.parametrize('levels', [0, 1, 2])
def test_drive_day_and_root_all_lead_to_the_drive(day, levels):
    start = [day / DRIVE, day, day.parent][levels]
    assert find_drives(start) == [day / DRIVE]
    assert KittiDrive(start).folder == (day / DRIVE).resolve()


def test_stamps_belong_to_frame_numbers_when_the_file_has_all_lines(day):
    seconds = [stamp // 10 ** 9 % 60 for stamp in KittiDrive(day).stamps]
    assert seconds == [5, 6, 7]


def test_stamps_belong_to_positions_when_there_is_one_line_an_image(day):
    (day / DRIVE / 'image_02' / 'timestamps.txt').write_text(
        ''.join(f'2011-09-26 13:02:{second:02}.5\n' for second in (20, 21, 22)))
    seconds = [stamp // 10 ** 9 % 60 for stamp in KittiDrive(day).stamps]
    assert seconds == [20, 21, 22]


@pytest.mark.parametrize('end', ['', '\n', '\n\n\n'])
def test_empty_lines_of_missing_files_shift_no_other(tmp_path, end):
    path = tmp_path / 'timestamps.txt'
    lines = [f'2011-09-26 13:02:{second:02}.0' if second not in (3, 4) else ''
             for second in range(8)]
    path.write_text('\n'.join(lines) + end)
    kept = [0, 1, 2, 5, 6, 7]  # as many as there are lines that are not empty
    assert [stamp // 10 ** 9 % 60 for stamp in read_stamps(path, kept)] == kept
    for numbers in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 6, 7]):
        with pytest.raises(ValueError, match=r'timestamps.txt.*[45]:'):
            read_stamps(path, numbers)


def test_stamp_keeps_every_nanosecond():
    moment = datetime(2011, 9, 26, 13, 2, 25, tzinfo=timezone.utc)
    expected = int(moment.timestamp()) * 10 ** 9 + 964389445
    assert parse_stamp('2011-09-26 13:02:25.964389445\n') == expected
    assert parse_stamp('2011-09-26 13:02:25.5') % 10 ** 9 == 500_000_000
    assert parse_stamp('2011-09-26 13:02:25') == int(moment.timestamp()) * 10 ** 9


def test_scan_round_trip_and_paths(day):
    scans = day / DRIVE / 'velodyne_points' / 'data'
    scans.mkdir(parents=True)
    points = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    points.tofile(scans / f'{6:010}.bin')
    paths = KittiDrive(day).velodyne_paths
    assert [path is None for path in paths] == [True, False, True]
    np.testing.assert_array_equal(read_scan(paths[1]), points)


@pytest.mark.parametrize('size', [0, 8, 17])
def test_broken_scan_is_refused(tmp_path, size):
    (tmp_path / 'scan.bin').write_bytes(b'\0' * size)
    with pytest.raises(ValueError, match=f'scan.bin has {size} bytes'):
        read_scan(tmp_path / 'scan.bin')


def test_no_drive_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='no KITTI raw drive'):
        KittiDrive(tmp_path)


def test_several_drives_are_named(day):
    (day / '2011_09_26_drive_0002_sync' / 'image_02').mkdir(parents=True)
    with pytest.raises(ValueError, match='2.*drive_0001.*drive_0002'):
        KittiDrive(day)


def test_unknown_camera_is_refused(day):
    with pytest.raises(ValueError, match='got 7'):
        KittiDrive(day, camera=7)


def test_drive_without_images_is_refused(day):
    for path in (day / DRIVE / 'image_02' / 'data').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match='no image in'):
        KittiDrive(day)


def test_missing_calibration_is_named(day):
    (day / 'calib_cam_to_cam.txt').unlink()
    with pytest.raises(FileNotFoundError, match='calib_cam_to_cam.txt'):
        KittiDrive(day)


@pytest.mark.parametrize(('old', 'new', 'message'), [
    ('P_rect_02', 'P_rect_03', 'no entry P_rect_02, expected 12'),
    ('0 0 1 0.125', '0 0 1', 'P_rect_02 has 11 numbers, expected 12'),
    ('7 0 3', 'nan 0 3', 'P_rect_02 has 12 numbers, expected 12 finite'),
    ('S_rect_02: 6.0e+00 4.0e+00', 'S_rect_02: six four', 'no entry S_rect_02'),
])
def test_malformed_calibration_is_refused(day, old, new, message):
    (day / 'calib_cam_to_cam.txt').write_text(CAM_TO_CAM.replace(old, new))
    with pytest.raises(ValueError, match=f'calib_cam_to_cam.txt.*{message}'):
        KittiCalibration.read(day)


@pytest.mark.parametrize(('text', 'message'), [
    ('2011-09-26 13:02:25.5\n' * 4, 'has 4 lines, expected one for each of the 3'),
    ('2011-09-26 13:02:25.5\nyesterday\n2011-09-26 13:02:25.5\n', 'yesterday'),
])
def test_malformed_stamps_are_refused(day, text, message):
    (day / DRIVE / 'image_02' / 'timestamps.txt').write_text(text)
    with pytest.raises(ValueError, match=f'timestamps.txt.*{message}'):
        KittiDrive(day).frame(0)


def test_missing_stamps_are_named_but_images_still_read(day):
    (day / DRIVE / 'image_02' / 'timestamps.txt').unlink()
    drive = KittiDrive(day)
    assert drive.image(0).shape == (4, 6, 3)
    with pytest.raises(FileNotFoundError, match='timestamps.txt'):
        drive.frame(0)


def test_image_of_another_size_is_refused(day):
    path = day / DRIVE / 'image_02' / 'data' / f'{6:010}.png'
    cv2.imwrite(str(path), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match='is 6x5, expected 6x4'):
        KittiDrive(day).image(1)


def test_real_drive(data_root):
    drive = KittiDrive(data_root / 'kitti')
    assert len(drive) == 53
    assert drive.size == (375, 1242)
    assert drive.frame(0).image.shape == (375, 1242, 3)
    assert set(np.diff(drive.stamps)) == {10 ** 8}
    np.testing.assert_allclose(
        drive.K, [[721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]])
    with_scan = [path.stem for path in drive.velodyne_paths if path]
    assert with_scan == ['0000000025', '0000000040', '0000000055']
