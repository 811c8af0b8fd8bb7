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

"""Camera of `bench --ros`, which sends images to the measured nodes on request."""

from __future__ import annotations

from itertools import cycle
import json
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from sync_perception.kitti.drive import KittiDrive
from sync_perception.ros.core import qos
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message, stamp_nanoseconds
from sync_perception.runtime.benchmark.bench_frames import BenchFrames, intrinsics_like_kitti

FRAME_ID = 'camera_optical_frame'
TURN, SENT = 'bench/turn', 'bench/sent'


class BenchCamera(Node):
    """
    Camera that sends its pictures to the requested subjects.

    It receives orders on `bench/turn` as JSON: `turn`, a number; `subjects`, a list of namespaces,
    which all get an image with the same stamp; `frames`. After an order is completed, it publishes
    `turn` and the `stamps` of its images in nanoseconds on `bench/sent`. A stamp is the time just
    before the image is published to the first subject.

    :raises ValueError: if the file in the parameter `image` cannot be read.
    """

    def __init__(self, **node_arguments: Any):
        super().__init__('bench_camera', **node_arguments)
        values = {
            name: self.declare_parameter(name, default).value for name, default in (
                ('subjects', ['copy']), ('rate', 5.0), ('width', 1242), ('height', 375),
                ('image', ''))}
        images, self.camera_info = bench_images(
            (values['height'], values['width']), values['image'])
        self.images = [image_message(image, Header(), 'bgr8') for image in images]
        self.publishers_of = {
            subject: (self.create_publisher(CameraInfo, f'{subject}/camera_info', qos.output()),
                      self.create_publisher(Image, f'{subject}/image', qos.output()))
            for subject in values['subjects']}
        self.order: dict[str, Any] = {}
        self.stamps: list[int] = []
        self.sent_publisher = self.create_publisher(String, SENT, qos.latched())
        self.create_subscription(String, TURN, self._begin, qos.latched())
        self.timer = self.create_timer(1 / values['rate'], self._tick, autostart=False)

    def close(self) -> None:
        """Stop sending."""
        self.timer.cancel()

    def _begin(self, message: String) -> None:
        self.order, self.stamps = json.loads(message.data), []
        self.upcoming = cycle(self.images)
        self.timer.reset()

    def _tick(self) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)
        image = next(self.upcoming)
        self.camera_info.header = image.header = header
        for subject in self.order['subjects']:
            info_publisher, image_publisher = self.publishers_of[subject]
            info_publisher.publish(self.camera_info)
            image_publisher.publish(image)
        self.stamps.append(stamp_nanoseconds(header))
        if len(self.stamps) == self.order['frames']:
            self.timer.cancel()
            self.sent_publisher.publish(String(data=json.dumps(
                {'turn': self.order['turn'], 'stamps': self.stamps})))


def bench_images(size: tuple[int, int], path: str = '') -> tuple[list[np.ndarray], CameraInfo]:
    """
    Return the camera's pictures, each uint8 (H, W, 3) in BGR, and their calibration.

    :param size: height and width of a single picture, pixels.
    :param path: photograph to use, resized; a KITTI drive for all its images as they are; empty
        for a synthetic street image.
    :raises ValueError: if there is no such image or drive.
    """
    if path and Path(path).is_dir():
        drive = KittiDrive(path)
        images = [drive.image(index) for index in range(len(drive))]
        return [bgr(image) for image in images], pinhole_camera_info(drive.K, images[0].shape[:2])
    picture = BenchFrames(size=size, image=path).picture()
    return [bgr(picture)], pinhole_camera_info(intrinsics_like_kitti(size), size)


def bgr(rgb: np.ndarray) -> np.ndarray:
    """Return a picture with the channels in the order of bgr8."""
    return np.ascontiguousarray(rgb[..., ::-1])
