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

"""Headers of JPEG and PNG files, and plausibility checks before the pixels are decoded."""

from __future__ import annotations

from dataclasses import dataclass
import struct
import zlib

from sync_perception.types import MalformedInput

JPEG = b'\xff\xd8\xff'
PNG = b'\x89PNG\r\n\x1a\n'
TIFF = (b'II*\x00', b'MM\x00*')
# ITU-T T.81, table B.1: frame markers, those with arithmetic coding, and markers without a length
FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
ARITHMETIC = frozenset(range(0xc9, 0xd0))
ALONE = frozenset({0x01, *range(0xd0, 0xd9)})
ENDS = frozenset({0xd9, 0xda})  # end of the image; start of the pixels
EXIF_SEGMENT, EXIF = 0xe1, b'Exif\x00\x00'
ORIENTATION = 0x0112
PNG_PIXELS = (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND')  # chunks that the pixels depend on
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# A Huffman code has at least one bit for each block of 8x8 pixels; deflate repeats at most 258
# bytes for 2 bits
JPEG_PIXELS_PER_BYTE = 512
DEFLATE_RATIO = 1032
MAX_PIXELS = 7680 * 4320
"""Default limit of the pixels of an image: an 8K camera."""
MAX_ASPECT = 32
"""Aspect ratio, either way, that no camera image reaches."""


@dataclass(frozen=True)
class ImageHeader:
    """
    Header of an encoded image.

    :param kind: jpeg or png.
    :param size: height and width in pixels.
    :param channels: 1 grey, 3 colour, 4 CMYK (JPEG) or with alpha (PNG).
    :param least_bytes: least number of bytes of an encoded image of this size.
    :param orientation: EXIF orientation, 1 to 8; 1 if it is missing.
    """

    kind: str
    size: tuple[int, int]
    channels: int
    least_bytes: int
    orientation: int = 1


def check_header(header: ImageHeader, length: int, max_pixels: int = MAX_PIXELS) -> None:
    """
    Check the header of an encoded image before it is decoded.

    :param length: bytes of the encoded image.
    :raises MalformedInput: if it cannot be from a camera, or has too few bytes for its size.
    """
    check_size(header.size, max_pixels)
    if length < header.least_bytes:
        height, width = header.size
        raise MalformedInput(
            'image size', f'got {length} bytes that claim to be {width}x{height} pixels, '
            f'expected at least {header.least_bytes} for as many')


def check_size(size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> None:
    """
    Check that an image size is plausible for a camera.

    :param size: height and width.
    :raises MalformedInput: if the image is empty, has too many pixels or an extreme aspect ratio.
    """
    height, width = size
    if height == 0 or width == 0:
        raise MalformedInput(
            'image size', f'got an empty image of {width}x{height} pixels, expected at least 1x1')
    if height * width > max_pixels:
        raise MalformedInput(
            'image size', f'got an image of {width}x{height} pixels, expected at most '
            f'{max_pixels} (max_pixels)')
    if max(size) > MAX_ASPECT * min(size):
        raise MalformedInput(
            'image size', f'got an image of {width}x{height} pixels, expected a side at most '
            f'{MAX_ASPECT} times as long as the other')


def read_header(data: bytes) -> ImageHeader | None:
    """
    Return the header of a JPEG or PNG; None for other formats and for a truncated PNG.

    :param data: bytes of the whole file.
    """
    if data.startswith(PNG):
        return _read_png(data)
    if data.startswith(JPEG):
        return _read_jpeg(data)
    return None


def read_orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of the data of a JPEG, PNG or TIFF file."""
    if data[:4] in TIFF:
        return _orientation(data)
    header = read_header(data)
    return 1 if header is None else header.orientation


def check_png(data: memoryview) -> bytes | memoryview:
    """
    Verify the checksums of a PNG that has a header, since OpenCV accepts some damaged files.

    :return: the PNG with only the chunks that its pixels need. libpng prints warnings about other
        chunks, such as a colour profile, if it does not understand them.
    :raises MalformedInput: if a chunk is damaged; the message names the first one.
    """
    place, kept, spare = len(PNG), [data[:len(PNG)]], False
    while place < len(data):
        end = place + 8 + _number(data, place, 4)
        kind = bytes(data[place + 4:place + 8])
        if zlib.crc32(data[place + 4:end]) != _number(data, end, 4):
            raise MalformedInput(
                'compressed data', f'its chunk {kind!r} is damaged, expected a complete PNG')
        if kind in PNG_PIXELS:
            kept.append(data[place:end + 4])
        else:
            spare = True
        if kind == b'IEND':
            break
        place = end + 4
    return b''.join(kept) if spare else data


def oriented_jpeg(data: bytes, orientation: int) -> bytes:
    """Return the data of a JPEG file without orientation with an orientation, 1 to 8, added."""
    if orientation == 1:
        return data
    directory = struct.pack('>4sIHHHIHHI', TIFF[1], 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)
    segment = EXIF + directory
    return (data[:2] + struct.pack('>BBH', 0xff, EXIF_SEGMENT, len(segment) + 2) + segment
            + data[2:])


def _read_png(data: bytes) -> ImageHeader | None:
    """Parse all chunks, since OpenCV allocates whatever length a broken chunk states."""
    if data[12:16] != b'IHDR':
        return None
    kind, place, orientation = b'', len(PNG), 1
    while kind != b'IEND':
        kind, length = data[place + 4:place + 8], _number(data, place, 4)
        if kind == b'eXIf':
            orientation = _orientation(data[place + 8:place + 8 + length])
        place += 12 + length  # length, type and checksum are twelve bytes
        if place > len(data):
            return None
    height, width, depth = _number(data, 20, 4), _number(data, 16, 4), data[24]
    channels = PNG_CHANNELS.get(data[25], 1)
    row = 1 + (width * channels * depth + 7) // 8
    return ImageHeader('png', (height, width), channels, height * row // DEFLATE_RATIO,
                       orientation)


def _read_jpeg(data: bytes) -> ImageHeader | None:
    """Parse the segments up to the first frame; skip bytes between them, as libjpeg does."""
    place, orientation = 2, 1
    while True:
        place = data.find(b'\xff', place)
        if place < 0 or place + 10 > len(data):
            return None
        place += 1
        marker = data[place]
        if marker in FRAMES:
            height, width = _number(data, place + 4, 2), _number(data, place + 6, 2)
            least = 0 if marker in ARITHMETIC else height * width // JPEG_PIXELS_PER_BYTE
            return ImageHeader('jpeg', (height, width), data[place + 8], least, orientation)
        if marker in ENDS:
            return None
        if marker == 0xff:
            continue
        place += 1
        if marker != 0 and marker not in ALONE:
            length = _number(data, place, 2)
            if marker == EXIF_SEGMENT and data.startswith(EXIF, place + 2):
                orientation = _orientation(data[place + 2 + len(EXIF):place + length])
            place += length


def _orientation(tiff: bytes) -> int:
    """Return the orientation from the first directory of a TIFF structure, as used by EXIF."""
    order = {TIFF[0]: '<', TIFF[1]: '>'}.get(tiff[:4])
    try:
        start, = struct.unpack_from(f'{order}I', tiff, 4)
        count, = struct.unpack_from(f'{order}H', tiff, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f'{order}HHIH', tiff, place)
            if tag == ORIENTATION and kind == 3 and 1 <= value <= 8:
                return value
    except struct.error:  # not TIFF, or truncated
        pass
    return 1


def _number(data: bytes, start: int, length: int) -> int:
    return int.from_bytes(data[start:start + length], 'big')
