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
Conversion between ROS messages and the package's data types, as pure functions.

Pixels are copied at most once in either direction, and not at all if the camera sends rgb8 without
padding. Messages are created with check_fields, since only then an array assigned to `data` is not
copied again.
"""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from sync_perception.calibration.rectification import Rectifier
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.frame_times import SECOND
from sync_perception.images.headers import MAX_PIXELS
from sync_perception.labels import VOID
from sync_perception.ros.core.buffers import Buffers
from sync_perception.ros.io.calibration_messages import calibration_of
from sync_perception.ros.io.image_messages import compressed_header, decode, decompress
from sync_perception.runtime.pointcloud import POINT, SEMANTIC_POINT
from sync_perception.types import Frame, MalformedInput

MAX_NAME = 255
"""Limit in characters of a frame_id, which every output contains; usual ones have up to 100."""
MAX_COEFFICIENTS = 64
"""Limit of the number of distortion coefficients; OpenCV's largest model has 14."""
MAX_MILLIMETRES = float(np.nextafter(np.float32(65535.5), np.float32(0)))
"""Largest float32 that rounds to a uint16."""
BUFFERS = Buffers()

# colours follow PCL: four bytes declared as a float
POINT_FIELD_TYPES = {
    'x': PointField.FLOAT32, 'y': PointField.FLOAT32, 'z': PointField.FLOAT32,
    'rgb': PointField.FLOAT32, 'label': PointField.UINT32, 'confidence': PointField.FLOAT32,
    'semantic_color': PointField.FLOAT32}


def stamp_nanoseconds(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return header.stamp.sec * SECOND + header.stamp.nanosec


def to_frame(image: Image | CompressedImage, camera_info: CameraInfo,
             bit_depth: BitDepth | None = None, max_pixels: int = MAX_PIXELS,
             rectifier: Rectifier | None = None) -> Frame:
    """
    Convert a camera's messages to a frame.

    :param image: raw in one of `LAYOUTS` or `PLANAR`, or compressed as JPEG or PNG.
    :param camera_info: the calibration of this image.
    :param bit_depth: bit depth of the camera; by default 16-bit pixels use their full range.
    :param max_pixels: limit of the image's pixels.
    :param rectifier: rectifier of the camera; None for rectified images.
    :raises MalformedInput: if a message is malformed, or the messages do not match.
    """
    check_frame_id(image.header)
    if isinstance(image, CompressedImage):
        # the header is checked first, so that mismatching images are not decoded
        header = compressed_header(image, max_pixels)
        rectified_intrinsics(camera_info, header.size)
        rgb = decompress(image, bit_depth, max_pixels, header)
    else:
        rgb = decode(image, bit_depth, max_pixels)
    frame = Frame(
        image=rgb,
        K=rectified_intrinsics(camera_info, rgb.shape[:2]),
        stamp=stamp_nanoseconds(image.header),
        frame_id=image.header.frame_id)
    return frame if rectifier is None else rectifier(frame, calibration_of(camera_info))


def check_frame_id(header: Header) -> None:
    """
    Check the frame_id of a header.

    :raises MalformedInput: if it is too long.
    """
    if len(header.frame_id) > MAX_NAME:
        raise MalformedInput(
            'frame_id', f'got a frame_id of {len(header.frame_id)} characters that begins with '
            f'{header.frame_id[:40]!r}, expected at most {MAX_NAME}')


def check_length(camera_info: CameraInfo) -> None:
    """
    Check the length of a calibration, since many of them are cached.

    :raises MalformedInput: if a string or the distortion coefficients are too long.
    """
    check_frame_id(camera_info.header)
    if len(camera_info.distortion_model) > MAX_NAME or len(camera_info.d) > MAX_COEFFICIENTS:
        raise MalformedInput(
            'camera_info values', f'got a camera_info whose distortion_model has '
            f'{len(camera_info.distortion_model)} characters and whose D has '
            f'{len(camera_info.d)} numbers, expected at most {MAX_NAME} and {MAX_COEFFICIENTS}')


def rectified_intrinsics(camera_info: CameraInfo, size: tuple[int, int]) -> np.ndarray:
    """
    Return the intrinsics of the rectified image from a CameraInfo.

    They are the left 3x3 of P, or K if P is not set, converted from the full resolution by the
    region of interest and the binning.

    :param camera_info: the camera's calibration.
    :param size: the image's height and width, in pixels.
    :return: float64 (3, 3), pixels of the image.
    :raises MalformedInput: if it is for an image of another size, its values contradict each
        other, or it has no focal length.
    """
    calibration = calibration_of(camera_info)
    calibration.check_size(size)
    return calibration.intrinsics


def image_message(pixels: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Return an array as an image message.

    :param pixels: (H, W) or (H, W, C), with the dtype and the channels of the encoding.
    :param header: header of the message.
    :param encoding: name of an encoding in sensor_msgs.
    """
    height, width = pixels.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding=encoding,
        is_bigendian=sys.byteorder == 'big', step=pixels.nbytes // height, check_fields=True)
    message.data = _bytes_of(pixels)
    return message


def depth_message(depth: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Return a depth image as specified by REP 118.

    :param depth: float32 (H, W), metres along z, NaN invalid.
    :param encoding: 32FC1 (metres, NaN invalid) or 16UC1 (millimetres, 0 invalid; depth beyond
        65.535 m also becomes 0).
    """
    if encoding == '16UC1':
        # in float32; values from 65535.5 on, which round to 65536 or more, become 0
        millimetres = depth * np.float32(1000)
        cv2.threshold(millimetres, MAX_MILLIMETRES, 0, cv2.THRESH_TOZERO_INV, dst=millimetres)
        # rounds; negative values and NaN become 0, too
        depth = cv2.addWeighted(millimetres, 1, millimetres, 0, 0, dtype=cv2.CV_16U)
    return image_message(depth, header, encoding)


def labels_message(labels: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Return an image message of label ids.

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
    Return a cloud as a message.

    :param cloud: `POINT` or `SEMANTIC_POINT`, (H, W) for an organized cloud, which may contain
        NaN, or (N,) for a list of valid points.
    """
    height, width = cloud.shape if cloud.ndim == 2 else (1, len(cloud))
    message = _empty_cloud(height, width, header, cloud.dtype)
    message.is_dense = cloud.ndim == 1
    message.data = array.array('B')  # not pooled, since its length varies
    message.data.frombytes(memoryview(np.ascontiguousarray(cloud).reshape(-1).view(np.uint8)))
    return message


def writable_cloud(size: tuple[int, int], header: Header,
                   semantic_color: bool = False) -> tuple[PointCloud2, np.ndarray]:
    """
    Return a message with an uninitialised organized cloud; writing into it saves a copy.

    :param size: height and width of the cloud.
    :param semantic_color: whether its points are `SEMANTIC_POINT`.
    :return: the message, and its data as writable, uninitialised bytes.
    """
    message = _empty_cloud(*size, header, SEMANTIC_POINT if semantic_color else POINT)
    message.data = BUFFERS.take(message.row_step * message.height)
    return message, np.frombuffer(message.data, np.uint8)


def _empty_cloud(height: int, width: int, header: Header, dtype: np.dtype) -> PointCloud2:
    fields = [
        PointField(
            name=name, offset=dtype.fields[name][1], datatype=POINT_FIELD_TYPES[name], count=1)
        for name in dtype.names]
    return PointCloud2(
        header=header, height=height, width=width, fields=fields,
        is_bigendian=False, point_step=dtype.itemsize, row_step=dtype.itemsize * width,
        is_dense=False, check_fields=True)


def _bytes_of(values: np.ndarray) -> array.array:
    # copied into the array's memory; array('B', values) would iterate over bytes in Python
    data = BUFFERS.take(values.nbytes)
    np.frombuffer(data, values.dtype).reshape(values.shape)[...] = values
    return data
