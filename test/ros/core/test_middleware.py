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


"""Large messages between processes that were started without any environment."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
import time

from camera_bags import image, info, PERIOD, START, write_bag
from diagnostic_msgs.msg import DiagnosticArray
import pytest
import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from sync_perception.ros.core.middleware import (
    PROFILE_VARIABLES,
    shared_memory_profile,
    TRANSPORTS_VARIABLE,
    use_shared_memory,
)
from sync_perception.ros.tools.processes import ChildProcess

PATIENCE = 100.0  # seconds, on a busy machine
KITTI = (375, 1242)
PUBLISHER = """
import array, time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(
    Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
message = Image(height=1200, width=1920, encoding='rgb8', step=5760,
                data=array.array('B', bytes(1200 * 5760)))
while True:
    publisher.publish(message)
    time.sleep(0.05)
"""


@pytest.fixture
def bare(monkeypatch):
    """Take away all that says how Fast DDS is to carry messages, for this test's children."""
    for name in (*PROFILE_VARIABLES, TRANSPORTS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def profiles() -> set[str | None]:
    """Return what is named by all variables."""
    return {os.environ.get(name) for name in PROFILE_VARIABLES}


def test_the_shipped_profile_is_used_where_there_is_no_other(bare):
    use_shared_memory()
    assert profiles() == {str(shared_memory_profile())}
    assert shared_memory_profile().is_file()


@pytest.mark.parametrize('name', PROFILE_VARIABLES)
def test_what_the_user_chose_is_used(bare, name):
    bare.setenv(name, '/mine.xml')
    use_shared_memory()
    assert profiles() == {'/mine.xml'}


def test_other_ways_to_choose_are_left_alone(bare, tmp_path):
    bare.setenv(TRANSPORTS_VARIABLE, 'LARGE_DATA')
    use_shared_memory()
    assert profiles() == {None}
    bare.delenv(TRANSPORTS_VARIABLE)
    bare.chdir(tmp_path)
    Path('DEFAULT_FASTRTPS_PROFILES.xml').write_text('<dds/>')
    use_shared_memory()
    assert profiles() == {None}


def kitti_bag(folder: Path, frames: int) -> Path:
    """Write a bag of images of KITTI's size."""
    return write_bag(folder, [
        message for index in range(frames) for message in (
            ('/cam/camera_info', START + index * PERIOD, info(index, KITTI, focal=700.0)),
            ('/cam/image', START + index * PERIOD, image(index, KITTI)))])


def test_a_replay_loses_no_image_to_a_best_effort_subscriber(tmp_path, bare, ros):
    frames = 30
    bag, got, lost = kitti_bag(tmp_path / 'bag', frames), [], []
    node = rclpy.create_node('receiver')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.create_subscription(
        Image, 'image', lambda message: got.append(message.header.stamp),
        QoSProfile(depth=frames, reliability=ReliabilityPolicy.BEST_EFFORT),
        event_callbacks=SubscriptionEventCallbacks(message_lost=lost.append))
    node.create_subscription(CameraInfo, 'camera_info', lambda message: None, 10)
    with ChildProcess('The replay', 'sync_perception.ros.replay.replay_node', [
            '--ros-args', '-p', 'source:=bag', '-p', f'path:={bag}'],
            tmp_path / 'log') as replay:
        end = time.monotonic() + PATIENCE
        while len(got) + len(lost) < frames:
            assert time.monotonic() < end and replay.exit_code in (None, 0), replay.last_lines()
            executor.spin_once(0.1)
    executor.shutdown()
    node.destroy_node()
    assert (len(got), lost) == (frames, [])


def test_replay_and_node_by_themselves_answer_every_frame_in_lockstep(
        tmp_path, bare, small_model, ros_environment):
    frames = 20
    bag = kitti_bag(tmp_path / 'bag', frames)
    with ChildProcess('The node', 'sync_perception.ros.node.perception_node', [
            '--ros-args', '-p', f'model:={small_model}', '-p', 'device:=cpu'],
            tmp_path / 'node.log') as node:
        with ChildProcess('The replay', 'sync_perception.ros.replay.replay_node', [
                '--ros-args', '-p', 'source:=bag', '-p', f'path:={bag}', '-p', 'speed:=0.0',
                '-p', 'rate:=30.0', '-p', 'lockstep:=true', '-p', 'lockstep_timeout:=600.0'],
                tmp_path / 'replay.log') as replay:
            end = time.monotonic() + PATIENCE
            while replay.exit_code is None:
                assert time.monotonic() < end, f'{node.last_lines()}, {replay.last_lines()}'
                assert node.exit_code is None, node.last_lines()
                time.sleep(0.1)
        assert replay.exit_code == 0, replay.last_lines()
        assert f'published {frames} frames' in replay.last_lines()
        assert 'sent again' not in replay.last_lines(100)
    log = node.last_lines(100)
    assert 'lost' not in log


def test_images_that_are_lost_on_the_way_are_counted_and_warned_about(bench, bare, capfd):
    found = []
    bench.start(listen=('depth',))
    bench.others.create_subscription(DiagnosticArray, '/diagnostics', lambda message: found.extend(
        status.message for status in message.status if 'lost on the way' in status.message), 10)
    bare.setenv(TRANSPORTS_VARIABLE, 'UDPv4')
    with subprocess.Popen([sys.executable, '-c', PUBLISHER]) as publisher:
        try:
            bench.wait(lambda: found)
        finally:
            publisher.kill()
    assert bench.counters.lost > 0
    advice = f'FASTRTPS_DEFAULT_PROFILES_FILE={shared_memory_profile()}'
    assert advice in found[0]
    lines = [line for line in capfd.readouterr().err.splitlines() if 'messages are lost' in line]
    assert len(lines) == 1 and '/image' in lines[0] and advice in lines[0]
