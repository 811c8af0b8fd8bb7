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


"""Photographs: read whole and in RGB, or refused by name."""

from __future__ import annotations

from pathlib import Path
import struct
import zlib

import cv2
import numpy as np
import pytest
from sync_perception.images.reading import (
    decode_image,
    images_by_stem,
    natural_order,
    read_image,
)


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def test_png_comes_back_exactly_in_rgb(tmp_path):
    image = photograph()
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), image)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Write a chunk with its right checksum."""
    return struct.pack('>I', len(content)) + kind + content + struct.pack(
        '>I', zlib.crc32(kind + content))


@pytest.mark.parametrize('kind', [b'iCCP', b'sRGB', b'pHYs', b'sBIT', b'zTXt'])
def test_what_the_pixels_do_not_need_is_not_looked_at(capfd, tmp_path, kind):
    """A colour profile that libpng does not like is no reason for a line on each image."""
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), photograph()[..., ::-1])
    data, place = path.read_bytes(), 33  # behind the header
    path.write_bytes(data[:place] + png_chunk(kind, b'\xff') + data[place:])
    np.testing.assert_array_equal(read_image(path), photograph())
    assert capfd.readouterr().err == ''


def test_a_palette_and_its_transparency_are_kept():
    rows = bytes([0, 0, 1, 0, 1, 0])  # each begins with the number of its filter
    data = b'\x89PNG\r\n\x1a\n' + b''.join(png_chunk(*chunk) for chunk in (
        (b'IHDR', struct.pack('>IIBBBBB', 2, 2, 8, 3, 0, 0, 0)), (b'gAMA', b'\0\0\0\1'),
        (b'PLTE', bytes([10, 20, 30, 40, 50, 60])), (b'tRNS', bytes([255, 128])),
        (b'IDAT', zlib.compress(rows)), (b'IEND', b'')))
    found = decode_image(np.frombuffer(data, np.uint8))
    np.testing.assert_array_equal(found[0], [[10, 20, 30, 255], [40, 50, 60, 128]])


def test_grey_becomes_three_channels(tmp_path):
    grey = photograph()[..., 0]
    cv2.imwrite(str(tmp_path / 'a.png'), grey)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), np.dstack([grey] * 3))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.png'):
        read_image(tmp_path / 'nowhere.png')


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_file_is_refused(tmp_path, suffix):
    path = tmp_path / f'cut{suffix}'
    cv2.imwrite(str(path), photograph())
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match=f'cut{suffix}.*truncated'):
        read_image(path)


@pytest.mark.parametrize('content', [b'', b'not an image'])
def test_empty_and_foreign_files_are_refused(tmp_path, content):
    (tmp_path / 'odd.png').write_bytes(content)
    with pytest.raises(ValueError, match=rf'odd.png \({len(content)} bytes\)'):
        read_image(tmp_path / 'odd.png')


def test_a_damaged_file_is_refused(tmp_path, capfd):
    """One rule for broken images: what refuses a message refuses a file."""
    pytest.importorskip('simplejpeg', reason='simplejpeg is not installed')
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    for suffix in ('.jpg', '.png'):
        path = tmp_path / f'hole{suffix}'
        cv2.imwrite(str(path), noise)
        whole = path.read_bytes()
        path.write_bytes(whole[:20_000] + bytes(1400) + whole[21_400:])
        with pytest.raises(ValueError, match=f'hole{suffix}.*damaged'):
            read_image(path)
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('size', [(1, 4096), (2000, 10)])
def test_what_cannot_be_a_cameras_image_is_refused(tmp_path, size):
    for suffix in ('.png', '.bmp'):
        cv2.imwrite(str(tmp_path / f'a{suffix}'), np.zeros(size, np.uint8))
        with pytest.raises(ValueError, match=f'a{suffix}.*{size[1]}x{size[0]}'):
            read_image(tmp_path / f'a{suffix}')


def test_more_pixels_than_allowed_are_refused(tmp_path):
    for suffix in ('.png', '.jpg', '.tiff'):
        path = tmp_path / f'a{suffix}'
        cv2.imwrite(str(path), photograph())
        assert read_image(path, max_pixels=24 * 40).shape == (24, 40, 3)
        with pytest.raises(ValueError, match='max_pixels'):
            read_image(path, max_pixels=24 * 40 - 1)


def test_alpha_and_16_bits_do_not_change_the_colours(tmp_path):
    image = photograph()
    bgra = np.dstack([image[..., ::-1], image[..., 0]])
    cv2.imwrite(str(tmp_path / 'alpha.png'), bgra)
    cv2.imwrite(str(tmp_path / 'wide.png'), image[..., ::-1].astype(np.uint16) * 257)
    for name in ('alpha.png', 'wide.png'):
        np.testing.assert_array_equal(read_image(tmp_path / name), image)


def test_numbers_in_names_are_ordered_by_their_value():
    names = ['12.png', '1.png', 'a10.png', '10.png', '2.png', 'a9.png', '02.png', 'b.png']
    ordered = [path.name for path in natural_order(map(Path, names))]
    assert ordered == [
        '1.png', '02.png', '2.png', '10.png', '12.png', 'a9.png', 'a10.png', 'b.png']


def test_a_frame_in_two_formats_is_one_frame(tmp_path):
    for name in ('1.png', '1.jpg', '2.jpg', '10.JPG', '10.jpeg', '10.txt'):
        (tmp_path / name).touch()
    found = images_by_stem(tmp_path)
    assert list(found) == ['1', '2', '10']
    assert found['1'].name == '1.png'
