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

"""A pipeline without a node: a model that is known, cameras without topics, what they publish."""

from __future__ import annotations

from types import SimpleNamespace

from node_bench import K, KnownPredictor, picture, SIZE
import numpy as np
from rclpy.clock import Clock
from std_msgs.msg import Header
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.outputs import EXTRA_OUTPUTS, OUTPUTS
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.node.pipeline import Pipeline
from sync_perception.ros.parameters.perception import PerceptionParameters


class Publisher:
    """Keeps what is published."""

    def __init__(self):
        self.messages = []
        self.publish = self.messages.append


class Log(SeldomLog):
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []
        super().__init__(SimpleNamespace(warning=self.lines.append, error=self.lines.append))


class Eye(Camera):
    """A camera without a node: everything but topics."""

    def __init__(self, name: str, topics: tuple[str, ...] = ('sync/depth',),
                 calibration: np.ndarray = K, size: tuple[int, int] = SIZE):
        super().__init__(SimpleNamespace(
            resolve_topic_name=lambda topic: f'/{topic}',
            context=SimpleNamespace(ok=lambda: True)), name, Log())
        self.camera_infos.add(self.with_header(pinhole_camera_info(calibration, size)))
        self.publishers = {topic: Publisher() for topic in topics}

    @property
    def image_topic(self) -> str:
        """Return the topic that its images would come from."""
        return f'/{self.name}/image'

    def with_header(self, message):
        """Put the camera's frame into a message."""
        message.header = Header(frame_id=self.name)
        return message

    def wanted(self) -> list:
        """Return the outputs that are asked for, with their publishers."""
        return [(output, self.publishers[output.topic]) for output in (*EXTRA_OUTPUTS, *OUTPUTS)
                if output.topic in self.publishers]

    def look(self, image: np.ndarray | None = None) -> FramePacket:
        """Return an image that has just come."""
        image = picture() if image is None else image
        return FramePacket(image_message(image, Header(frame_id=self.name), 'rgb8'), self)


class Fixture:
    """A pipeline with a model that is known."""

    def __init__(self, monitor=None, **parameters):
        self.parameters = PerceptionParameters(**parameters)
        self.predictor, self.log = KnownPredictor(), Log()
        self.pipeline = Pipeline(
            self.predictor, lambda: self.parameters, Clock(), self.log, monitor)

    def process(self, packets: list[FramePacket]) -> list[FramePacket]:
        """Answer images of cameras, which log where the pipeline does."""
        for packet in packets:
            packet.camera.log = self.log
        return self.pipeline.process(packets)


def published(eye: Eye, topic: str = 'sync/depth') -> int:
    """Count the messages of a topic."""
    return len(eye.publishers[topic].messages)
