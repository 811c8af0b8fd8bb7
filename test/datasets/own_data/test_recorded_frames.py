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

"""Folders of frames and videos as data sets: their order, their intrinsics, their neighbours."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sync_perception.datasets import open_dataset
from sync_perception.datasets.own_data.recorded_frames import Frames
from sync_perception.training.feeding.mixture import Mixture, MixtureSource

CAMERA_INFO = """
image_width: 12
image_height: 8
camera_matrix: {rows: 3, cols: 3, data: [10, 0, 6, 0, 11, 4, 0, 0, 1]}
"""
RECTIFIED = CAMERA_INFO + """
projection_matrix: {rows: 3, cols: 4, data: [9, 0, 5, 0, 0, 9, 3, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def clips(tmp_path, write_image, random_image):
    """Write two clips of three frames and one of a single one."""
    for clip, names in (('a', ('0001', '0005', '0010')), ('b', ('7', '8', '9')), ('c', ('0',))):
        for name in names:
            write_image(tmp_path / clip / f'{name}.png', random_image())
    return tmp_path


def test_frames_that_follow_each_other_are_neighbours(clips):
    data = Frames(clips, fx=10.0)
    assert data.ids == ['a/0001', 'a/0005', 'a/0010', 'b/7', 'b/8', 'b/9', 'c/0']
    before, after = data.neighbours('a/0005')
    np.testing.assert_array_equal(before, data.read('a/0001').image)
    np.testing.assert_array_equal(after, data.read('a/0010').image)
    assert not data.has_neighbours('a/0010', [1]) and not data.has_neighbours('b/7', [-1])
    assert not data.has_neighbours('a/0005', [2]) and not data.has_neighbours('c/0', [1])
    assert data.pose('a/0005') is None


def test_a_clip_may_be_the_root_itself(clips):
    data = open_dataset('frames', clips / 'b', arguments={'fx': 10.0})
    assert data.ids == ['7', '8', '9']
    assert data.has_neighbours('8') and not data.has_neighbours('9')


def test_splits_are_lists_of_clips(clips):
    (clips / 'train.txt').write_text('a\n')
    assert Frames(clips, 'train', fx=10.0).ids == ['a/0001', 'a/0005', 'a/0010']
    (clips / 'val.txt').write_text('b\nd\n')
    with pytest.raises(FileNotFoundError, match='val.txt'):
        Frames(clips, 'val', fx=10.0)


@pytest.mark.parametrize('arguments, K', [
    ({'fx': 10.0}, [[10, 0, 5.5], [0, 10, 3.5], [0, 0, 1]]),
    ({'fx': 10.0, 'fy': 9.0, 'cx': 6.0, 'cy': 2.0}, [[10, 0, 6], [0, 9, 2], [0, 0, 1]])])
def test_intrinsics_as_arguments(clips, arguments, K):
    np.testing.assert_array_equal(Frames(clips, **arguments).read('b/8').K, K)


def test_intrinsics_from_files_the_nearest_first(clips):
    (clips / 'camera_info.yaml').write_text(CAMERA_INFO)
    (clips / 'b' / 'camera_info.yaml').write_text(RECTIFIED)
    data = Frames(clips)
    np.testing.assert_array_equal(data.read('a/0001').K, [[10, 0, 6], [0, 11, 4], [0, 0, 1]])
    np.testing.assert_array_equal(data.read('b/8').K, [[9, 0, 5], [0, 9, 3], [0, 0, 1]])
    elsewhere = clips / 'mine.yaml'
    elsewhere.write_text(CAMERA_INFO)
    np.testing.assert_array_equal(
        Frames(clips, camera_info=elsewhere).read('b/8').K, data.read('a/0001').K)


def test_missing_and_wrong_intrinsics_are_refused(clips, write_image, random_image):
    with pytest.raises(ValueError, match='intrinsics of .*a: .*fx'):
        Frames(clips)
    with pytest.raises(ValueError, match='camera_info'):
        Frames(clips, fx=1.0, camera_info='x.yaml')
    with pytest.raises(ValueError, match='fx with fy, cx and cy'):
        Frames(clips, cy=3.0)
    with pytest.raises(ValueError, match='fx -1'):
        Frames(clips, fx=-1.0)
    with pytest.raises(FileNotFoundError, match='x.yaml'):
        Frames(clips, camera_info='x.yaml')
    path = clips / 'camera_info.yaml'
    path.write_text(CAMERA_INFO.replace('12', '14'))
    with pytest.raises(ValueError, match='14x8.*12x8'):
        Frames(clips).read('a/0001')
    for text in (CAMERA_INFO.replace('10,', '0,'), 'camera_matrix: 3', 'a: [', ''):
        path.write_text(text)
        with pytest.raises(ValueError, match='camera_info.yaml'):
            Frames(clips)


def test_a_clip_of_one_frame_has_no_neighbours_and_says_so(clips):
    source = MixtureSource(
        'frames', str(clips / 'c'), split='all', scale=(1, 1), arguments={'fx': 9.0})
    with pytest.raises(ValueError, match='neighbour.*3'):
        Mixture([source], 2, (8, 12), 1, offsets=[-1, 1])


def test_a_clip_of_two_frames_is_too_short_unless_another_is_long_enough(
        clips, write_image, random_image):
    for number in range(2):
        write_image(clips / 'd' / f'{number}.png', random_image(8, 12))
    short = MixtureSource(
        'frames', str(clips / 'd'), split='all', scale=(1, 1), arguments={'fx': 9.0})
    with pytest.raises(ValueError, match=r'\[-1, 1\]:.*2'):
        Mixture([short], 2, (8, 12), 1, offsets=[-1, 1])
    Mixture([replace(short, root=str(clips))], 2, (8, 12), 1, offsets=[-1, 1])


@pytest.fixture
def video(tmp_path):
    """Write a video of five grey frames, each lighter than the one before."""
    path = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (32, 16))
    if not writer.isOpened():
        pytest.skip('this build of OpenCV writes no videos')
    for value in range(5):
        writer.write(np.full((16, 32, 3), 40 * value + 20, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize('whole', [True, False])
def test_a_video_is_unpacked_once(video, whole):
    data = Frames(video if whole else video.parent, fx=20.0)
    start = '' if whole else 'drive.avi.frames/'
    assert data.ids == [f'{start}{index:06}' for index in range(5)]
    for index, name in enumerate(data.ids):
        assert abs(data.read(name).image.mean() - (40 * index + 20)) < 4
    assert data.has_neighbours(data.ids[1]) and not data.has_neighbours(data.ids[4])
    first = video.parent / 'drive.avi.frames' / '000000.jpg'
    first.unlink()
    assert len(Frames(video if whole else video.parent, fx=20.0)) == 4
    assert sorted(path.name for path in video.parent.iterdir()) == [
        'drive.avi', 'drive.avi.frames']


def test_what_is_no_video_is_refused_and_leaves_nothing(tmp_path):
    path = tmp_path / 'drive.mp4'
    path.write_bytes(b'no video')
    with pytest.raises(ValueError, match='drive.mp4.*OpenCV'):
        Frames(path, fx=20.0)
    assert [entry.name for entry in tmp_path.iterdir()] == ['drive.mp4']


def test_a_turned_video_is_unpacked_upright_with_its_intrinsics(turned_video):
    path = turned_video(180)
    (path.parent / 'camera_info.yaml').write_text(
        CAMERA_INFO.replace('12', '64').replace('8', '32'))
    data = Frames(path)
    sample = data.read(data.ids[0])
    assert sample.image[-4:, -8:].min() > 200 > sample.image[:8, :16].max()
    np.testing.assert_array_equal(sample.K, [[10, 0, 57], [0, 11, 27], [0, 0, 1]])
    neighbour = data.neighbours(data.ids[0], (1,))[0]
    assert neighbour[-4:, -8:].min() > 200


def test_frames_are_in_natural_order_and_counted_once(tmp_path, write_image, random_image):
    for name in ('1.png', '2.png', '2.jpg', '10.png', '11.png'):
        write_image(tmp_path / name, random_image())
    data = Frames(tmp_path, fx=9.0)
    assert data.ids == ['1', '2', '10', '11']
    assert data.neighbour_file('2', 1).name == '10.png'


def test_distorted_images_are_rectified_or_warned_of(clips, caplog):
    (clips / 'camera_info.yaml').write_text(RECTIFIED + (
        'distortion_model: plumb_bob\ndistortion_coefficients: {data: [-0.3, 0.1, 0, 0, 0]}\n'))
    data = Frames(clips)
    assert sum('distortion' in message for message in caplog.messages) == 1
    rectified = Frames(clips, rectify=True)
    assert sum('distortion' in message for message in caplog.messages) == 1
    K = np.array([[10.0, 0, 6], [0, 11, 4], [0, 0, 1]])
    P = np.array([[9.0, 0, 5], [0, 9, 3], [0, 0, 1]])
    sample, raw = rectified.read('a/0005'), data.read('a/0005')
    expected = cv2.undistort(raw.image, K, np.array([-0.3, 0.1, 0, 0, 0]), None, P)
    assert np.abs(sample.image.astype(int) - expected).max() <= 8  # fixed-point maps, noise
    np.testing.assert_array_equal(sample.K, P)
    np.testing.assert_array_equal(
        rectified.neighbours('a/0001', [1])[0], sample.image)
    with pytest.raises(ValueError, match='rectify.*camera_info'):
        Frames(clips, fx=10.0, rectify=True)
