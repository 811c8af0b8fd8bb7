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

"""Videos: read to their end, as they are stored, with what their header says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.images.orientation import turn
from sync_perception.images.videos import Video


def test_a_video_without_a_count_is_read_to_its_end(live_video):
    video = Video(live_video)
    assert video.count is None and video.size == (32, 64) and video.orientation == 1
    levels = [round(frame[20, 40].mean() / 10) for frame in video.frames()]
    assert levels == [2, 6, 10, 14]
    assert len(list(video.frames(3))) == 1


@pytest.mark.parametrize('degrees', [0, 90, 180, 270])
def test_a_video_is_turned_as_opencv_does(degrees, turned_video):
    """By itself OpenCV turns frames, unless it is told not to."""
    video = Video(turned_video(degrees))
    assert video.count == 4 and video.rate == 10 and video.size == (32, 64)
    frames = list(video.frames())
    assert [frame.shape for frame in frames] == [(32, 64, 3)] * 4
    capture = cv2.VideoCapture(str(video.path))
    for frame in frames:
        np.testing.assert_array_equal(
            turn(frame, video.orientation), capture.read()[1][..., ::-1])


def test_what_is_no_video_or_too_large_is_refused(tmp_path, turned_video):
    path = tmp_path / 'broken.mp4'
    path.write_bytes(b'this is not a video')
    with pytest.raises(ValueError, match='broken.mp4'):
        Video(path)
    with pytest.raises(ValueError, match='64x32.*max_pixels'):
        Video(turned_video(0), max_pixels=64 * 32 - 1)
