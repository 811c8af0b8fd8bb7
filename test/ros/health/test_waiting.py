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

"""What the node says while nothing comes, from the point of view of who reads it."""

from __future__ import annotations

from conditions import wait_until
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_bench import Bench, KnownPredictor, LATCHED, RELIABLE
import pytest
from rcl_interfaces.msg import Log
import rclpy
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.ros.health.waiting import explain_silence
from sync_perception.ros.node.node import PerceptionNode

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def driver(ros):
    """Return a camera driver as if it were another process: its topics may have other types."""
    context = Context()
    rclpy.init(context=context)
    node = Node('driver', context=context, namespace='robot')
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def listener(ros):
    """Return the node that waits."""
    node = Node('listener')
    yield node
    node.destroy_node()


def discover(listener: Node, topic: str) -> None:
    """Wait until the graph knows a publisher of a topic, and its node."""
    wait_until(lambda: [each for each in listener.get_publishers_info_by_topic(topic)
                        if each.node_name == 'driver'])


@pytest.mark.parametrize('published, kind, profile, subscribed, expected', [
    ('/camera/image_raw', Image, RELIABLE, '/image',
     ['no node publishes it', '/camera/image_raw', 'remap image ']),
    ('/image/compressed', CompressedImage, RELIABLE, '/image',
     ['no node publishes it', 'image_transport to compressed']),
    ('/other', CompressedImage, RELIABLE, '/image', ['no node publishes it', 'ROS domain']),
    ('/x/compressed', CompressedImage, RELIABLE, '/x/compressed',
     ['/robot/driver', 'msg/CompressedImage', 'image_transport to compressed', ' to /x']),
    ('/x', CompressedImage, RELIABLE, '/x', ['image_transport to compressed', '/compressed']),
    ('/image', CameraInfo, RELIABLE, '/image', ['msg/CameraInfo', 'expected sensor_msgs/msg/Im']),
    ('/image', Image, BEST_EFFORT, '/image',
     ['qos_overrides./image.subscription.reliability to best_effort']),
    ('/image', Image, LATCHED, '/image',
     ['qos_overrides./image.subscription.durability to transient_local']),
    ('/image', Image, RELIABLE, '/image', ['/robot/driver', 'ros2 topic hz']),
])
def test_the_reason_names_what_comes_and_what_would_help(
        driver, listener, published, kind, profile, subscribed, expected):
    driver.create_publisher(kind, published, profile)
    subscription = listener.create_subscription(Image, subscribed, print, RELIABLE)
    discover(listener, published)
    reason = explain_silence(listener, subscription, 'image')
    assert [text for text in expected if text not in reason] == [], reason


def test_a_compressed_subscription_learns_of_the_raw_topic(driver, listener):
    driver.create_publisher(Image, '/image', RELIABLE)
    subscription = listener.create_subscription(CompressedImage, '/image/compressed', print, 1)
    discover(listener, '/image')
    assert 'image_transport to raw' in explain_silence(listener, subscription, 'image')


@pytest.fixture
def reader(bench):
    """Return what a person reads: the latest status of the camera, and all log lines."""
    read = {'status': None, 'lines': []}

    def keep(array: DiagnosticArray) -> None:
        read['status'] = array.status[-1]
    bench.others.create_subscription(DiagnosticArray, '/diagnostics', keep, RELIABLE)
    bench.others.create_subscription(
        Log, '/rosout', lambda log: read['lines'].append(log.msg), RELIABLE)
    return read


def test_after_three_seconds_log_and_diagnostics_say_what_comes_instead(bench, driver, reader):
    driver.create_publisher(CompressedImage, '/x/compressed', RELIABLE)
    bench.node = PerceptionNode(
        load_predictor=lambda parameters: KnownPredictor(),
        cli_args=['--ros-args', '-r', 'image:=/x/compressed'])
    for node in (bench.node, bench.others):
        bench.spin(node)
    bench.wait(bench.executors[0].create_task(bench.node.autostart).done)
    told = 'image_transport to compressed'
    bench.wait(lambda: reader['status'] is not None and told in reader['status'].message)
    assert reader['status'].level == DiagnosticStatus.WARN
    bench.wait(lambda: [line for line in reader['lines'] if told in line])
    assert len([line for line in reader['lines'] if told in line]) == 1


def send_latched(bench: Bench) -> None:
    """Publish a calibration once, for those who come later, before the node is there."""
    bench.others.destroy_publisher(bench.info_publisher)
    bench.info_publisher = bench.others.create_publisher(CameraInfo, 'camera_info', LATCHED)
    bench.send_info(0)


def test_a_calibration_that_was_latched_before_the_node_came_is_used(bench, reader):
    send_latched(bench)
    bench.start(listen=('depth',))
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    bench.send_image(10 ** 12)
    bench.wait(lambda: bench.received['depth'])
    bench.wait(lambda: reader['status'].level == DiagnosticStatus.OK)
    assert bench.camera.latched is not None
    bench.node.trigger_deactivate()
    assert bench.camera.latched is None


def test_an_ordinary_camera_is_asked_for_nothing_that_it_does_not_offer(bench):
    complaints = []
    bench.others.destroy_publisher(bench.info_publisher)
    bench.info_publisher = bench.others.create_publisher(
        CameraInfo, 'camera_info', RELIABLE,
        event_callbacks=PublisherEventCallbacks(incompatible_qos=complaints.append))
    bench.start(listen=('depth',))
    bench.wait(lambda: bench.node.reporter.paces)
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.received['depth'])
    assert bench.camera.latched is None and complaints == []
