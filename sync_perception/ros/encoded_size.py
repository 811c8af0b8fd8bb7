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

"""The size that a JPEG or PNG claims, read from its header before a pixel is decoded."""

from __future__ import annotations

JPEG = b'\xff\xd8\xff'
PNG = b'\x89PNG\r\n\x1a\n'
# ITU-T T.81, table B.1: frames; and what stands alone, without a length
FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
ALONE = frozenset({0x01, *range(0xd0, 0xd9)})
ENDS = frozenset({0xd9, 0xda})  # end of the image; start of the pixels


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """
    Return the height and width of a JPEG or PNG; None for anything else, or a PNG cut short.

    :param data: of the whole file.
    """
    if data.startswith(PNG):
        return _png_size(data)
    if data.startswith(JPEG):
        return _jpeg_size(data)
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Walk over all chunks: OpenCV makes room for whatever length a broken one has."""
    if data[12:16] != b'IHDR':
        return None
    kind, place = b'', len(PNG)
    while kind != b'IEND':
        kind = data[place + 4:place + 8]
        place += 12 + _number(data, place, 4)  # length, type and checksum are twelve bytes
        if place > len(data):
            return None
    return _number(data, 20, 4), _number(data, 16, 4)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk over the segments to the first frame, past what lies between them as libjpeg does."""
    place = 2
    while True:
        place = data.find(b'\xff', place)
        if place < 0 or place + 9 > len(data):
            return None
        place += 1
        marker = data[place]
        if marker in FRAMES:
            return _number(data, place + 4, 2), _number(data, place + 6, 2)
        if marker in ENDS:
            return None
        if marker == 0xff:
            continue
        place += 1
        if marker != 0 and marker not in ALONE:
            place += _number(data, place, 2)


def _number(data: bytes, start: int, length: int) -> int:
    return int.from_bytes(data[start:start + length], 'big')
