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

import struct

import cv2
import numpy as np
import pytest
from sync_perception.images.headers import read_header, read_orientation

KINDS = {
    'jpeg': ('.jpg', []), 'progressive jpeg': ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    'jpeg with restarts': ('.jpg', [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]), 'png': ('.png', []),
    'large png': ('.png', [cv2.IMWRITE_PNG_COMPRESSION, 0])}


def encode(kind: str, size: tuple[int, int] = (70, 301)) -> bytes:
    """Encode noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ending, settings = KINDS[kind]
    return cv2.imencode(ending, pixels, settings)[1].tobytes()


def encoded_size(data: bytes):
    """Return the size that the header claims, or None."""
    header = read_header(data)
    return None if header is None else header.size


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


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('channels', [1, 3])
def test_no_image_is_smaller_than_its_header_says(kind, channels):
    """Black images are the smallest; progressive JPEG stores a block of them in one bit."""
    ending, settings = KINDS[kind]
    pixels = np.zeros((600, 800, channels), np.uint8)
    settings = settings + [cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_PNG_COMPRESSION, 9]
    data = cv2.imencode(ending, pixels, settings)[1].tobytes()
    header = read_header(data)
    assert header.channels == channels
    assert 0 < header.least_bytes < len(data)


def exif(orientation: int, order: str) -> bytes:
    """Write the directory of EXIF with two entries, of which the second is the orientation."""
    start = b'II*\x00' if order == '<' else b'MM\x00*'
    return start + struct.pack(f'{order}IHHHIHHHHIHH', 8, 2, 0x0100, 3, 1, 7, 0,
                               0x0112, 3, 1, orientation, 0)


@pytest.mark.parametrize('order', ['<', '>'])
def test_the_orientation_is_found_in_every_format(order):
    for orientation in range(1, 9):
        directory = exif(orientation, order)
        jpeg, png = encode('jpeg', (12, 16)), encode('png', (12, 16))
        segment = b'Exif\x00\x00' + directory
        jpeg = jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + jpeg[2:]
        place = png.index(b'IDAT') - 4
        png = (png[:place] + struct.pack('>I', len(directory)) + b'eXIf' + directory + bytes(4)
               + png[place:])
        for data in (jpeg, png, directory):
            assert read_orientation(data) == orientation
            assert {read_orientation(data[:length]) for length in range(len(data))} <= {
                1, orientation}
    assert read_orientation(encode('jpeg')) == read_orientation(b'') == 1
    assert read_orientation(exif(9, order)) == 1
