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


"""KITTI raw: depth from PNG or scan, experts, splits, and the scan against shipped depth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.datasets.kitti.raw import KittiRaw, lidar_depth
from sync_perception.images.single_channel import read_depth
from sync_perception.kitti.drive import KittiDrive, read_scan

DRIVE = '2011_09_26_drive_0001_sync'
CALIBRATION = """S_rect_02: 12 8
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 10 0 5 0 0 10 4 0 0 0 1 0
"""
AXES = 'R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n'  # scanner x forward, y left, z up


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write one drive of two frames without depth."""
    drive = tmp_path / '2011_09_26' / DRIVE
    for frame in (0, 1):
        write_image(drive / 'image_02' / 'data' / f'{frame:010}.png', random_image())
    (drive.parent / 'calib_cam_to_cam.txt').write_text(CALIBRATION)
    (drive.parent / 'calib_velo_to_cam.txt').write_text(AXES)
    return tmp_path


def stored_depth() -> np.ndarray:
    depth = np.zeros((8, 12), np.uint16)
    depth[2, 3] = 512
    return depth


def test_images_without_annotations(root):
    dataset = KittiRaw(root)
    assert dataset.ids == [f'{DRIVE}/{0:010}', f'{DRIVE}/{1:010}']
    sample = dataset[1]
    np.testing.assert_array_equal(sample.K, [[10, 0, 5], [0, 10, 4], [0, 0, 1]])
    assert sample.depth is None
    assert sample.labels is None
    assert sample.expert_labels is None


def test_depth_and_experts_of_the_drive(root, write_image):
    drive = root / '2011_09_26' / DRIVE
    name = f'{0:010}.png'
    write_image(drive / 'proj_depth' / 'groundtruth' / 'image_02' / name, stored_depth())
    write_image(drive / 'expert_semantics' / name, np.full((8, 12), 13, np.uint8))
    write_image(drive / 'expert_confidence' / name, np.full((8, 12), 51, np.uint8))
    sample = KittiRaw(drive)[0]
    assert sample.depth[2, 3] == 2
    assert np.isfinite(sample.depth).sum() == 1
    assert (sample.expert_labels == 13).all()
    np.testing.assert_allclose(sample.expert_confidence, 0.2)


def test_depth_of_the_benchmark_tree_and_its_splits(root, write_image):
    name = f'{1:010}.png'
    write_image(
        root / 'val' / DRIVE / 'proj_depth' / 'groundtruth' / 'image_02' / name, stored_depth())
    dataset = KittiRaw(root, 'val')
    assert dataset[0].depth is None
    assert dataset[1].depth[2, 3] == 2
    with pytest.raises(FileNotFoundError, match="'train'"):
        KittiRaw(root, 'train')


def test_lists_of_frames_are_splits(root):
    lines = (f'2011_09_26/{DRIVE} 1 l', f'2011_09_26/{DRIVE} 0 r',
             f'2011_09_26/{DRIVE}/image_02/data/{0:010}.png 2011_09_26/depth.png 721.5',
             f'{DRIVE} {1:010}')
    path = root / 'eigen_test.txt'
    path.write_text('\n'.join(lines) + '\n')
    assert KittiRaw(root, 'eigen_test').ids == [f'{DRIVE}/{1:010}', f'{DRIVE}/{0:010}']
    path.write_text(f'{DRIVE} 1\n{DRIVE} 2\n{DRIVE} 3\n')
    with pytest.raises(FileNotFoundError, match=f'{DRIVE}/{2:010}.*1.*3'):
        KittiRaw(root, 'eigen_test')
    path.write_text('drive one\n')
    with pytest.raises(ValueError, match="'drive one'"):
        KittiRaw(root, 'eigen_test')
    with pytest.raises(FileNotFoundError, match='eigen_val.txt'):
        KittiRaw(root, 'eigen_val')


def test_neighbours_of_a_drive(root):
    data = KittiRaw(root)
    before, after = data.neighbours(data.ids[0])
    assert before is None
    np.testing.assert_array_equal(after, data[1].image)
    assert data.pose(data.ids[0]) is None
    assert data.crop(data.ids[0]) == 'garg'


def test_broken_files_are_named(root, write_image):
    drive = root / '2011_09_26' / DRIVE
    depth = drive / 'proj_depth' / 'groundtruth' / 'image_02' / f'{0:010}.png'
    write_image(depth, np.zeros((8, 12), np.uint8))
    with pytest.raises(ValueError, match='0000000000.png.*8.*16'):
        KittiRaw(root)[0]
    image = drive / 'image_02' / 'data' / f'{1:010}.png'
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(ValueError, match='image_02/data/0000000001.png .*truncated'):
        KittiRaw(root)[1]


def test_depth_from_a_scan(root):
    scans = root / '2011_09_26' / DRIVE / 'velodyne_points' / 'data'
    scans.mkdir(parents=True)
    ahead, nearer, behind = [20, 0, 0, 0.5], [5, 0, 0, 0.5], [-5, 0, 0, 0.5]
    left = [10, 2, 0, 0.1]
    np.float32([ahead, nearer, behind, left]).tofile(scans / f'{0:010}.bin')
    depth = KittiRaw(root)[0].depth
    expected = np.full((8, 12), np.nan, np.float32)
    expected[4, 5] = 5
    expected[4, 3] = 10  # u = 10 * (-2 / 10) + 5
    np.testing.assert_array_equal(depth, expected)


def test_scan_without_its_calibration_is_refused(root):
    scans = root / '2011_09_26' / DRIVE / 'velodyne_points' / 'data'
    scans.mkdir(parents=True)
    np.zeros((1, 4), np.float32).tofile(scans / f'{0:010}.bin')
    (root / '2011_09_26' / 'calib_velo_to_cam.txt').unlink()
    with pytest.raises(FileNotFoundError, match='calib_velo_to_cam.txt'):
        KittiRaw(root)[0]


def test_projection_agrees_with_opencv():
    generator = np.random.default_rng(1)
    points = generator.uniform((3, -3, -2), (40, 3, 2), (50, 3))
    rotation, _ = cv2.Rodrigues(generator.normal(0, 0.02, 3))
    velo_to_cam = np.eye(4)
    velo_to_cam[:3, :3] = rotation @ [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    velo_to_cam[:3, 3] = 0.1, -0.2, 0.3
    K = np.array([[700, 0, 600], [0, 710, 180], [0, 0, 1.0]])
    P_rect = np.hstack([K, K @ [[0.06], [0.0], [0.002]]])
    depth = lidar_depth(points, velo_to_cam, np.eye(3), P_rect, (375, 1242))

    shift = velo_to_cam[:3, 3] + (0.06, 0, 0.002)
    pixels, _ = cv2.projectPoints(
        points, cv2.Rodrigues(velo_to_cam[:3, :3])[0], shift, K, None)
    z = points @ velo_to_cam[2, :3] + shift[2]
    expected = np.full((375, 1242), np.inf)
    for (u, v), distance in zip(np.rint(pixels[:, 0]).astype(int), z, strict=True):
        if 0 <= v < 375 and 0 <= u < 1242:
            expected[v, u] = min(expected[v, u], distance)
    assert np.isfinite(expected).sum() > 30
    np.testing.assert_allclose(np.where(np.isnan(depth), np.inf, depth), expected, rtol=1e-6)


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r'\(5, 4\)'):
        lidar_depth(np.zeros((5, 4)), np.eye(4), np.eye(3), np.eye(3, 4), (8, 12))


@pytest.mark.parametrize('frame', [25, 40, 55])
def test_real_scan_reproduces_the_shipped_depth(data_root, frame):
    drive = KittiDrive(data_root / 'kitti')
    name = f'{frame:010}'
    shipped = read_depth(
        drive.folder / 'proj_depth' / 'groundtruth' / 'image_02' / f'{name}.png', drive.size, 256)
    scan = read_scan(drive.folder / 'velodyne_points' / 'data' / f'{name}.bin')
    calibration = drive.calibration
    depth = lidar_depth(
        scan[:, :3], calibration.velo_to_cam, calibration.R_rect, calibration.P_rect, drive.size)
    assert np.isfinite(shipped).sum() > 15_000
    half_a_unit = 0.5 / 256 + 1e-6
    np.testing.assert_allclose(depth, shipped, rtol=0, atol=half_a_unit, equal_nan=True)


def test_real_drive(data_root):
    dataset = KittiRaw(data_root / 'kitti' / '2011_09_26')
    assert len(dataset) == 53
    sample = dataset[0]
    assert sample.expert_confidence.mean() > 0.5
    assert dataset.has_neighbours(dataset.ids[1]) and not dataset.has_neighbours(dataset.ids[0])
    near = np.nanmedian(sample.depth[-50:])
    assert 3 < near < 12  # the road before the car
