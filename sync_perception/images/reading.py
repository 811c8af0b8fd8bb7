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

"""Reading and writing of image files; damaged or oversized images raise errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
import logging
from pathlib import Path
import re

import cv2
import numpy as np
from sync_perception.files.whole_files import write_bytes
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.headers import (
    check_header,
    check_png,
    check_size,
    ImageHeader,
    MAX_PIXELS,
    read_header,
    read_orientation,
)
from sync_perception.images.jpeg_padding import is_only_padded
from sync_perception.images.orientation import turn
from sync_perception.types import MalformedInput

try:
    import simplejpeg
except ModuleNotFoundError:  # OpenCV then decodes, which accepts damaged JPEG files
    simplejpeg = None

LOGGER = logging.getLogger(__name__)
# among files with the same stem, the first of these is used; lossless formats come first
IMAGE_SUFFIXES = ('.png', '.ppm', '.bmp', '.tif', '.tiff', '.webp', '.jpg', '.jpeg')


def read_image(path: str | Path, bit_depth: BitDepth | None = None,
               max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Read an image file of any format as uint8 (H, W, 3) RGB; grey becomes three channels.

    The orientation in the file's metadata is not applied, since the intrinsics describe the pixels
    as stored.

    :param path: the file.
    :param bit_depth: bit depth of the camera; by default 16-bit pixels use their full range.
    :param max_pixels: limit of the image's pixels.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is empty, damaged, not an image, or cannot be from a camera.
    """
    return to_rgb8(read_stored(path, max_pixels), bit_depth)


def read_upright(path: str | Path, bit_depth: BitDepth | None = None,
                 max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, int, tuple[int, int]]:
    """
    Read an image file like `read_image`, and apply the orientation in its metadata.

    :return: the upright image; its EXIF orientation, and its height and width as stored, which are
        needed to rotate its intrinsics.
    """
    image = read_image(path, bit_depth, max_pixels)
    orientation = read_orientation(Path(path).read_bytes())
    return turn(image, orientation), orientation, image.shape[:2]


def read_stored(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Read an image file as stored; errors name the file.

    :param path: the file.
    :return: as `decode_image`.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is empty, damaged, not an image, or cannot be from a camera.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no image file {path}')
    data = np.fromfile(path, dtype=np.uint8)
    try:
        return decode_image(data, max_pixels)
    except MalformedInput as error:
        raise ValueError(f'{path} ({data.size} bytes): {error}') from error


def decode_image(data: np.ndarray, max_pixels: int = MAX_PIXELS,
                 header: ImageHeader | None = None) -> np.ndarray:
    """
    Decode the bytes of an image file; warnings of the decoder are errors.

    :param data: uint8 (N,).
    :param header: header of a JPEG or PNG if it was already read and checked.
    :return: uint8 or uint16, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, as stored.
    :raises MalformedInput: if it is empty, damaged or not an image, or fails `check_header`.
    """
    if header is None:
        header = read_header(data.tobytes())
        if header is not None:
            check_header(header, len(data), max_pixels)
    if header is not None and header.kind == 'png':
        data = np.frombuffer(check_png(data.data), np.uint8)
    elif header is not None and header.channels in (1, 3):
        if simplejpeg is not None:
            return _decode_jpeg(data, header)
        _warn_of_leniency()
    try:
        stored = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        stored = None
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        raise MalformedInput(
            'compressed data', 'it is truncated, damaged or not an image of 8 or 16 bits that '
            'OpenCV can read')
    check_size(stored.shape[:2], max_pixels)
    if stored.ndim == 2:
        return stored
    return cv2.cvtColor(
        stored, cv2.COLOR_BGRA2RGBA if stored.shape[2] == 4 else cv2.COLOR_BGR2RGB)


@cache
def _warn_of_leniency() -> None:
    LOGGER.warning(
        'simplejpeg is not installed (pip install simplejpeg): damaged JPEG images are not '
        'detected unless they are truncated')


def _decode_jpeg(data: np.ndarray, header: ImageHeader) -> np.ndarray:
    colors = 'GRAY' if header.channels == 1 else 'RGB'
    try:
        # all its warnings but one mean that pixels were invented
        pixels = simplejpeg.decode_jpeg(data, colorspace=colors, strict=True)
    except ValueError as error:
        if not is_only_padded(data.tobytes(), str(error)):
            raise MalformedInput(
                'compressed data', f'it is truncated or damaged, expected a complete JPEG: {error}'
                ) from error
        pixels = simplejpeg.decode_jpeg(data, colorspace=colors, strict=False)
    return pixels[..., 0] if header.channels == 1 else pixels


def to_rgb8(stored: np.ndarray, bit_depth: BitDepth | None = None) -> np.ndarray:
    """
    Convert an image as stored to uint8 (H, W, 3) RGB.

    :param stored: image as returned by `decode_image`.
    :param bit_depth: bit depth of the camera; by default 16-bit pixels use their full range.
    """
    if stored.dtype == np.uint16:
        stored = (bit_depth or BitDepth(16)).to_8_bits(stored)
    if stored.ndim == 2:
        return cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(stored, cv2.COLOR_RGBA2RGB) if stored.shape[2] == 4 else stored


def images_by_stem(folder: str | Path, ending: str = '') -> dict[str, Path]:
    """
    Return the images of any format in a folder, in natural order: 1, 2, 10.

    Of files that differ only in their format, the first of `IMAGE_SUFFIXES` is used.

    :param folder: the folder; a missing one has no images.
    :param ending: required end of the names before the suffix; it is removed from the key.
    :return: paths by name without ending and suffix.
    """
    folder = Path(folder)
    images: dict[str, Path] = {}
    for path in natural_order(folder.iterdir() if folder.is_dir() else ()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.stem.endswith(ending):
            continue
        stem = path.stem[:len(path.stem) - len(ending)]
        if stem not in images or _rank(path) < _rank(images[stem]):
            images[stem] = path
    return images


def _rank(path: Path) -> int:
    return IMAGE_SUFFIXES.index(path.suffix.lower())


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return paths sorted by name, with numbers in the names ordered by value: 1, 2, 10."""
    return sorted(paths, key=_natural_key)


def _natural_key(path: Path) -> tuple:
    # split gives text, number, text, number, ...; the name breaks ties such as 1 and 01
    parts = re.split(r'([0-9]+)', path.stem)
    return (path.parent, [int(part) if place % 2 else part for place, part in enumerate(parts)],
            path.name)


def write_image(path: str | Path, array: np.ndarray, options: Sequence[int] = ()) -> None:
    """
    Write an image file atomically.

    :param path: the file; its suffix selects the format.
    :param array: image as expected by OpenCV, with colour as BGR.
    :param options: pairs of cv2.IMWRITE_* flags and their values.
    :raises OSError: if writing fails; the message names the file and the free space on its disk.
    """
    done, content = cv2.imencode(Path(path).suffix, array, list(options))
    assert done, 'OpenCV encodes every uint8 and uint16 image'
    write_bytes(path, content.data)
