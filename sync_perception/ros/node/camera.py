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
import time
from typing import Any

from lifecycle_msgs.msg import State
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState
from rclpy.qos import qos_policy_name_from_kind
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.calibration.rectification import Rectifier
from sync_perception.images.bit_depth import BitDepth
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.core.middleware import advice
from sync_perception.ros.health.counters import Counters
from sync_perception.ros.health.waiting import (
    describe_wait,
    has_mismatch,
    latched_twin,
    SILENCE,
)
from sync_perception.ros.io.camera_info import CameraInfoCache
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.node.mounting import Mounting
from sync_perception.ros.node.outputs import Output
from sync_perception.ros.node.packet import FramePacket
from sync_perception.types import MalformedInput

ACTIVE = LifecycleState('active', State.PRIMARY_STATE_ACTIVE)
LOSS_PERIOD = 60.0
"""Least seconds between two log lines about lost messages."""
SETTLED = 2.0
"""Seconds until the ROS graph contains a new peer."""
MOST_CREDIT = 2.0
"""Most images accepted at once after a pause; more than one compensates irregular arrival."""


class Camera:
    """
    Topics, calibrations, counters and problems of one camera.

    :param node: node of the topics.
    :param name: prefix of the topics; may be empty.
    :param log: log of problems with topics and frames.
    :param lane: index of the worker's lane for its frames.
    :ivar counters: counts since the node listens to the camera.
    :ivar outputs: published outputs, with their publishers.
    :ivar inputs: subscriptions, camera_info first; empty while the node does not listen.
    :ivar latched: subscription to latched calibrations, if needed.
    :ivar mismatches: quality of service that is incompatible with a present peer, by topic.
    :ivar noted: time at which a mismatch was noted, by topic, seconds of the monotonic clock.
    :ivar troubles: problems of the latest frame, by kind.
    :ivar mounting: scale correction from the camera's mount.
    :ivar bit_depth: bit depth inferred from its 16-bit images.
    """

    def __init__(self, node: LifecycleNode, name: str, log: SeldomLog, lane: int = 0):
        self.node = node
        self.name = name
        self.log = log
        self.lane = lane
        self.outputs: list[tuple[Output, LifecyclePublisher]] = []
        self.inputs: list[Subscription] = []
        self.latched: Subscription | None = None
        self.camera_infos = CameraInfoCache()
        self.counters = Counters()
        self.mismatches: dict[str, str] = {}
        self.noted: dict[str, float] = {}
        self.troubles: dict[str, str] = {}
        self.credit, self.asked = 0.0, 0.0
        self.bit_depth = BitDepth(report=lambda text: log.logger.warning(
            f'{self.title}: {text} (image.significant_bits)'))
        self.rectifier = Rectifier()
        self.mounting = Mounting()

    @property
    def image_topic(self) -> str:
        """Return the topic of the images; empty while the node does not listen."""
        return self.inputs[1].topic_name if self.inputs else ''

    @property
    def title(self) -> str:
        """Name of the camera for messages."""
        return f'camera {self.name}' if self.name else 'camera'

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
            present[topic] = self._publisher(wanted[topic])
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
        self.credit, self.asked = 0.0, 0.0
        image_type, topic = Image, self.topic('image')
        if compressed:
            # by the convention of image_transport, below the raw topic after remapping
            topic = f'{self.node.resolve_topic_name(topic)}/compressed'
            image_type = CompressedImage
        camera_info = self._subscription(
            CameraInfo, self.topic('camera_info'), receive_camera_info,
            qos.every_image_input() if keep_all else qos.camera_info_input())
        image = self._subscription(
            image_type, topic, receive_image,
            qos.every_image_input() if keep_all else qos.image_input())
        self.inputs = [camera_info, image]  # at once: other threads read them

    def subscribe_to_latched(self) -> None:
        """Subscribe to latched calibrations too, if none has arrived and a publisher latches."""
        if self.inputs and self.latched is None and not self.camera_infos.remembered:
            self.latched = latched_twin(self.inputs[0], self.node, self.log)

    def drop_resolved_mismatches(self) -> None:
        """Remove the mismatches whose peer has left or changed its quality of service."""
        endpoints = [*self.inputs, *(publisher for _, publisher in self.outputs)]
        present = {endpoint.topic_name: endpoint for endpoint in endpoints}
        for name in list(self.mismatches):
            # the graph may contain the peer slightly later than the event
            recent = time.monotonic() - self.noted[name] < SETTLED
            if name not in present or not recent and not has_mismatch(self.node, present[name]):
                del self.mismatches[name]

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
        self.inputs, self.latched = [], None
        self.camera_infos = CameraInfoCache()
        self.rectifier = Rectifier()
        self.mounting = Mounting()
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

    def count_refused(self, error: ValueError, message: str) -> None:
        """
        Count and log a malformed message.

        :param message: name of the message, with its article.
        """
        reason = error.reason if isinstance(error, MalformedInput) else 'model input'
        self.counters.refused[reason] += 1
        self.log.warn(f'{reason} {self.name}', f'refused {message}: {error}')

    def count_failed(self, error: Exception) -> None:
        """Count and log a frame whose processing failed."""
        self.counters.failed += 1
        self.log.warn(
            f'failure {self.name}', f'a frame failed: {type(error).__name__}: {error}')

    def note(self, kind: str, problem: str) -> None:
        """
        Store a problem of the latest frame, and log a warning when it is new.

        :param problem: a sentence; empty if there is no problem.
        """
        if not problem:
            self.troubles.pop(kind, None)
            return
        if kind not in self.troubles:  # otherwise it was already logged
            self.log.warn(f'{kind} {self.name}', f'{self.title}: {problem}')
        self.troubles[kind] = problem

    def within_rate(self, now: float, max_rate: float) -> bool:
        """
        Return whether an image that arrives now is within the rate limit.

        :param now: seconds of the monotonic clock.
        :param max_rate: average images per second; 0 for no limit.
        """
        if max_rate <= 0:
            return True
        self.credit = min(self.credit + (now - self.asked) * max_rate, MOST_CREDIT)
        self.asked = now
        if self.credit < 1:
            return False
        self.credit -= 1
        return True

    def _subscription(self, kind: type, topic: str, receive: Callable, profile) -> Subscription:
        return self.node.create_subscription(
            kind, topic, lambda message: receive(self, message), profile,
            qos_overriding_options=qos.overridable(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._note_mismatch(
                    topic, 'a publisher offers', event.last_policy_kind),
                message_lost=lambda event: self._note_loss(topic, event.total_count_change)))

    def _note_loss(self, topic: str, count: int) -> None:
        """Log lost messages, which best effort does not resend."""
        name = self.node.resolve_topic_name(topic)
        if topic != self.topic('camera_info'):
            self.counters.lost += count
        self.log.warn(f'loss {name}', (
            f'{name}: messages are lost between their publisher and this node, probably for lack '
            f'of space in shared memory: {advice()}'), period=LOSS_PERIOD)

    def _publisher(self, output: Output) -> LifecyclePublisher:
        topic = self.topic(output.topic)
        return self.node.create_lifecycle_publisher(
            output.message_type, topic, output.profile(),
            qos_overriding_options=qos.overridable(),
            event_callbacks=PublisherEventCallbacks(
                incompatible_qos=lambda event: self._note_mismatch(
                    topic, 'a subscriber asks for', event.last_policy_kind)))

    def _note_mismatch(self, topic: str, who: str, kind: int) -> None:
        policy = qos_policy_name_from_kind(kind).lower()
        name = self.node.resolve_topic_name(topic)
        self.mismatches[name] = (
            f'{name}: {who} an incompatible quality of service ({policy}), so no messages are '
            'exchanged with it')
        self.noted[name] = time.monotonic()
        self.log.warn(f'mismatch {name}', f'{self.mismatches[name]}; see qos_overrides')
