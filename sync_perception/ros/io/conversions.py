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
what the package works on (rgb8 without padding). Messages are made with check_fields, since only
then an array that is assigned to `data` is kept; otherwise it is copied once more.
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
from sync_perception.images.headers import MAX_PIXELS
from sync_perception.labels import VOID
from sync_perception.ros.core.buffers import Buffers
from sync_perception.ros.io.calibration_messages import calibration_of
from sync_perception.ros.io.image_messages import compressed_header, decode, decompress
from sync_perception.runtime.pointcloud import POINT, SEMANTIC_POINT
from sync_perception.types import Frame, MalformedInput

MAX_NAME = 255
"""Characters of a frame_id, which every output carries; the longest in use have some 100."""
MAX_COEFFICIENTS = 64
"""Of a distortion model; OpenCV's largest has 14."""
MAX_MILLIMETRES = float(np.nextafter(np.float32(65535.5), np.float32(0)))
"""The largest float32 that is rounded to a uint16."""
BUFFERS = Buffers()

# the colours are PCL's: four bytes that call themselves a float
POINT_FIELD_TYPES = {
    'x': PointField.FLOAT32, 'y': PointField.FLOAT32, 'z': PointField.FLOAT32,
    'rgb': PointField.FLOAT32, 'label': PointField.UINT32, 'confidence': PointField.FLOAT32,
    'semantic_color': PointField.FLOAT32}


def stamp_nanoseconds(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def to_frame(image: Image | CompressedImage, camera_info: CameraInfo,
             bit_depth: BitDepth | None = None, max_pixels: int = MAX_PIXELS,
             rectifier: Rectifier | None = None) -> Frame:
    """
    Turn a camera's messages into the packet that the runtime works on.

    :param image: raw in one of `LAYOUTS` or `PLANAR`, or compressed as JPEG or PNG.
    :param camera_info: the calibration that belongs to this image.
    :param bit_depth: of this camera; by default 16-bit pixels use their full range.
    :param max_pixels: larger images are refused.
    :param rectifier: of this camera; None for images that are rectified already.
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
    frame = Frame(
        image=rgb,
        K=intrinsics(camera_info, rgb.shape[:2]),
        stamp=stamp_nanoseconds(image.header),
        frame_id=image.header.frame_id)
    return frame if rectifier is None else rectifier(frame, calibration_of(camera_info))


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
    Return the intrinsics of the rectified image that belongs to a CameraInfo.

    They are the left 3x3 of P, and K only where P is not set. The region of interest and the
    binning are applied; they are stated in pixels of the full resolution.

    :param camera_info: the camera's calibration.
    :param size: the image's height and width, in pixels.
    :return: float64 (3, 3), pixels of the image.
    :raises MalformedInput: if it belongs to an image of another size, contradicts itself, or has
        no focal length.
    """
    calibration = calibration_of(camera_info)
    calibration.check_size(size)
    return calibration.intrinsics


def image_message(pixels: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Make an image message of an array.

    :param pixels: (H, W) or (H, W, C), with the type and the channels that the encoding says.
    :param header: becomes the message's header.
    :param encoding: one of sensor_msgs' names.
    """
    height, width = pixels.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding=encoding,
        is_bigendian=sys.byteorder == 'big', step=pixels.nbytes // height, check_fields=True)
    message.data = _bytes_of(pixels)
    return message


def depth_message(depth: np.ndarray, header: Header, encoding: str) -> Image:
    """
    Make a depth image as REP 118 has it.

    :param depth: float32 (H, W), metres along z, NaN invalid.
    :param encoding: 32FC1 (metres, NaN invalid) or 16UC1 (millimetres, 0 invalid: also what is
        beyond 65.535 m and does not fit).
    """
    if encoding == '16UC1':
        # in float32: 65535.5, which would be rounded to 65536, and more become 0
        millimetres = depth * np.float32(1000)
        cv2.threshold(millimetres, MAX_MILLIMETRES, 0, cv2.THRESH_TOZERO_INV, dst=millimetres)
        # rounds; what is negative or not a number becomes 0, too
        depth = cv2.addWeighted(millimetres, 1, millimetres, 0, 0, dtype=cv2.CV_16U)
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
    message.data = array.array('B')  # of another length each time
    message.data.frombytes(memoryview(np.ascontiguousarray(cloud).reshape(-1).view(np.uint8)))
    return message


def writable_cloud(size: tuple[int, int], header: Header,
                   semantic_color: bool = False) -> tuple[PointCloud2, np.ndarray]:
    """
    Make a message whose organized cloud is still to be written, which saves a copy of it.

    :param size: height and width of the cloud.
    :param semantic_color: whether its points will be `SEMANTIC_POINT`.
    :return: the message, and its data as writable bytes that hold anything.
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
    # into the array's memory; array('B', values) would walk every byte in Python
    data = BUFFERS.take(values.nbytes)
    np.frombuffer(data, values.dtype).reshape(values.shape)[...] = values
    return data
