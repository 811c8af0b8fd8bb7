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


"""Replay source for bags."""

from __future__ import annotations

from collections.abc import Iterator

from rclpy.logging import get_logger
from sensor_msgs.msg import Image
from sync_perception.images.bit_depth import BitDepth
from sync_perception.ros.bags.camera import BagCamera, PairedImage, Pairing
from sync_perception.ros.bags.rosbag2 import Bag
from sync_perception.ros.io.calibration_messages import read_camera_info
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.io.image_messages import decompress
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.replay.shot import Shot
from sync_perception.types import MalformedInput


class BagShots:
    """
    Images of one camera in a rosbag2 bag, with the recorded stamps and frame_ids.

    Raw images are published as recorded, with any size and encoding; compressed images are
    published as rgb8. Each image has its recorded calibration, or that of the file named in the
    parameters.

    :raises ValueError: if there is no such bag, or the parameters match none of its cameras.
    """

    def __init__(self, parameters: ReplayParameters):
        self.path = parameters.path
        self.loops = parameters.loop
        self.bit_depth = BitDepth(report=get_logger('replay').warning)
        self.camera_info = None
        if parameters.camera_info:
            self.camera_info = read_camera_info(parameters.camera_info)
        with Bag(self.path) as bag:
            self.camera = BagCamera.find(
                bag, parameters.bag_image, parameters.bag_camera_info, self.camera_info is None)
            self.count = bag.counts[self.camera.image]
        self.title = f'{self.camera.image} of bag {self.path}'

    def shots(self, start: int) -> Iterator[Shot]:
        """
        Yield the frames from index `start` on; unreadable frames are skipped.

        :raises ValueError: at the end of the recording, if a part of it could not be read.
        """
        with Bag(self.path) as bag:
            for line in bag.damage.values():
                get_logger('replay').warning(f'{self.path}: {line}')
            records = bag.records(self.camera.topics)
            pairs = (step for step in Pairing(bag, self.camera).follow(records)
                     if isinstance(step, PairedImage))
            for index, paired in enumerate(pairs):
                if index >= start:
                    try:
                        yield self._shot(paired)
                    except MalformedInput as error:
                        get_logger('replay').warning(f'frame {index} is skipped: {error}')
            if bag.damage and not self.loops:
                raise ValueError(f'{self.path} could not be played completely: '
                                 f'{"; ".join(bag.damage.values())}')

    def _shot(self, paired: PairedImage) -> Shot:
        if paired.image is None:
            raise MalformedInput('message', paired.problem)
        image = paired.image
        if not isinstance(image, Image):
            image = decompress(image, self.bit_depth)
        header = paired.image.header
        return Shot(
            image, stamp_nanoseconds(header), recorded=paired.time, frame_id=header.frame_id,
            camera_info=paired.camera_info)
