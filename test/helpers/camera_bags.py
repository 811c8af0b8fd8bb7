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


"""Small bags of one camera, of messages that rclpy made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.chunks import ChunkedBag
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message

SECOND = 10 ** 9
START = 100 * SECOND
PERIOD = SECOND // 10
SIZE = (24, 32)
KINDS = {Image: rosbag2.IMAGE_TYPE, CompressedImage: rosbag2.COMPRESSED_IMAGE,
         CameraInfo: rosbag2.CAMERA_INFO_TYPE, String: 'std_msgs/msg/String'}


def header(stamp: int, frame_id: str = 'cam') -> Header:
    """Make a header."""
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = divmod(stamp, SECOND)
    return made


def image(index: int, size: tuple[int, int] = SIZE, encoding: str = 'rgb8') -> Image:
    """Make the image of a number, taken a tenth of a second after the one before."""
    random = np.random.default_rng(index)
    channels = (3,) if encoding == 'rgb8' else ()
    pixels = random.integers(0, 256, (*size, *channels), np.uint8)
    pixels[0, 0] = index % 256
    return image_message(pixels, header(START + index * PERIOD), encoding)


def compressed(index: int) -> CompressedImage:
    """Make the same image as a PNG."""
    pixels = np.frombuffer(image(index).data, np.uint8).reshape(*SIZE, 3)
    data = cv2.imencode('.png', pixels[..., ::-1])[1].tobytes()
    return CompressedImage(header=image(index).header, format='png', data=data)


def info(index: int, size: tuple[int, int] = SIZE, focal: float = 30.0) -> CameraInfo:
    """Make the calibration of the image of a number."""
    made = pinhole_camera_info(np.array([[focal, 0, 16], [0, focal, 12], [0, 0, 1]]), size)
    made.header = header(START + index * PERIOD)
    return made


def write_bag(folder: Path, messages: Iterable[tuple[str, int, Any]],
              storage: str = 'mcap') -> Path:
    """
    Write a bag.

    :param messages: topic, time of recording, and message, or bytes for an image that is none.
    """
    store = rosbag2.typestore()
    messages = list(messages)
    kinds = {topic: KINDS[type(message)] for topic, _, message in messages
             if not isinstance(message, bytes)}
    with rosbag2.BagWriter(folder, storage) as bag:
        connections = {
            topic: bag.add_topic(topic, kind, rosbag2.qos(), store)
            for topic, kind in kinds.items()}
        for topic, time, message in messages:
            data = message if isinstance(message, bytes) else serialize_message(message)
            bag.write(connections[topic], time, data)
    return folder


def camera_messages(frames: int, gap: int = PERIOD) -> list[tuple[str, int, Any]]:
    """Make the messages of a camera, and a word between its frames."""
    messages = []
    for index in range(frames):
        time = START + index * gap
        messages += [('/cam/camera_info', time, info(index)), ('/cam/image', time, image(index)),
                     ('/word', time + gap // 2, String(data=f'after {index}'))]
    return messages


def split_bag(folder: Path, storage: str = 'mcap', files: int = 3) -> Path:
    """Write a bag of several files, each with the messages of two images."""
    messages = camera_messages(2 * files)
    chunked = ChunkedBag(folder, storage, {})
    for index in range(files):
        with chunked.chunk({}) as part:
            topics = {topic: part.add_topic(topic, KINDS[type(message)], rosbag2.qos(),
                                            rosbag2.typestore())
                      for topic, _, message in messages[:3]}
            for topic, time, message in messages[6 * index:6 * index + 6]:
                part.write(topics[topic], time, serialize_message(message))
    chunked.finish({})
    return folder


def cut(path: Path) -> None:
    """Leave half of a file, as a recorder does that was killed."""
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def write_calibration(path: Path) -> None:
    """Write the calibration of the bags' camera as camera_calibration does."""
    numbers = {'camera_matrix': [30, 0, 16, 0, 30, 12, 0, 0, 1],
               'distortion_coefficients': [0] * 5,
               'rectification_matrix': [1, 0, 0, 0, 1, 0, 0, 0, 1],
               'projection_matrix': [30, 0, 16, 0, 0, 30, 12, 0, 0, 0, 1, 0]}
    path.write_text(
        'image_width: 32\nimage_height: 24\ndistortion_model: plumb_bob\n'
        + ''.join(f'{name}: {{data: {data}}}\n' for name, data in numbers.items()))
