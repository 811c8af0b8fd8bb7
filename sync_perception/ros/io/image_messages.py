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

"""Decoding of raw and compressed image messages to uint8 RGB."""

from __future__ import annotations

import re
from typing import NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.headers import (
    check_header,
    check_size,
    ImageHeader,
    MAX_PIXELS,
    read_header,
)
from sync_perception.images.reading import decode_image, to_rgb8
from sync_perception.types import MalformedInput


class PixelLayout(NamedTuple):
    """
    Pixel layout of an encoding, with OpenCV's code for the conversion to RGB.

    :param multiple: divisor of the width (chroma shared between pixels).
    """

    dtype: type
    channels: int
    to_rgb: int | None
    multiple: int = 1


# 8UC3, 16UC3 and similar encodings do not name their channels; as in OpenCV and cv_bridge, blue
# comes first
LAYOUTS = {
    'rgb8': PixelLayout(np.uint8, 3, None),
    'bgr8': PixelLayout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    '8UC3': PixelLayout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    'rgba8': PixelLayout(np.uint8, 4, cv2.COLOR_RGBA2RGB),
    'bgra8': PixelLayout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    '8UC4': PixelLayout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    'mono8': PixelLayout(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    '8UC1': PixelLayout(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    'yuv422': PixelLayout(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY, multiple=2),
    'uyvy': PixelLayout(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY, multiple=2),
    'yuv422_yuy2': PixelLayout(np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2, multiple=2),
    'yuyv': PixelLayout(np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2, multiple=2),
    'bayer_rggb8': PixelLayout(np.uint8, 1, cv2.COLOR_BayerRGGB2RGB),
    'bayer_bggr8': PixelLayout(np.uint8, 1, cv2.COLOR_BayerBGGR2RGB),
    'bayer_gbrg8': PixelLayout(np.uint8, 1, cv2.COLOR_BayerGBRG2RGB),
    'bayer_grbg8': PixelLayout(np.uint8, 1, cv2.COLOR_BayerGRBG2RGB),
    'rgb16': PixelLayout(np.uint16, 3, None),
    'bgr16': PixelLayout(np.uint16, 3, cv2.COLOR_BGR2RGB),
    'mono16': PixelLayout(np.uint16, 1, cv2.COLOR_GRAY2RGB),
    'bayer_rggb16': PixelLayout(np.uint16, 1, cv2.COLOR_BayerRGGB2RGB),
    'bayer_bggr16': PixelLayout(np.uint16, 1, cv2.COLOR_BayerBGGR2RGB),
    'bayer_gbrg16': PixelLayout(np.uint16, 1, cv2.COLOR_BayerGBRG2RGB),
    'bayer_grbg16': PixelLayout(np.uint16, 1, cv2.COLOR_BayerGRBG2RGB),
    'rgba16': PixelLayout(np.uint16, 4, cv2.COLOR_RGBA2RGB),
    'bgra16': PixelLayout(np.uint16, 4, cv2.COLOR_BGRA2RGB),
    '16UC1': PixelLayout(np.uint16, 1, cv2.COLOR_GRAY2RGB),
    '16UC3': PixelLayout(np.uint16, 3, cv2.COLOR_BGR2RGB),
    '16UC4': PixelLayout(np.uint16, 4, cv2.COLOR_BGRA2RGB),
}


class Planes(NamedTuple):
    """
    Plane layout of a planar YUV encoding.

    :param to_rgb: OpenCV's code for the conversion to RGB.
    :param bytes_per_pixel: bytes per pixel of all planes together.
    :param interleaved: whether both chroma channels are in one plane.
    """

    to_rgb: int
    bytes_per_pixel: float = 1.5
    interleaved: bool = True


PLANAR = {
    'nv12': Planes(cv2.COLOR_YUV2RGB_NV12),
    'nv21': Planes(cv2.COLOR_YUV2RGB_NV21),
    'nv24': Planes(cv2.COLOR_YUV2RGB_NV12, bytes_per_pixel=3),
    'nv42': Planes(cv2.COLOR_YUV2RGB_NV21, bytes_per_pixel=3),
    'i420': Planes(cv2.COLOR_YUV2RGB_I420, interleaved=False),
    'yuv420': Planes(cv2.COLOR_YUV2RGB_I420, interleaved=False),
    'yuv420p': Planes(cv2.COLOR_YUV2RGB_I420, interleaved=False),
    'yv12': Planes(cv2.COLOR_YUV2RGB_YV12, interleaved=False),
}
BAYER = re.compile(r'bayer_(rggb|bggr|gbrg|grbg)(8|16)')
COLOR = re.compile(r'(rgb|bgr)a?(8|16);')


def decode(message: Image, bit_depth: BitDepth | None = None,
           max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Decode a raw image to uint8 (H, W, 3) RGB.

    Rows may be padded, and 16-bit pixels may have either byte order.

    :param bit_depth: bit depth of the camera; by default 16-bit pixels use their full range.
    :param max_pixels: limit of the image's pixels.
    :raises MalformedInput: if the encoding is unknown, the sizes are inconsistent, or the image
        cannot be from a camera.
    """
    check_size((message.height, message.width), max_pixels)
    if message.encoding in PLANAR:
        return _decode_planes(message)
    pixels, layout = _pixels(message)
    return np.ascontiguousarray(_to_rgb8(pixels, layout, message.encoding, bit_depth))


def _to_rgb8(pixels: np.ndarray, layout: PixelLayout, encoding: str,
             bit_depth: BitDepth | None) -> np.ndarray:
    """Convert pixels of a layout to uint8 (H, W, 3) RGB."""
    depth = bit_depth or BitDepth(16)
    grey = layout.to_rgb == cv2.COLOR_GRAY2RGB
    sensed = pixels
    if grey and layout.dtype == np.uint16:
        pixels = depth.to_8_bits(pixels)
    if layout.to_rgb is not None:
        try:
            pixels = cv2.cvtColor(pixels, layout.to_rgb)
        except cv2.error as error:
            height, width = pixels.shape[:2]
            raise MalformedInput(
                'image size', f'OpenCV cannot convert a {width}x{height} image in {encoding} into '
                              f'RGB: {error.err}') from error
    return pixels if pixels.dtype == np.uint8 else depth.to_8_bits(pixels, sensed)


def _decode_planes(message: Image) -> np.ndarray:
    """
    Decode a YUV 4:2:0 image, or a 4:4:4 image in two planes, to RGB.

    `step` is that of the luma plane; or, if step x height is the whole length, that of all planes
    together, without padding.
    """
    height, width, step = message.height, message.width, message.step
    planes = PLANAR[message.encoding]
    if height % 2 or width % 2:
        raise MalformedInput(
            'image size', f'got {width}x{height} pixels in {message.encoding}, expected multiples '
            'of 2')
    length = len(message.data)
    if step == width * planes.bytes_per_pixel and length == step * height:
        step = width
    if step < width:
        raise MalformedInput(
            'step', f'got rows of {step} bytes (step), expected at least {width} for {width} '
            f'columns in {message.encoding}')
    expected = int(step * height * planes.bytes_per_pixel)
    if length != expected or step % 2:
        raise MalformedInput(
            'data length', f'got {length} bytes of image data with rows of {step} bytes, expected '
                           f'{expected} for {height} rows in {message.encoding}, and an even '
                           'number of bytes per row')
    data = np.frombuffer(message.data, np.uint8)
    brightness = data[:height * step].reshape(height, step)[:, :width]
    colors = data[height * step:]
    if planes.bytes_per_pixel == 3:  # OpenCV supports only half-size chroma
        colors = colors.reshape(height, step, 2)[:, :width]
        colors = cv2.resize(colors, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    elif planes.interleaved:
        colors = colors.reshape(height // 2, step)[:, :width]
    else:
        colors = colors.reshape(height, step // 2)[:, :width // 2]
    whole = np.concatenate([brightness.reshape(-1), colors.reshape(-1)])
    return cv2.cvtColor(whole.reshape(height * 3 // 2, width), planes.to_rgb)


def decompress(message: CompressedImage, bit_depth: BitDepth | None = None,
               max_pixels: int = MAX_PIXELS, header: ImageHeader | None = None) -> np.ndarray:
    """
    Decode a compressed image to uint8 (H, W, 3) RGB.

    image_transport's `format` takes precedence over the file's own format: a Bayer mosaic
    (bayer_*) is stored as a grey image, and colours that were not compressed as bgr8 or bgr16 have
    red and blue swapped.

    :param bit_depth: bit depth of the camera; by default 16-bit pixels use their full range.
    :param max_pixels: limit of the image's pixels.
    :param header: result of `compressed_header` if it was already called.
    :raises MalformedInput: if it is not a complete JPEG or PNG, or cannot be from a camera.
    """
    header = header or compressed_header(message, max_pixels)
    try:
        # the orientation tag is ignored, since camera_info describes the pixels as stored
        stored = decode_image(np.frombuffer(message.data, np.uint8), max_pixels, header)
    except MalformedInput as error:
        raise MalformedInput(
            error.reason, f'{len(message.data)} bytes with format {message.format!r:.60}: {error}'
            ) from error
    bayer = BAYER.match(message.format)
    if bayer and stored.ndim == 2:
        encoding = f'bayer_{bayer[1]}{8 * stored.itemsize}'
        return _to_rgb8(stored, LAYOUTS[encoding], encoding, bit_depth)
    rgb = to_rgb8(stored, bit_depth)
    if stored.ndim == 3 and COLOR.match(message.format) and 'compressed bgr' not in message.format:
        return cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB)
    return rgb


def compressed_header(message: CompressedImage, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """
    Return the header of a compressed image without decoding it.

    :raises MalformedInput: if it is not a JPEG or PNG, cannot be from a camera, or has too few
        bytes.
    """
    header = read_header(bytes(message.data))
    if header is None:
        raise MalformedInput(
            'compressed data', f'cannot read {len(message.data)} bytes of a compressed image with '
            f'format {message.format!r:.60}, expected JPEG or PNG')
    check_header(header, len(message.data), max_pixels)
    return header


def _pixels(message: Image) -> tuple[np.ndarray, PixelLayout]:
    """Return a view of a raw image's pixels (H, W[, C]) in native byte order, and its layout."""
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        raise MalformedInput(
            'encoding', f'unknown image encoding {message.encoding!r:.60}, expected one of '
            f'{", ".join([*LAYOUTS, *PLANAR])}')
    return pixels_of(message, layout), layout


def pixels_of(message: Image, layout: PixelLayout) -> np.ndarray:
    """
    Return a view of a raw image's pixels, (H, W) or (H, W, C), in native byte order.

    :raises MalformedInput: if its sizes are inconsistent.
    """
    height, width, step = message.height, message.width, message.step
    if width % layout.multiple:
        raise MalformedInput(
            'image size', f'got {width} columns in {message.encoding}, expected a multiple of '
            f'{layout.multiple}')
    dtype = np.dtype(layout.dtype).newbyteorder('>' if message.is_bigendian else '<')
    row = width * layout.channels * dtype.itemsize
    if step < row:
        raise MalformedInput(
            'step', f'got rows of {step} bytes (step), expected at least {row} for {width} '
            f'columns in {message.encoding}')
    if len(message.data) != step * height:
        raise MalformedInput(
            'data length', f'got {len(message.data)} bytes of image data, expected step x height '
            f'= {step} x {height} = {step * height}')
    shape, strides = (height, width), (step, layout.channels * dtype.itemsize)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, dtype.itemsize)
    view = np.ndarray(shape, dtype, message.data, strides=strides)
    if step % dtype.itemsize:
        view = view.copy()  # OpenCV rejects rows with unaligned starts
    return view.astype(layout.dtype, copy=False)
