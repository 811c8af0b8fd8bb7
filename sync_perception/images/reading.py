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

"""Reads photographs: whole, within bounds, in RGB, or a clear refusal."""

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
except ModuleNotFoundError:  # then OpenCV decodes, which takes broken JPEG files for whole ones
    simplejpeg = None

LOGGER = logging.getLogger(__name__)
# Of two files with one stem the first of these is taken: what is stored without loss goes before
IMAGE_SUFFIXES = ('.png', '.ppm', '.bmp', '.tif', '.tiff', '.webp', '.jpg', '.jpeg')


def read_image(path: str | Path, bit_depth: BitDepth | None = None,
               max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Read a photograph as uint8 (H, W, 3) RGB, whatever its format; grey becomes three channels.

    An orientation in the file's metadata is not applied: the intrinsics belong to the pixels as
    they are stored.

    :param path: the file.
    :param bit_depth: of the camera that took it; by default 16-bit pixels use their full range.
    :param max_pixels: larger images are refused.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is empty, damaged, not an image, or cannot be a camera's.
    """
    return to_rgb8(read_stored(path, max_pixels), bit_depth)


def read_upright(path: str | Path, bit_depth: BitDepth | None = None,
                 max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, int, tuple[int, int]]:
    """
    Read a photograph as `read_image` and turn it upright, as its metadata says.

    :return: the image; its orientation, and its height and width as it is stored, by which its
        intrinsics are to be turned alike.
    """
    image = read_image(path, bit_depth, max_pixels)
    orientation = read_orientation(Path(path).read_bytes())
    return turn(image, orientation), orientation, image.shape[:2]


def read_stored(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Read an image file as it is stored, and name it where that fails.

    :param path: the file.
    :return: as `decode_image`.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is empty, damaged, not an image, or cannot be a camera's.
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
    Decode an image file's bytes; whatever its decoder warns of is an error.

    :param data: uint8 (N,).
    :param header: of a JPEG or PNG, where it has been read and checked.
    :return: uint8 or uint16, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, unturned.
    :raises MalformedInput: if it is empty, damaged or not an image, or as `check_header` says.
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
        'simplejpeg is not installed (pip install simplejpeg): damaged JPEG images are taken for '
        'whole ones, unless they are cut short')


def _decode_jpeg(data: np.ndarray, header: ImageHeader) -> np.ndarray:
    colors = 'GRAY' if header.channels == 1 else 'RGB'
    try:
        # its warnings mean that pixels were made up, but for one
        pixels = simplejpeg.decode_jpeg(data, colorspace=colors, strict=True)
    except ValueError as error:
        if not is_only_padded(data.tobytes(), str(error)):
            raise MalformedInput(
                'compressed data', f'it is truncated or damaged, expected a whole JPEG: {error}'
                ) from error
        pixels = simplejpeg.decode_jpeg(data, colorspace=colors, strict=False)
    return pixels[..., 0] if header.channels == 1 else pixels


def to_rgb8(stored: np.ndarray, bit_depth: BitDepth | None = None) -> np.ndarray:
    """
    Turn an image as it is stored into uint8 (H, W, 3) RGB.

    :param stored: as `decode_image` returns it.
    :param bit_depth: of its camera; by default 16-bit pixels use their full range.
    """
    if stored.dtype == np.uint16:
        stored = (bit_depth or BitDepth(16)).to_8_bits(stored)
    if stored.ndim == 2:
        return cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(stored, cv2.COLOR_RGBA2RGB) if stored.shape[2] == 4 else stored


def images_by_stem(folder: str | Path, ending: str = '') -> dict[str, Path]:
    """
    List a folder's images, whatever their format, in natural order: 1, 2, 10.

    Of files that differ in their format only, the first of `IMAGE_SUFFIXES` counts.

    :param folder: may be absent: no images then.
    :param ending: only names that end so before the suffix; it is cut from the key.
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
    """Sort paths by name, numbers within the names by their value: 1, 2, 10."""
    return sorted(paths, key=_natural_key)


def _natural_key(path: Path) -> tuple:
    # split gives text, number, text, number, ...; the name decides where 1 and 01 are equal
    parts = re.split(r'([0-9]+)', path.stem)
    return (path.parent, [int(part) if place % 2 else part for place, part in enumerate(parts)],
            path.name)


def write_image(path: str | Path, array: np.ndarray, options: Sequence[int] = ()) -> None:
    """
    Write an image file, whole or not at all.

    :param path: its ending is that of the format.
    :param array: as OpenCV takes it, colour as BGR.
    :param options: pairs of cv2.IMWRITE_* flags and their values.
    :raises OSError: if it cannot be written, naming the file and the space on its disk.
    """
    done, content = cv2.imencode(Path(path).suffix, array, list(options))
    assert done, 'OpenCV encodes every uint8 and uint16 image'
    write_bytes(path, content.data)
