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

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from sync_perception.bit_depth import BitDepth
from sync_perception.geometry import crop_intrinsics, resize_intrinsics
from sync_perception.image_headers import MAX_PIXELS
from sync_perception.labels import VOID
from sync_perception.ros.image_messages import compressed_header, decode, decompress
from sync_perception.runtime.pointcloud import POINT, SEMANTIC_POINT
from sync_perception.types import Frame, MalformedInput

FOCAL_RANGE = (1e-2, 1e7)
"""Pixels; no lens is beyond, and single precision still holds the viewing rays."""

MAX_NAME = 255
"""Characters of a frame_id, which every output carries; the longest in use have some 100."""
MAX_COEFFICIENTS = 64
"""Of a distortion model; OpenCV's largest has 14."""

# the colours are PCL's: four bytes that call themselves a float
POINT_FIELD_TYPES = {
    'x': PointField.FLOAT32, 'y': PointField.FLOAT32, 'z': PointField.FLOAT32,
    'rgb': PointField.FLOAT32, 'label': PointField.UINT32, 'confidence': PointField.FLOAT32,
    'semantic_color': PointField.FLOAT32}


def stamp_nanoseconds(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def to_frame(image: Image | CompressedImage, camera_info: CameraInfo,
             bit_depth: BitDepth | None = None, max_pixels: int = MAX_PIXELS) -> Frame:
    """
    Turn a camera's messages into the packet that the runtime works on.

    :param image: raw in one of `LAYOUTS` or `PLANAR`, or compressed as JPEG or PNG.
    :param camera_info: the calibration that belongs to this image.
    :param bit_depth: of this camera; by default 16-bit pixels use their full range.
    :param max_pixels: larger images are refused.
    :raises MalformedInput: if one of them cannot be interpreted, or they do not fit together.
    """
    check_frame_id(image.header)
    if isinstance(image, CompressedImage):
        # what does not fit is not decoded
        header = compressed_header(image, max_pixels)
        intrinsics(camera_info, header.size)
        rgb = decompress(image, bit_depth, max_pixels, header)
    else:
        rgb = decode(image, bit_depth, max_pixels)
    return Frame(
        image=rgb,
        K=intrinsics(camera_info, rgb.shape[:2]),
        stamp=stamp_nanoseconds(image.header),
        frame_id=image.header.frame_id)


def check_frame_id(header: Header) -> None:
    """
    Refuse a header whose frame_id cannot be a frame's name.

    :raises MalformedInput: if it is too long.
    """
    if len(header.frame_id) > MAX_NAME:
        raise MalformedInput(
            'frame_id', f'got a frame_id of {len(header.frame_id)} characters that begins with '
            f'{header.frame_id[:40]!r}, expected at most {MAX_NAME}')


def check_length(camera_info: CameraInfo) -> None:
    """
    Refuse a calibration that is too long to be kept, since many of them are.

    :raises MalformedInput: if a string or the distortion coefficients are too long.
    """
    check_frame_id(camera_info.header)
    if len(camera_info.distortion_model) > MAX_NAME or len(camera_info.d) > MAX_COEFFICIENTS:
        raise MalformedInput(
            'camera_info values', f'got a camera_info whose distortion_model has '
            f'{len(camera_info.distortion_model)} characters and whose D has '
            f'{len(camera_info.d)} numbers, expected at most {MAX_NAME} and {MAX_COEFFICIENTS}')


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
