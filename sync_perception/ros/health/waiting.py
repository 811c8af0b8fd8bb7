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
"""Explanations why no messages arrive on a topic, with advice for the user."""

from __future__ import annotations

from collections.abc import Iterable
import os

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    qos_check_compatible,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.core.type_names import type_name

SILENCE = 3.0
"""Seconds without a message after which the node examines the ROS graph."""
REMINDER = 60.0
"""Seconds between two log lines of the same content."""
MOST_TOPICS = 4
"""Most other topics listed in a message."""
UNKNOWN = '_NODE_NAME_UNKNOWN_'
PREFIX = 'sensor_msgs/msg/'
COMPRESSED = '/compressed'
TRANSPORTS = {f'{PREFIX}Image': 'raw', f'{PREFIX}CompressedImage': 'compressed'}


def describe_wait(node: Node, subscription: Subscription, argument: str, silence: float,
                  log: SeldomLog) -> str:
    """
    Return which topic is awaited; after SILENCE with the reason, which is also logged.

    :param node: node of the subscription.
    :param argument: name of the topic in remappings.
    :param silence: seconds without a message.
    :return: a sentence for /diagnostics.
    """
    kind = 'camera_info' if subscription.msg_type is CameraInfo else 'images'
    waiting = f'waiting for {kind} on {subscription.topic_name}'
    if silence < SILENCE:
        return waiting
    sentence = f'{waiting}: {explain_silence(node, subscription, argument)}'
    log.warn(sentence, sentence, period=REMINDER)
    return sentence


def explain_silence(node: Node, subscription: Subscription, argument: str) -> str:
    """
    Return an explanation why no message arrives on a topic, from the ROS graph, with advice.

    :param node: node of the subscription.
    :param argument: name of the topic in remappings.
    """
    topic = subscription.topic_name
    expected = type_name(subscription.msg_type)
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f'no node publishes it; {_elsewhere(node, topic, expected, argument)}'
    fitting = [each for each in publishers if each.topic_type == expected]
    if not fitting:
        kind = publishers[0].topic_type
        return (f'{_names(publishers)} publishes it as {kind}, expected {expected}; '
                f'{_transport_advice(topic, kind, expected, argument)}')
    problems = [problem for each in fitting
                if (problem := _qos_problem(each, subscription.qos_profile, topic))]
    if len(problems) == len(fitting):
        return problems[0]
    return (f'{_names(fitting)} publishes it with a matching type and quality of service, but no '
            'message arrives: check that it sends (ros2 topic hz), and that messages of megabytes '
            'are delivered (the profile config/fastdds_shm.xml on both sides)')


def has_mismatch(node: Node, endpoint: Subscription | Publisher) -> bool:
    """Return whether the graph has a peer with an incompatible quality of service."""
    topic, own = endpoint.topic_name, endpoint.qos_profile
    if isinstance(endpoint, Subscription):
        pairs = [(peer.qos_profile, own) for peer in node.get_publishers_info_by_topic(topic)]
    else:
        pairs = [(own, peer.qos_profile) for peer in node.get_subscriptions_info_by_topic(topic)]
    return any(qos_check_compatible(offered, requested)[0] == QoSCompatibility.ERROR
               for offered, requested in pairs)


def latched_twin(volatile: Subscription, node: Node, log: SeldomLog) -> Subscription | None:
    """
    Return a second subscription that also receives latched messages; None if there are none.

    This is not done from the start, since publishers that latch nothing would log a warning.

    :param volatile: the subscription that receives only new messages.
    """
    topic, kind = volatile.topic_name, volatile.msg_type
    latched = any(each.topic_type == type_name(kind)
                  and each.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
                  for each in node.get_publishers_info_by_topic(topic))
    if not latched or volatile.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        return None
    log.logger.info(f'also subscribed to the latched messages on {topic}')
    return node.create_subscription(
        kind, topic, volatile.callback, qos.latched(),
        event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))


def _elsewhere(node: Node, topic: str, expected: str, argument: str) -> str:
    """Return advice on other topics that may be the intended ones."""
    compressed = f'{topic}{COMPRESSED}'
    if expected == f'{PREFIX}Image' and node.get_publishers_info_by_topic(compressed):
        return f'{compressed} is published: set image_transport to compressed'
    raw = topic.removesuffix(COMPRESSED)
    if raw != topic and node.get_publishers_info_by_topic(raw):
        return f'{raw} is published: set image_transport to raw'
    others = [name for name, types in node.get_topic_names_and_types()
              if expected in types and any(
                  each.topic_type == expected and each.node_name != node.get_name()
                  for each in node.get_publishers_info_by_topic(name))]
    if others:
        listed = ', '.join(others[:MOST_TOPICS]) + (', ...' if len(others) > MOST_TOPICS else '')
        return f'{expected} is published on {listed}: {_remap(argument)} to the right one'
    return (f'no node publishes {expected} in ROS domain {os.environ.get("ROS_DOMAIN_ID") or 0}: '
            'is the camera driver running there?')


def _transport_advice(topic: str, kind: str, expected: str, argument: str) -> str:
    """Return advice on how to read a topic of another type."""
    if kind not in TRANSPORTS or expected not in TRANSPORTS:
        return f'{_remap(argument)} to a topic of that type'
    advice = f'set image_transport to {TRANSPORTS[kind]}'
    if kind == f'{PREFIX}Image':  # such as .../compressed with raw images
        return f'{advice} and {_remap(argument)} to {topic}'
    base = topic.removesuffix(COMPRESSED)
    if base != topic:
        return f'{advice} and {_remap(argument)} to {base}'
    return f'{advice} and remap {argument}{COMPRESSED} to {topic}'


def _remap(argument: str) -> str:
    """Return how to set a topic on the command line and in the launch files."""
    name = argument.rpartition('/')[2]
    has_argument = name in ('image', 'camera_info') and not argument.startswith('sync/')
    return f'remap {argument}' + (f' (in the launch files {name}_topic)' if has_argument else '')


def _qos_problem(publisher: TopicEndpointInfo, own: QoSProfile, topic: str) -> str:
    """Return in which quality of service a publisher is incompatible; '' if it is compatible."""
    offered, advice = publisher.qos_profile, []
    compatible, _ = qos_check_compatible(offered, own)
    if compatible == QoSCompatibility.ERROR:
        if offered.reliability == ReliabilityPolicy.BEST_EFFORT:
            advice.append(('reliability', 'best_effort'))
        if offered.durability == DurabilityPolicy.VOLATILE:
            advice.append(('durability', 'volatile'))
        trouble = 'offers a lower quality of service than this node requests'
    elif (offered.durability == DurabilityPolicy.TRANSIENT_LOCAL
            and own.durability != DurabilityPolicy.TRANSIENT_LOCAL):
        advice = [('durability', 'transient_local'), ('reliability', 'reliable')]
        trouble = ('keeps its messages for later subscribers (transient_local), but this node '
                   'receives only new ones')
    else:
        return ''
    settings = ' and '.join(
        f'qos_overrides.{topic}.subscription.{policy} to {value}' for policy, value in advice)
    return f'{_names([publisher])} {trouble}; set {settings}'


def _names(publishers: Iterable[TopicEndpointInfo]) -> str:
    """Return the names of the publishers' nodes; undiscovered nodes have no name."""
    names = sorted({f'{each.node_namespace.rstrip("/")}/{each.node_name}' for each in publishers
                    if each.node_name != UNKNOWN})
    return ' and '.join(names[:MOST_TOPICS]) or 'somebody'
