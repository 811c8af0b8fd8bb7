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

"""Subscriptions of the mapping node to the topics of a perception node."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from sync_perception.labels import LabelSpace
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.health.map_counters import MapCounters
from sync_perception.ros.health.waiting import (
    describe_wait,
    latched_twin,
    REMINDER,
    SILENCE,
)
from sync_perception.ros.health.watched_topics import WatchedTopics
from sync_perception.ros.io.camera_info import CameraInfoCache
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.io.prediction_messages import label_space_of
from sync_perception.ros.map.frame_pairs import FrameMessages, FramePairs
from sync_perception.ros.parameters.mapping import MappingParameters

TOPICS = {
    'image': 'image', 'depth': 'sync/depth', 'semantics': 'sync/semantics',
    'confidence': 'sync/semantics/confidence', 'uncertainty': 'sync/depth/uncertainty'}
CAMERA_INFO, LABEL_SPACE = 'sync/camera_info', 'sync/label_space'
MESSAGE_NAMES = {'semantics': 'labels'}
"""Name of an input in `FrameMessages.messages`, if it is another one."""
SETTLED = 1.0
"""Seconds until all publishers of a present node are known; frames wait so long."""


class MapInputs:
    """
    Topics of a perception node, and the frames that their messages make up.

    An optional input is waited for if it has a publisher.

    :param deliver: called when there may be complete frames.
    :param restarted: called with the stamp at which a recording has started again.
    :param refuse: called with the error of a message that cannot be used, and its name.
    :param set_space: called with each label space that arrives.
    :param counters: counts, of which this class counts the inputs.
    """

    def __init__(self, node: Node, values: MappingParameters, log: SeldomLog,
                 deliver: Callable[[], None], restarted: Callable[[int], None],
                 refuse: Callable[[ValueError, str], None],
                 set_space: Callable[[LabelSpace], None], counters: MapCounters):
        self.node, self.values, self.log, self.counters = node, values, log, counters
        self.deliver, self.restarted, self.refuse = deliver, restarted, refuse
        self.set_space = set_space
        self.camera_infos = CameraInfoCache()
        self.pairs = FramePairs(self._find_camera_info, self._count_incomplete)
        self.begun = self.heard = time.monotonic()
        self.watched = WatchedTopics(node, log)
        self.lacking = ''
        names = [name for name in TOPICS if name in values.inputs or name == 'depth']
        self.subscriptions = {name: self._subscribe_image(name) for name in names}
        self.camera_info = self._subscribe(
            CameraInfo, CAMERA_INFO, self._receive_camera_info,
            qos.every_image_input() if values.offline else qos.camera_info_input())
        self.latched: Subscription | None = None
        self.label_space = None if values.label_space else self._subscribe(
            String, LABEL_SPACE, self._receive_label_space, qos.latched())
        self.has_space = self.label_space is None

    def frames(self) -> list[FrameMessages]:
        """Return the frames that are complete, in order."""
        if time.monotonic() - self.begun < SETTLED:
            return []
        wanted = [MESSAGE_NAMES.get(name, name) for name, subscription in
                  self.subscriptions.items() if name == 'depth' or self.node.count_publishers(
                      subscription.topic_name)]
        if 'labels' in wanted and not self.has_space:
            return []
        found = self.pairs.complete(wanted)
        if found:
            self.lacking = ''
        return found

    def waits(self) -> list[str]:
        """
        Return which messages are awaited, and after a while why they do not arrive.

        A calibration that was latched before the node listened is then received, too.
        """
        now = time.monotonic()
        if self.latched is None and not self.camera_infos.remembered:
            self.latched = latched_twin(self.camera_info, self.node, self.log)
        waits = []
        if now - self.heard > SILENCE or not self.counters.received:
            waits.append((self.subscriptions['depth'], TOPICS['depth'], now - self.heard))
        if not self.camera_infos.remembered:
            waits.append((self.latched or self.camera_info, CAMERA_INFO, now - self.begun))
        if not self.has_space:
            self.lacking = (
                f'waiting for the label space on {self.label_space.topic_name}, or in the '
                'parameter label_space')
            if now - self.begun > SILENCE:
                self.log.warn('label space', self.lacking, period=REMINDER)
        found = [describe_wait(self.node, subscription, topic, seconds, self.log)
                 for subscription, topic, seconds in waits]
        return [*found, *filter(None, [self.lacking])]

    def problems(self) -> list[str]:
        """Return the topics whose peers have an incompatible quality of service."""
        self.watched.drop_resolved(self._all())
        return list(self.watched.mismatches.values())

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._all():
            self.node.destroy_subscription(subscription)
        self.subscriptions = {}

    def topics(self) -> list[str]:
        """Return the names of the topics."""
        return [subscription.topic_name for subscription in self._all()]

    def _all(self) -> list[Subscription]:
        return [*self.subscriptions.values(), self.camera_info,
                *filter(None, [self.latched, self.label_space])]

    def _subscribe_image(self, name: str) -> Subscription:
        topic, kind = TOPICS[name], Image
        if name == 'image' and self.values.image_transport == 'compressed':
            topic = f'{self.node.resolve_topic_name(topic)}/compressed'
            kind = CompressedImage
        own = MESSAGE_NAMES.get(name, name)
        # as deep as camera_info, since a frame is lost with any of its messages
        profile = qos.every_image_input() if self.values.offline else qos.camera_info_input()
        return self._subscribe(kind, topic, lambda message: self._receive(own, message), profile)

    def _subscribe(self, kind: type, topic: str, receive: Callable[[Any], None],
                   profile: QoSProfile) -> Subscription:
        return self.watched.subscribe(kind, topic, receive, profile, self._count_lost)

    def _count_lost(self, count: int) -> None:
        self.counters.lost += count

    def _receive(self, name: str, message: Image | CompressedImage) -> None:
        if name == 'depth':
            self.counters.received += 1
            self.heard = time.monotonic()
        if self.pairs.add(name, message):
            self.restarted(stamp_nanoseconds(message.header))
        self.deliver()

    def _receive_camera_info(self, camera_info: CameraInfo) -> None:
        try:
            self.camera_infos.add(camera_info)
        except ValueError as error:
            self.refuse(error, 'a camera_info')
        self.deliver()

    def _receive_label_space(self, message: String) -> None:
        try:
            self.set_space(label_space_of(message.data))
        except ValueError as error:
            self.refuse(error, 'a label space')
            return
        self.has_space, self.lacking = True, ''
        self.deliver()

    def _find_camera_info(self, depth: Image) -> CameraInfo | None:
        return self.camera_infos.find(depth.header, (depth.height, depth.width))

    def _count_incomplete(self, missing: list[str]) -> None:
        if not self.has_space:
            self.counters.incomplete[self.label_space.topic_name] += 1
            return
        known = {MESSAGE_NAMES.get(name, name): topic for name, topic in TOPICS.items()}
        topics = ', '.join(
            self.node.resolve_topic_name(known.get(name, CAMERA_INFO)) for name in missing)
        self.counters.incomplete[topics] += 1
        self.lacking = (
            f'frames are left out, since no message with the stamp of their depth arrives on '
            f'{topics}')
        self.log.warn('incomplete', f'{self.lacking} (the parameter inputs lists what is used)')
