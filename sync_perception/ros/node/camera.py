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

"""One camera of the node: topics, calibrations, counters and problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
import time
from typing import Any

from lifecycle_msgs.msg import State
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.calibration.rectification import Rectifier
from sync_perception.images.bit_depth import BitDepth
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.health.counters import Counters
from sync_perception.ros.health.frame_faults import FrameFaults
from sync_perception.ros.health.waiting import describe_wait, latched_twin, SILENCE
from sync_perception.ros.health.watched_topics import WatchedTopics
from sync_perception.ros.io.camera_info import CameraInfoCache
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.node.mounting import Mounting
from sync_perception.ros.node.outputs import Output
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.node.temporal import TemporalFrames
from sync_perception.ros.poses.waiting_frames import WaitingFrames

ACTIVE = LifecycleState('active', State.PRIMARY_STATE_ACTIVE)
MOST_CREDIT = 2.0
"""Most images accepted at once after a pause; more than one compensates irregular arrival."""


class Camera(FrameFaults[Counters]):
    """
    Topics, calibrations, counters and problems of one camera.

    :param node: node of the topics.
    :param name: prefix of the topics; may be empty.
    :param log: log of problems with topics and frames.
    :param queue: index of the worker's queue for its frames.
    :ivar outputs: published outputs, with their publishers.
    :ivar inputs: subscriptions, camera_info first; empty while the node does not listen.
    :ivar latched: subscription to latched calibrations, if needed.
    :ivar watched: maker of the topics, which knows the mismatches of their quality of service.
    :ivar mounting: scale correction from the camera's mount.
    :ivar temporal: fusion of its frames over time.
    :ivar waiting: frames that wait for their poses; None if none need wait.
    :ivar bit_depth: bit depth inferred from its 16-bit images.
    """

    def __init__(self, node: LifecycleNode, name: str, log: SeldomLog, queue: int = 0):
        super().__init__(Counters(), log, name, f'camera {name}' if name else 'camera')
        self.node = node
        self.queue = queue
        self.watched = WatchedTopics(node, log)
        self.outputs: list[tuple[Output, LifecyclePublisher]] = []
        self.inputs: list[Subscription] = []
        self.latched: Subscription | None = None
        self.camera_infos = CameraInfoCache()
        self.credit, self.last_arrival = 0.0, 0.0
        self.bit_depth = BitDepth(report=lambda text: log.logger.warning(
            f'{self.title}: {text} (image.significant_bits)'))
        self.rectifier = Rectifier()
        self.mounting = Mounting()
        self.temporal = TemporalFrames()
        self.waiting: WaitingFrames[FramePacket[Camera]] | None = None

    @property
    def image_topic(self) -> str:
        """Return the topic of the images; empty while the node does not listen."""
        return self.inputs[1].topic_name if self.inputs else ''

    def topic(self, name: str) -> str:
        """Return a topic's name with the camera's prefix."""
        return f'{self.name}/{name}' if self.name else name

    def advertise(self, outputs: Iterable[Output], active: bool = False) -> None:
        """
        Set the published outputs; existing publishers of these outputs are kept.

        :param active: whether the node is active, so that new publishers are activated.
        """
        present = {output.topic: publisher for output, publisher in self.outputs}
        wanted = {output.topic: output for output in outputs}
        for topic in present.keys() - wanted.keys():
            self.node.destroy_lifecycle_publisher(present.pop(topic))
        for topic in wanted.keys() - present.keys():
            output = wanted[topic]
            present[topic] = self.watched.advertise(
                output.message_type, self.topic(topic), output.profile())
            if active:
                present[topic].on_activate(ACTIVE)
        self.outputs = [(output, present[topic]) for topic, output in wanted.items()]

    def wanted(self) -> list[tuple[Output, LifecyclePublisher]]:
        """Return the outputs that have subscribers, with their publishers."""
        return [(output, publisher) for output, publisher in self.outputs
                if publisher.get_subscription_count()]

    def subscribe(self, receive_image: Callable[[Camera, Any], None],
                  receive_camera_info: Callable[[Camera, CameraInfo], None], *,
                  compressed: bool = False, keep_all: bool = False) -> None:
        """
        Subscribe to images and calibrations, and reset the counters.

        :param receive_image: called with this camera and an Image or a CompressedImage.
        :param receive_camera_info: called with this camera and a CameraInfo.
        :param compressed: subscribe to the compressed images of image_transport.
        :param keep_all: receive every image, which requires a reliable publisher.
        """
        self.counters = Counters()
        self.credit, self.last_arrival = 0.0, 0.0
        image_type, topic = Image, self.topic('image')
        if compressed:
            # by the convention of image_transport, below the raw topic after remapping
            topic = f'{self.node.resolve_topic_name(topic)}/compressed'
            image_type = CompressedImage
        camera_info = self.watched.subscribe(
            CameraInfo, self.topic('camera_info'), partial(receive_camera_info, self),
            qos.every_image_input() if keep_all else qos.camera_info_input())
        image = self.watched.subscribe(
            image_type, topic, partial(receive_image, self),
            qos.every_image_input() if keep_all else qos.image_input(), self._count_lost)
        self.inputs = [camera_info, image]  # at once: other threads read them

    def subscribe_to_latched(self) -> None:
        """Subscribe to latched calibrations too, if none has arrived and a publisher latches."""
        if self.inputs and self.latched is None and not self.camera_infos.remembered:
            self.latched = latched_twin(self.inputs[0], self.node, self.log)

    def drop_resolved_mismatches(self) -> None:
        """Remove the mismatches whose peer has left or changed its quality of service."""
        self.watched.drop_resolved([
            *self.inputs, *(publisher for _, publisher in self.outputs)])

    def describe_waits(self, silence: float, unknown: float) -> list[str]:
        """
        Return which messages are awaited, and after a while why they do not arrive.

        :param silence: seconds without an image.
        :param unknown: seconds since the node listens, for the wait for a calibration.
        """
        info, image = self.inputs
        waits = [(image, 'image', silence)] if silence > SILENCE or not (
            self.counters.received) else []
        if not self.camera_infos.remembered:
            waits.append((self.latched or info, 'camera_info', unknown))
        return [describe_wait(self.node, subscription, self.topic(name), seconds, self.log)
                for subscription, name, seconds in waits]

    def unsubscribe(self) -> None:
        """Remove the subscriptions and the cached calibrations."""
        for subscription in filter(None, (*self.inputs, self.latched)):
            self.node.destroy_subscription(subscription)
        if self.waiting is not None:
            self.waiting.close()
        self.inputs, self.latched, self.waiting = [], None, None
        self.camera_infos = CameraInfoCache()
        self.rectifier = Rectifier()
        self.mounting = Mounting()
        self.temporal = TemporalFrames()
        self.troubles = {}

    def receive(self, image: Image | CompressedImage, max_rate: float
                ) -> FramePacket[Camera] | None:
        """
        Count an image and return its packet, or None if it exceeds the rate limit.

        :param max_rate: average images per second; 0 for no limit.
        """
        now = time.monotonic()
        self.counters.received += 1
        if not self.within_rate(now, max_rate):
            self.counters.skipped += 1
            return None
        return FramePacket(image, self, now)

    def count_published(self, packet: FramePacket[Camera], now: int) -> None:
        """
        Count a published frame, and record its latencies.

        :param now: nanoseconds of the node's clock.
        """
        self.counters.published += 1
        self.counters.durations.append(time.monotonic() - packet.arrival)
        self.counters.ages.append((now - stamp_nanoseconds(packet.header)) * 1e-9)

    def within_rate(self, now: float, max_rate: float) -> bool:
        """
        Return whether an image that arrives now is within the rate limit.

        :param now: seconds of the monotonic clock.
        :param max_rate: average images per second; 0 for no limit.
        """
        if max_rate <= 0:
            return True
        self.credit = min(self.credit + (now - self.last_arrival) * max_rate, MOST_CREDIT)
        self.last_arrival = now
        if self.credit < 1:
            return False
        self.credit -= 1
        return True

    def _count_lost(self, count: int) -> None:
        self.counters.lost += count
