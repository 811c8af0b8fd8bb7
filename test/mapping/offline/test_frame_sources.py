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


"""Sources of frames: which kind a path is, their calibration, times, poses and depth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.mapping.offline.frame_sources import (
    benchmark_intrinsics,
    CameraArguments,
    open_source,
)
from sync_perception.mapping.upright import vertical


def test_sequence_of_seven_scenes(data_root):
    """Frames have the time of their number, a pose and the sensor's depth in metres."""
    source = open_source(data_root / 'sevenscenes', CameraArguments())
    index, frame = next(source.frames(2, 1))
    assert (source.count, index, frame.stamp) == (50, 2, round(40 * 1e9 / 30))
    depth = source.sensor_depth(2)
    assert depth.shape == frame.size and 0.5 < np.nanmedian(depth) < 4
    trajectory = source.trajectory()
    assert trajectory.at(frame.stamp).world_T_camera is not None
    assert vertical(trajectory) == (0.0, -1.0, 0.0)
    assert vertical(trajectory, 'z') == (0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match='up'):
        vertical(trajectory, 'north')


def test_sequence_of_the_odometry_benchmark(data_root, tmp_path):
    """The calibration beside the images is used, with or without names of its rows."""
    folder = data_root / 'kitti_odometry' / 'sequences' / '01'
    _, frame = next(open_source(folder / 'image_0', CameraArguments()).frames(0, 1))
    assert frame.K[0, 0] == pytest.approx(707.0912)
    named = tmp_path / 'calib.txt'
    named.write_text('P0: 1 0 2 0 0 1 3 0 0 0 1 0\nP1: 7 0 2 0 0 7 3 0 0 0 1 0\n')
    assert benchmark_intrinsics(named, 1)[0, 0] == 7
    named.write_text('1 2 3\n')
    with pytest.raises(ValueError, match='camera 0'):
        benchmark_intrinsics(named, 0)


def test_folder_of_images(tmp_path):
    """Times are those of the rate; a broken image is given as its error; sizes of steps hold."""
    for index in range(5):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((8, 12, 3), index, np.uint8))
    (tmp_path / '2.png').write_bytes(b'none')
    source = open_source(tmp_path, CameraArguments(fx=10.0, rate=5))
    found = dict(source.frames(0, 2))
    assert list(found) == [0, 2, 4] and isinstance(found[2], ValueError)
    assert found[4].stamp == 800_000_000 and found[4].K[0, 0] == 10
    assert source.trajectory() is None
    (tmp_path / '0.png').unlink()
    _, first = next(open_source(tmp_path, CameraArguments(fx=10.0, rate=5)).frames(0, 1))
    assert first.stamp == 200_000_000  # as for `predict`, by the number in the name


def test_video_is_read_to_its_end(live_video):
    """A video without a stated length is a source, too."""
    source = open_source(live_video, CameraArguments(fx=50.0))
    assert [index for index, _ in source.frames(1, 2)] == [1, 3]


def test_what_is_no_recording_is_refused(tmp_path):
    """The message names the path."""
    with pytest.raises(ValueError, match=tmp_path.name):
        open_source(tmp_path, CameraArguments())
    with pytest.raises(FileNotFoundError, match='absent'):
        open_source(tmp_path / 'absent', CameraArguments())
    for arguments in ({'fx': -1.0}, {'rate': 0.0}, {'rectify': True}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            CameraArguments(**arguments)
