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


"""Subscriber to all topics that counts messages, and stores some frames for pictures."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import struct
import time

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String
from sync_perception.images.frame_times import SECOND
from sync_perception.images.reading import write_image
from sync_perception.labels import FLAGS, LabelSpace
from sync_perception.ros.core import qos
from sync_perception.ros.io.conversions import to_frame
from sync_perception.ros.node.outputs import OUTPUTS
from sync_perception.ros.tools.topic_progress import Progress
from sync_perception.runtime.pictures import visualize
from sync_perception.runtime.pointcloud import POINT
from sync_perception.types import Frame, Prediction

IMAGE = 'image'
CAMERA_INFO = 'sync/camera_info'
IMAGE_DEPTH = 100  # queue depth that counts every image, even while this process is delayed
KEPT_IMAGES = 30  # an image is answered well before it is this many frames old
MESSAGE_TYPES = {IMAGE: Image, **{output.topic: output.message_type for output in OUTPUTS}}


class Album:
    """
    Store of all messages of some frames, spread evenly over a drive.

    :param expected: number of expected images.
    :param size: number of frames to store.
    """

    def __init__(self, expected: int, size: int):
        self.expected, self.size = expected, size
        self.seen = 0
        self.latest: dict[int, bytes] = {}
        self.frames: dict[int, dict[str, bytes]] = {}
        self.camera_info: bytes | None = None

    def add(self, topic: str, stamp: int, message: bytes) -> None:
        """
        Add a message if it belongs to a stored frame.

        :param topic: topic of the message. An image waits for its output on the first of OUTPUTS.
        :param stamp: stamp in the header, nanoseconds.
        """
        if topic == CAMERA_INFO:  # any one will do, as there is only one camera
            self.camera_info = message
            return
        if topic == IMAGE:
            self.seen += 1
            self.latest[stamp] = message
            if len(self.latest) > KEPT_IMAGES:
                self.latest.pop(next(iter(self.latest)))
            return
        due = len(self.frames) < min(self.size, self.seen * self.size / self.expected)
        if due and topic == OUTPUTS[0].topic and stamp in self.latest:
            self.frames[stamp] = {IMAGE: self.latest[stamp]}
        if stamp in self.frames:
            self.frames[stamp][topic] = message

    def complete(self) -> list[dict[str, bytes]]:
        """Return the frames with complete messages, oldest first."""
        if self.camera_info is None:
            return []
        return [{**messages, CAMERA_INFO: self.camera_info}
                for _, messages in sorted(self.frames.items())
                if messages.keys() | {CAMERA_INFO} == MESSAGE_TYPES.keys()]


class Watcher:
    """
    Subscriber to all topics that counts messages and stores some frames for pictures.

    Messages stay serialized until they are drawn, since deserializing 20 MB per frame in Python
    would take processor time from the measured node.
    """

    def __init__(self):
        self.label_space: LabelSpace | None = None
        self.begin(expected=1, pictures=0)
        self.node = rclpy.create_node('demo')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.node.create_subscription(
            String, 'sync/label_space', self._receive_label_space, qos.latched())
        for topic, kind in MESSAGE_TYPES.items():
            profile = qos.output()
            if topic == IMAGE:
                profile.depth = IMAGE_DEPTH
            self.node.create_subscription(
                kind, topic, self._receiver(topic), profile, raw=True)

    def begin(self, expected: int, pictures: int) -> None:
        """
        Reset the counts and the stored frames.

        :param expected: number of expected images.
        :param pictures: number of frames to store.
        """
        self.progress = Progress(IMAGE, [output.topic for output in OUTPUTS])
        self.album = Album(expected, pictures)

    def spin(self, seconds: float) -> None:
        """Receive messages for some seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def close(self) -> None:
        """Destroy the node."""
        self.executor.shutdown()
        self.node.destroy_node()

    def _receiver(self, topic: str) -> Callable[[bytes], None]:
        def receive(message: bytes) -> None:
            stamp = stamp_of(message)
            self.progress.record(topic, stamp, time.monotonic())
            self.album.add(topic, stamp, message)
        return receive

    def _receive_label_space(self, message: String) -> None:
        self.label_space = read_label_space(message.data)


def stamp_of(message: bytes) -> int:
    """
    Return the stamp of a serialized message that begins with a std_msgs/Header.

    :param message: CDR: four bytes with the byte order, then int32 seconds and uint32 nanoseconds
        (DDSI-RTPS 2.5, chapter 10).
    :return: nanoseconds.
    """
    seconds, nanoseconds = struct.unpack_from('<iI' if message[1] & 1 else '>iI', message, 4)
    return seconds * SECOND + nanoseconds


def read_label_space(text: str) -> LabelSpace:
    """Return the label space from a message on sync/label_space."""
    description = json.loads(text)
    classes = [{key: entry[key] for key in ('name', 'color', *FLAGS)}
               for entry in description['classes']]
    return LabelSpace.from_dict({'name': description['name'], 'classes': classes})


def read_bundle(bundle: dict[str, Image | CameraInfo | PointCloud2]) -> tuple[Frame, Prediction]:
    """
    Return the frame and the prediction in the messages of one frame.

    :param bundle: messages by topic; depth is 32FC1 and labels are mono8, the node's defaults.
    """
    frame = to_frame(bundle[IMAGE], bundle[CAMERA_INFO])
    depth = np.frombuffer(bundle['sync/depth'].data, np.float32).reshape(frame.size)
    labels = np.frombuffer(bundle['sync/semantics'].data, np.uint8).reshape(frame.size)
    return frame, Prediction(depth=depth, labels=labels)


def draw_cloud(cloud: PointCloud2, frame: Frame, labels: np.ndarray,
               space: LabelSpace) -> np.ndarray:
    """Return a picture of an organized cloud message, coloured by labels: uint8 RGB."""
    points = np.frombuffer(cloud.data, POINT).reshape(cloud.height, cloud.width)
    xyz = np.stack([points[axis] for axis in 'xyz'], axis=-1)
    return visualize.render_cloud(xyz, visualize.shaded_labels(frame.image, labels, space))


def write_pictures(watcher: Watcher, folder: Path) -> list[str]:
    """Write a panel and a view of the cloud of every stored frame; return the file names."""
    names: list[str] = []
    for number, messages in enumerate(watcher.album.complete()):
        bundle = {topic: deserialize_message(message, MESSAGE_TYPES[topic])
                  for topic, message in messages.items()}
        frame, prediction = read_bundle(bundle)
        space = watcher.label_space
        for name, picture in (
                ('panel', visualize.prediction_panel(frame, prediction, space)),
                ('cloud', draw_cloud(
                    bundle['sync/points'], frame, prediction.labels, space))):
            names.append(f'{name}_{number:02}.png')
            write_image(folder / names[-1], cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return names
