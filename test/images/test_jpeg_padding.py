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

"""Webcams' padded JPEG images are read, damaged ones are not."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from sync_perception.images.jpeg_padding import expected_restarts, RESTART
from sync_perception.images.reading import decode_image
from sync_perception.types import MalformedInput

pytest.importorskip('simplejpeg', reason='simplejpeg is not installed')
SAMPLINGS = {'4:4:4': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
             '4:2:2': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
             '4:2:0': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420}


def webcam_jpeg(interval: int, sampling: str = '4:2:2', channels: int = 3) -> bytes:
    """Encode a picture with a restart marker after so many units; 0 for none."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (24, 33, 3), np.uint8), (330, 240))
    picture = picture if channels == 3 else picture[..., 0]
    return cv2.imencode('.jpg', picture, [
        cv2.IMWRITE_JPEG_RST_INTERVAL, interval, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        SAMPLINGS[sampling]])[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
    """Decode a JPEG."""
    return decode_image(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize('sampling', SAMPLINGS)
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('interval', [1, 10, 500])
def test_the_header_says_how_many_markers_there_are(interval, channels, sampling):
    data = webcam_jpeg(interval, sampling, channels)
    assert expected_restarts(data) == len(RESTART.findall(data, data.find(b'\xff\xda')))
    assert expected_restarts(webcam_jpeg(0)) == -1


@pytest.mark.parametrize(('interval', 'padding'), [(10, 1), (10, 10), (3, 4), (0, 1), (0, 2)])
def test_padding_before_markers_changes_nothing(interval, padding):
    data = webcam_jpeg(interval)
    scan = data.find(b'\xff\xda')
    padded = data[:scan] + re.sub(
        rb'(\xff[\xd0-\xd7\xd9])', lambda match: b'\x55' * padding + match[1], data[scan:])
    assert len(padded) > len(data)
    np.testing.assert_array_equal(decoded(padded), decoded(data))


@pytest.mark.parametrize('interval', [3, 10])
def test_a_part_that_is_missing_or_moved_is_seen_through_padding(interval):
    data = webcam_jpeg(interval)
    scan = data.find(b'\xff\xda')
    parts = re.split(rb'(?=\xff[\xd0-\xd7])', data[scan:])
    padding = b'\x55\x55'
    for spoiled in (parts[:5] + parts[6:], parts[:5] + parts[13:], parts[:-1] + [b'\xff\xd9'],
                    parts[:5] + [parts[6], parts[5]] + parts[7:]):
        with pytest.raises(MalformedInput, match='expected'):
            decoded(data[:scan] + padding.join(spoiled))


@pytest.mark.parametrize('padding', [20, 100])
def test_more_left_over_at_the_end_is_damage(padding):
    data = webcam_jpeg(0)
    with pytest.raises(MalformedInput, match='extraneous'):
        decoded(data[:-2] + b'\x55' * padding + data[-2:])
