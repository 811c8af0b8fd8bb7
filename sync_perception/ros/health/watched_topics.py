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

"""Subscriptions and publishers whose losses and mismatches of quality of service are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import time
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import qos_policy_name_from_kind, QoSProfile
from rclpy.subscription import Subscription
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.core.middleware import advice
from sync_perception.ros.health.waiting import has_mismatch

LOSS_PERIOD = 60.0
"""Least seconds between two log lines about lost messages."""
SETTLED = 2.0
"""Seconds until the ROS graph contains a new peer."""


class WatchedTopics:
    """
    Maker of subscriptions and publishers that reports the events of the middleware about them.

    :param log: log of lost messages and mismatches.
    :ivar mismatches: quality of service that is incompatible with a present peer, by topic.
    :ivar noted: time at which a mismatch was noted, by topic, seconds of the monotonic clock.
    """

    def __init__(self, node: LifecycleNode, log: SeldomLog):
        self.node, self.log = node, log
        self.mismatches: dict[str, str] = {}
        self.noted: dict[str, float] = {}

    def subscribe(self, kind: type, topic: str, receive: Callable[[Any], None],
                  profile: QoSProfile, count_lost: Callable[[int], None] = lambda count: None
                  ) -> Subscription:
        """
        Subscribe to a topic.

        :param count_lost: called with the number of messages that were lost on the way.
        """
        return self.node.create_subscription(
            kind, topic, receive, profile, qos_overriding_options=qos.overridable(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._note_mismatch(
                    topic, 'a publisher offers', event.last_policy_kind),
                message_lost=lambda event: self._note_loss(
                    topic, event.total_count_change, count_lost)))

    def advertise(self, kind: type, topic: str, profile: QoSProfile) -> LifecyclePublisher:
        """Create a publisher that is published to while the node is active."""
        return self.node.create_lifecycle_publisher(
            kind, topic, profile, qos_overriding_options=qos.overridable(),
            event_callbacks=PublisherEventCallbacks(
                incompatible_qos=lambda event: self._note_mismatch(
                    topic, 'a subscriber requests', event.last_policy_kind)))

    def drop_resolved(self, endpoints: Iterable[Any]) -> None:
        """
        Remove the mismatches whose peer has left or changed its quality of service.

        :param endpoints: subscriptions and publishers that still exist.
        """
        present = {endpoint.topic_name: endpoint for endpoint in endpoints}
        for name in list(self.mismatches):
            # the graph may contain the peer slightly later than the event
            recent = time.monotonic() - self.noted[name] < SETTLED
            if name not in present or not recent and not has_mismatch(self.node, present[name]):
                del self.mismatches[name]

    def _note_loss(self, topic: str, count: int, count_lost: Callable[[int], None]) -> None:
        """Log lost messages, which best effort does not resend."""
        name = self.node.resolve_topic_name(topic)
        count_lost(count)
        self.log.warn(f'loss {name}', (
            f'{name}: messages are lost between their publisher and this node, probably for lack '
            f'of space in shared memory: {advice()}'), period=LOSS_PERIOD)

    def _note_mismatch(self, topic: str, who: str, kind: int) -> None:
        policy = qos_policy_name_from_kind(kind).lower()
        name = self.node.resolve_topic_name(topic)
        self.mismatches[name] = (
            f'{name}: {who} an incompatible quality of service ({policy}), so no messages are '
            'exchanged with it')
        self.noted[name] = time.monotonic()
        self.log.warn(f'mismatch {name}', f'{self.mismatches[name]}; see qos_overrides')
