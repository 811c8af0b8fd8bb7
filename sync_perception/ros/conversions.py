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


"""
Messages in, packets out; packets in, messages out. Everything here is a pure function.

Pixels are copied at most once in either direction, and not at all where the camera already sends
what the package works on (rgb8 without padding).
"""

from __future__ import annotations

import array
import sys
from typing import NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from sync_perception.geometry import crop_intrinsics, resize_intrinsics
from sync_perception.labels import VOID
from sync_perception.ros.encoded_size import encoded_size
from sync_perception.runtime.pointcloud import POINT, SEMANTIC_POINT
from sync_perception.types import Frame

MAX_PIXELS = 2**26
"""Of a compressed image: a few hundred bytes can claim pixels that fill any memory."""
FOCAL_RANGE = (1e-2, 1e7)
"""Pixels; no lens is beyond, and single precision still holds the viewing rays."""


class MalformedInput(ValueError):
    """
    A message that cannot be interpreted.

    :param reason: a few words under which such messages are counted.
    :param message: what was got and what was expected.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Layout(NamedTuple):
    """
    How an encoding stores a pixel, and OpenCV's code for turning it into RGB.

    :param multiple: the width must be a multiple of it (chroma shared between pixels).
    """

    dtype: type
    channels: int
    to_rgb: int | None
    multiple: int = 1


# 8UC3 and 8UC4 do not name their channels: blue comes first, as everywhere in OpenCV and cv_bridge
LAYOUTS = {
    'rgb8': Layout(np.uint8, 3, None),
    'bgr8': Layout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    '8UC3': Layout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    'rgba8': Layout(np.uint8, 4, cv2.COLOR_RGBA2RGB),
    'bgra8': Layout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    '8UC4': Layout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    'mono8': Layout(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    '8UC1': Layout(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    'yuv422': Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY, multiple=2),
    'uyvy': Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY, multiple=2),
    'yuv422_yuy2': Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2, multiple=2),
    'yuyv': Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2, multiple=2),
    'bayer_rggb8': Layout(np.uint8, 1, cv2.COLOR_BayerRGGB2RGB),
    'bayer_bggr8': Layout(np.uint8, 1, cv2.COLOR_BayerBGGR2RGB),
    'bayer_gbrg8': Layout(np.uint8, 1, cv2.COLOR_BayerGBRG2RGB),
    'bayer_grbg8': Layout(np.uint8, 1, cv2.COLOR_BayerGRBG2RGB),
    'rgb16': Layout(np.uint16, 3, None),
    'bgr16': Layout(np.uint16, 3, cv2.COLOR_BGR2RGB),
    'mono16': Layout(np.uint16, 1, cv2.COLOR_GRAY2RGB),
    'bayer_rggb16': Layout(np.uint16, 1, cv2.COLOR_BayerRGGB2RGB),
    'bayer_bggr16': Layout(np.uint16, 1, cv2.COLOR_BayerBGGR2RGB),
    'bayer_gbrg16': Layout(np.uint16, 1, cv2.COLOR_BayerGBRG2RGB),
    'bayer_grbg16': Layout(np.uint16, 1, cv2.COLOR_BayerGRBG2RGB),
}

# the colours are PCL's: four bytes that call themselves a float
POINT_FIELD_TYPES = {
    'x': PointField.FLOAT32, 'y': PointField.FLOAT32, 'z': PointField.FLOAT32,
    'rgb': PointField.FLOAT32, 'label': PointField.UINT32, 'confidence': PointField.FLOAT32,
    'semantic_color': PointField.FLOAT32}


def stamp_nanoseconds(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def to_frame(image: Image | CompressedImage, camera_info: CameraInfo) -> Frame:
    """
    Turn a camera's messages into the packet that the runtime works on.

    :param image: raw in one of `LAYOUTS`, or compressed as JPEG or PNG.
    :param camera_info: the calibration that belongs to this image.
    :raises MalformedInput: if one of them cannot be interpreted, or they do not fit together.
    """
    if isinstance(image, CompressedImage):
        intrinsics(camera_info, compressed_size(image))  # what does not fit is not decoded
        rgb = decompress(image)
    else:
        rgb = decode(image)
    return Frame(
        image=rgb,
        K=intrinsics(camera_info, rgb.shape[:2]),
        stamp=stamp_nanoseconds(image.header),
        frame_id=image.header.frame_id)


def decode(message: Image) -> np.ndarray:
    """
    Turn a raw image into uint8 (H, W, 3) RGB.

    Rows may be padded, and 16-bit pixels may have either byte order. 16-bit images are taken to
    use their full range.

    :raises MalformedInput: if the encoding is unknown, or the sizes do not fit together.
    """
    pixels, layout = _pixels(message)
    if layout.to_rgb is not None:
        try:
            pixels = cv2.cvtColor(pixels, layout.to_rgb)
        except cv2.error as error:
            raise MalformedInput(
                'image size', f'OpenCV cannot turn a {message.width}x{message.height} image in '
                f'{message.encoding} into RGB: {error.err}') from error
    if layout.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return np.ascontiguousarray(pixels)


def decompress(message: CompressedImage) -> np.ndarray:
    """
    Turn a compressed image into uint8 (H, W, 3) RGB.

    :raises MalformedInput: if it is no JPEG or PNG, too large, or OpenCV cannot read it.
    """
    compressed_size(message)
    # the orientation tag is ignored: intrinsics belong to the pixels as they were taken
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), flags)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise _unreadable(message)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def compressed_size(message: CompressedImage) -> tuple[int, int]:
    """
    Return the height and width that a compressed image claims; nothing is decoded.

    :raises MalformedInput: if it is no JPEG or PNG, or has more than MAX_PIXELS.
    """
    size = encoded_size(bytes(message.data))
    if size is None:
        raise _unreadable(message)
    if size[0] * size[1] > MAX_PIXELS:
        raise MalformedInput(
            'image size', f'got {len(message.data)} bytes that claim to be {size[1]}x{size[0]} '
            f'pixels, expected at most {MAX_PIXELS / 1e6:.0f} million')
    return size


def _unreadable(message: CompressedImage) -> MalformedInput:
    return MalformedInput(
        'compressed data', f'cannot read {len(message.data)} bytes of a compressed image with '
        f'format {message.format!r:.60}, expected JPEG or PNG')


def _pixels(message: Image) -> tuple[np.ndarray, Layout]:
    """Return a view of a raw image's pixels (H, W[, C]) in native byte order, and its layout."""
    height, width, step = message.height, message.width, message.step
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        raise MalformedInput(
            'encoding', f'unknown image encoding {message.encoding!r:.60}, expected one of '
            f'{", ".join(LAYOUTS)}')
    if height == 0 or width == 0:
        raise MalformedInput(
            'image size', f'got an empty image of {width}x{height} pixels, expected at least 1x1')
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
        view = view.copy()  # OpenCV refuses rows that start within a number
    return view.astype(layout.dtype, copy=False), layout


def intrinsics(camera_info: CameraInfo, size: tuple[int, int]) -> np.ndarray:
    """
    Return the intrinsics of the image that belongs to a CameraInfo.

    The package works on rectified images, so it takes the left 3x3 of P, which by definition are
    the rectified image's intrinsics; K, which belongs to the image as the lens made it, only
    where P is not set. Where there is distortion (D), run the camera through image_proc first.
    The region of interest and the binning are applied; they are stated in pixels of the full
    resolution.

    :param camera_info: the camera's calibration.
    :param size: the image's height and width, in pixels.
    :return: float64 (3, 3), pixels of the image.
    :raises MalformedInput: if it belongs to an image of another size, contradicts itself, or has
        no focal length.
    """
    region, binning = camera_info.roi, (camera_info.binning_y or 1, camera_info.binning_x or 1)
    full = (region.height or camera_info.height, region.width or camera_info.width)
    expected = full[0] // binning[0], full[1] // binning[1]
    if tuple(size) != expected:
        raise MalformedInput(
            'camera_info size', f'got a camera_info for {expected[1]}x{expected[0]} pixels '
            f'({camera_info.width}x{camera_info.height}, region {region.width}x{region.height}, '
            f'binning {binning[1]}x{binning[0]}), expected {size[1]}x{size[0]} as the image has')
    if (region.height and region.y_offset + region.height > camera_info.height
            or region.width and region.x_offset + region.width > camera_info.width):
        raise MalformedInput(
            'camera_info size', f'got a region of {region.width}x{region.height} pixels at '
            f'({region.x_offset}, {region.y_offset}) in camera_info, expected one within its '
            f'{camera_info.width}x{camera_info.height}')
    K, P = camera_info.k.reshape(3, 3), camera_info.p.reshape(3, 4)
    if not (np.isfinite(K).all() and np.isfinite(P).all()):
        raise MalformedInput(
            'camera_info values', f'got a camera_info with K = {K.tolist()} and '
            f'P = {P.tolist()}, expected finite numbers')
    matrix = P[:, :3] if P[0, 0] > 0 else K
    focals = matrix[0, 0], matrix[1, 1]
    if not FOCAL_RANGE[0] <= min(focals) <= max(focals) <= FOCAL_RANGE[1]:
        raise MalformedInput(
            'focal length', f'got the focal lengths {focals[0]} and {focals[1]} in camera_info, '
            f'expected {FOCAL_RANGE[0]:g} to {FOCAL_RANGE[1]:g} pixels: is the camera calibrated?')
    others = matrix[[1, 2, 2, 2], [0, 0, 1, 2]]
    if (others != (0, 0, 0, 1)).any() or np.abs(matrix[:2, 1:]).max() > FOCAL_RANGE[1]:
        raise MalformedInput(
            'camera_info values', f'got the intrinsics {matrix.tolist()} in camera_info, expected '
            '[[fx, skew, cx], [0, fy, cy], [0, 0, 1]] in pixels')
    if full != (camera_info.height, camera_info.width):
        matrix = crop_intrinsics(matrix, region.y_offset, region.x_offset)
    return resize_intrinsics(matrix, full, expected)


def image_message(pixels: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Make an image message of an array.

    :param pixels: (H, W) or (H, W, C), with the type and the channels that the encoding says.
    :param header: becomes the message's header.
    :param encoding: one of sensor_msgs' names.
    """
    height, width = pixels.shape[:2]
    return Image(
        header=header, height=height, width=width, encoding=encoding,
        is_bigendian=sys.byteorder == 'big', step=pixels.nbytes // height,
        data=_bytes_of(pixels))


def depth_message(depth: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Make a depth image as REP 118 has it.

    :param depth: float32 (H, W), metres along z, NaN invalid.
    :param encoding: 32FC1 (metres, NaN invalid) or 16UC1 (millimetres, 0 invalid: also what is
        beyond 65.535 m and does not fit).
    """
    if encoding == '16UC1':
        with np.errstate(invalid='ignore'):
            millimetres = np.rint(depth * np.float32(1000))
            valid = (millimetres > 0) & (millimetres <= 65535)
        depth = np.where(valid, millimetres, 0).astype(np.uint16)
    return image_message(depth, header, encoding)


def labels_message(labels: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Make an image of label ids.

    :param labels: uint8 (H, W), 255 void.
    :param encoding: mono8 (255 void) or 16SC1 (-1 void).
    """
    if encoding == '16SC1':
        void = labels == VOID
        labels = labels.astype(np.int16)
        labels[void] = -1
    return image_message(labels, header, encoding)


def cloud_message(cloud: np.ndarray, header: Header) -> PointCloud2:
    """
    Make a message of a cloud.

    :param cloud: `POINT` or `SEMANTIC_POINT`, (H, W) for an organized cloud, which may have holes
        of NaN, or (N,) for a list of valid points.
    """
    height, width = cloud.shape if cloud.ndim == 2 else (1, len(cloud))
    message = _empty_cloud(height, width, header, cloud.dtype)
    message.is_dense = cloud.ndim == 1
    message.data = _bytes_of(cloud)
    return message


def writable_cloud(size: tuple[int, int], header: Header,
                   semantic_color: bool = False) -> tuple[PointCloud2, np.ndarray]:
    """
    Make a message whose organized cloud is still to be written, which saves a copy of it.

    :param size: height and width of the cloud.
    :param semantic_color: whether its points will be `SEMANTIC_POINT`.
    :return: the message, and its data as zeroed, writable bytes.
    """
    message = _empty_cloud(*size, header, SEMANTIC_POINT if semantic_color else POINT)
    message.data = array.array('B', bytes(1)) * (message.row_step * message.height)
    return message, np.frombuffer(message.data, np.uint8)


def _empty_cloud(height: int, width: int, header: Header, dtype: np.dtype) -> PointCloud2:
    fields = [
        PointField(
            name=name, offset=dtype.fields[name][1], datatype=POINT_FIELD_TYPES[name], count=1)
        for name in dtype.names]
    return PointCloud2(
        header=header, height=height, width=width, fields=fields,
        is_bigendian=False, point_step=dtype.itemsize, row_step=dtype.itemsize * width,
        is_dense=False)


def _bytes_of(values: np.ndarray) -> array.array:
    # array.frombytes copies at memory speed; array('B', values) would walk every byte in Python
    data = array.array('B')
    data.frombytes(memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))
    return data
