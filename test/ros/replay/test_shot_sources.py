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


"""Recordings as sources of frames: what they hold, and what is said where they are broken."""

from __future__ import annotations

import sys
from types import SimpleNamespace

from calibration_files import CALIBRATION
import cv2
import numpy as np
import pytest
from sync_perception.images.headers import oriented_jpeg
from sync_perception.ros.io.calibration_messages import read_camera_info
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.replay import shot_sources as sources
from sync_perception.ros.replay.shot_sources import (
    ImageShots,
    KittiShots,
    pinhole_camera_info,
    SOURCES,
    VideoShots,
)
import yaml


def write_images(folder, count: int) -> list[np.ndarray]:
    """Write numbered images, and a file that is none."""
    folder.mkdir()
    images = []
    for index in range(count):
        image = np.full((48, 64, 3), (index, 100, 200), np.uint8)
        cv2.imwrite(str(folder / f'{index:03d}.png'), image[..., ::-1])
        images.append(image)
    (folder / 'notes.txt').write_text('not an image')
    return images


def test_pinhole_is_a_rectified_camera():
    K = np.array([[700.0, 0, 600], [0, 710, 180], [0, 0, 1]])
    info = pinhole_camera_info(K, (375, 1242))
    assert (info.height, info.width, list(info.d)) == (375, 1242, [0.0] * 5)
    np.testing.assert_array_equal(info.k.reshape(3, 3), K)
    np.testing.assert_array_equal(info.p.reshape(3, 4), np.column_stack([K, [0, 0, 0]]))


def test_a_folder_of_images_is_read_by_name(tmp_path, calibration):
    images = write_images(tmp_path / 'images', 3)
    source = ImageShots(ReplayParameters(
        source='images', path=str(tmp_path / 'images'), camera_info=calibration, rate=4.0))
    assert source.count == 3 and source.camera_info.width == 64
    shots = list(source.shots(1))
    assert [shot.stamp for shot in shots] == [250_000_000, 500_000_000]
    for shot, image in zip(shots, images[1:]):
        np.testing.assert_array_equal(shot.image, image)


def test_a_video_is_read_frame_by_frame(tmp_path, calibration):
    path = str(tmp_path / 'drive.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 8.0, (64, 48))
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no video')
    for grey in (20, 60, 100, 140):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    source = VideoShots(ReplayParameters(source='video', path=path, camera_info=calibration))
    assert source.count == 4
    shots = list(source.shots(1))
    assert [shot.stamp for shot in shots] == [125_000_000, 250_000_000, 375_000_000]
    for shot, grey in zip(shots, (60, 100, 140)):
        assert shot.image.shape == (48, 64, 3)
        assert abs(shot.image.mean() - grey) < 3


def calibration_of(path, width: int, height: int, **changes) -> str:
    """Write a calibration without distortion, for images of this size."""
    entries = {**CALIBRATION, 'image_width': width, 'image_height': height,
               'distortion_coefficients': {'data': [0.1, -0.2, 0, 0, 0.05]}, **changes}
    path.write_text(yaml.safe_dump(entries))
    return str(path)


def test_a_video_without_a_count_is_played_to_its_end(tmp_path, live_video):
    source = VideoShots(ReplayParameters(
        source='video', path=str(live_video),
        camera_info=calibration_of(tmp_path / 'camera.yaml', 64, 32)))
    assert source.count is None
    assert [shot.stamp for shot in source.shots(0)] == [0, 10 ** 8, 2 * 10 ** 8, 3 * 10 ** 8]


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_a_turned_video_has_its_calibration_turned(tmp_path, turned_video, degrees):
    """The white corner at the top left is seen in the same direction, the camera's axes turned."""
    path = str(turned_video(degrees))
    source = VideoShots(ReplayParameters(
        source='video', path=path, camera_info=calibration_of(tmp_path / 'a.yaml', 64, 32)))
    info, size = source.camera_info, (32, 64) if degrees == 180 else (64, 32)
    assert (info.height, info.width) == size
    shot = next(source.shots(0))
    assert shot.size == size
    corner = np.argwhere(shot.image[..., 0] > 200).mean(axis=0)[::-1]  # u, v
    P = info.p.reshape(3, 4)
    direction = (corner - P[:2, 2]) / P[[0, 1], [0, 1]]
    x, y = (7.5 - 30) / 48, (3.5 - 22) / 49
    expected = {90: (-y, x), 180: (-x, -y), 270: (y, -x)}[degrees]
    np.testing.assert_allclose(direction, expected, atol=0.03)
    upright = calibration_of(tmp_path / 'b.yaml', *size[::-1])
    if degrees != 180:  # a calibration of the turned frames is theirs already
        source = VideoShots(ReplayParameters(source='video', path=path, camera_info=upright))
        assert source.camera_info == read_camera_info(upright)
    for change in ({'distortion_coefficients': {'data': [0, 0, 0.01, 0, 0]}},
                   {'image_width': 65}):
        with pytest.raises(ValueError):
            VideoShots(ReplayParameters(
                source='video', path=path,
                camera_info=calibration_of(tmp_path / 'c.yaml', 64, 32, **change)))


def test_images_are_played_in_natural_order_once_each_and_upright(tmp_path, calibration):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in (1, 2, 10):
        cv2.imwrite(str(folder / f'{number}.png'), np.full((48, 64, 3), number, np.uint8))
    cv2.imwrite(str(folder / '2.jpg'), np.zeros((48, 64, 3), np.uint8))
    data = cv2.imencode('.jpg', np.full((48, 64, 3), 11, np.uint8))[1].tobytes()
    (folder / '11.jpg').write_bytes(oriented_jpeg(data, 6))
    source = ImageShots(ReplayParameters(
        source='images', path=str(folder),
        camera_info=calibration_of(tmp_path / 'a.yaml', 64, 48)))
    shots = list(source.shots(0))
    assert source.count == 4
    assert [int(shot.image[0, 0, 0]) for shot in shots] == [1, 2, 10, 11]
    assert [shot.size for shot in shots] == [(48, 64)] * 3 + [(64, 48)]
    for shot in shots:
        assert (shot.camera_info.height, shot.camera_info.width) == shot.size


def test_a_damaged_image_is_left_out_and_named(tmp_path, calibration, monkeypatch):
    """As a bag's: the replay goes on."""
    lines = []
    monkeypatch.setattr(sources, 'get_logger', lambda name: SimpleNamespace(warning=lines.append))
    write_images(tmp_path / 'images', 3)
    path = tmp_path / 'images' / '001.png'
    path.write_bytes(path.read_bytes()[:-20])
    source = ImageShots(ReplayParameters(
        source='images', path=str(tmp_path / 'images'), camera_info=calibration))
    assert [shot.stamp for shot in source.shots(0)] == [0, 2 * 10 ** 8]
    assert len(lines) == 1 and '001.png' in lines[0] and 'frame 1' in lines[0]


def test_a_kitti_drive_is_read_with_its_calibration(data_root):
    source = KittiShots(ReplayParameters(
        source='kitti', path=str(data_root / 'kitti' / '2011_09_26')))
    assert source.count == 53
    info = source.camera_info
    assert (info.height, info.width) == (375, 1242)
    # P_rect_02 of the file; its last column is about the other cameras
    np.testing.assert_allclose(
        info.p.reshape(3, 4),
        [[721.5377, 0, 609.5593, 0], [0, 721.5377, 172.854, 0], [0, 0, 1, 0]])
    shot = next(source.shots(50))
    assert shot.stamp == 1317042152500000000  # 2011-09-26 13:02:32.5 UTC
    assert shot.image.shape == (375, 1242, 3)


def test_the_synthetic_world_is_a_source():
    pytest.importorskip('open3d', reason='the synthetic world needs Open3D')
    source = SOURCES['synthetic'](ReplayParameters(seed=3))
    first = next(source.shots(2))
    assert first.stamp == 200_000_000
    assert first.image.shape == (source.camera_info.height, source.camera_info.width, 3)
    assert first.image.std() > 10


def test_ros_imports_the_synthetic_world_only_when_it_is_asked_for():
    assert 'sync_perception.ros.replay.shot_sources' in sys.modules
    source = open(sys.modules['sync_perception.ros.replay.shot_sources'].__file__).read()
    assert '\nfrom sync_perception.street_world' not in source


@pytest.mark.parametrize('kind', ['kitti', 'images', 'video'])
def test_a_path_that_is_not_there_is_refused(kind, calibration):
    for path in ('', '/no/such/recording'):
        with pytest.raises(ValueError, match=f'{kind}'):
            SOURCES[kind](ReplayParameters(source=kind, path=path, camera_info=calibration))


def test_what_is_not_a_recording_is_refused(tmp_path, calibration):
    folder = tmp_path / 'empty'
    folder.mkdir()
    with pytest.raises(ValueError, match='has no image'):
        ImageShots(ReplayParameters(
            source='images', path=str(folder), camera_info=calibration))
    (tmp_path / 'broken.mp4').write_bytes(b'this is not a video')
    with pytest.raises(ValueError, match='not a video'):
        VideoShots(ReplayParameters(
            source='video', path=str(tmp_path / 'broken.mp4'), camera_info=calibration))
    with pytest.raises(FileNotFoundError, match='no KITTI raw drive'):
        KittiShots(ReplayParameters(source='kitti', path=str(folder)))
