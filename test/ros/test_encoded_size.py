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

"""Sizes read from headers against those that OpenCV decodes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.ros.encoded_size import encoded_size

KINDS = {
    'jpeg': ('.jpg', []), 'progressive jpeg': ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    'jpeg with restarts': ('.jpg', [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]), 'png': ('.png', []),
    'large png': ('.png', [cv2.IMWRITE_PNG_COMPRESSION, 0])}


def encode(kind: str, size: tuple[int, int] = (70, 301)) -> bytes:
    """Encode noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ending, settings = KINDS[kind]
    return cv2.imencode(ending, pixels, settings)[1].tobytes()


def decoded(data: bytes):
    """Return the size of what OpenCV decodes, or None."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else image.shape[:2]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(1, 1), (70, 301), (300, 2), (1, 2000)])
def test_the_size_is_that_of_the_decoded_picture(kind, size):
    data = encode(kind, size)
    assert encoded_size(data) == decoded(data) == size
    assert encoded_size(data + b'appended') == size


@pytest.mark.parametrize('between', [
    b'\xff' * 9, b'\xff\xfe\x00\x04no', b'\xff\xfe\x00\x02', b'\xff\x01', b'garbage\xff\x00',
    b'\xff\xe1\x00\x0b\xff\xc0\x00\x11\x08\x00\x01\x00\x01'])
def test_what_lies_before_a_jpegs_frame_is_passed_over_as_libjpeg_does(between, capfd):
    """Fill bytes, comments, garbage, a whole frame header within a thumbnail's segment."""
    data = encode('jpeg')
    place = data.index(b'\xff\xdb')
    data = data[:place] + between + data[place:]
    assert encoded_size(data) == decoded(data) == (70, 301)
    capfd.readouterr()


@pytest.mark.parametrize('kind', ['jpeg', 'png'])
def test_any_cut_gives_the_size_or_nothing(kind):
    data = encode(kind, (12, 16))
    found = [encoded_size(data[:length]) for length in range(len(data))]
    assert set(found) == {None, (12, 16)} if kind == 'jpeg' else set(found) == {None}


@pytest.mark.parametrize('chunk', [b'IHDR', b'IDAT', b'IEND'])
def test_a_broken_length_in_a_png(chunk):
    data = bytearray(encode('png'))
    place = data.index(chunk) - 4
    data[place] = 0x20  # half a gigabyte
    assert encoded_size(bytes(data)) is None


@pytest.mark.parametrize('ending', ['.bmp', '.tiff', '.webp', '.ppm'])
def test_other_formats(ending):
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert encoded_size(cv2.imencode(ending, pixels)[1].tobytes()) is None
    assert encoded_size(b'') is None
