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

"""The mapping node as a process: a street over DDS in, its map out, and an end by signals."""

from __future__ import annotations

from dataclasses import replace
import json
import signal
from threading import Event, Thread
import time

from conditions import PATIENCE, wait_until
from map_bench import FramePublisher, LATCHED, RELIABLE, xyz
import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from signal_moments import command, launch, SIGNALS, try_once
from std_srvs.srv import Trigger
from sync_perception.geometry import project, transform
from sync_perception.labels import LabelSpace
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.poses.pose_sources import pose_matrix
from sync_perception.runtime.pointcloud import POINT
from sync_perception.types import Prediction

pytestmark = pytest.mark.timeout(300)
SIZE = (150, 500)
FRAMES = 8
RESEND = 3.0
"""Seconds after which a frame without an answer is sent again."""
LONG = 90.0
"""Seconds for the start of a process on a busy machine."""
PARAMETERS = ['map.voxel:=0.2', 'map.max_range:=20.0', 'map.radius:=25.0', 'map.rate:=0.0',
              'publish.period:=0.2']


@pytest.fixture(scope='module')
def street():
    """Render a few frames of a street: frame, exact prediction, world_T_camera."""
    pytest.importorskip('open3d')
    from sync_perception.street_world import StreetWorld
    world = StreetWorld(3, SIZE, weather='clear')

    def seen(index: int):
        rendered = world.render(index)
        depth = np.where(np.isfinite(rendered.depth), rendered.depth, np.nan).astype(np.float32)
        return (replace(rendered.frame, frame_id='cam'), Prediction(
            depth, rendered.labels, np.full(SIZE, 0.9, np.float32)), rendered.world_T_camera)
    return [seen(index) for index in range(FRAMES)]


class Robot:
    """Publishes the frames of the street, and receives map and odometry."""

    def __init__(self):
        self.node = Node('robot')
        self.clouds: list[PointCloud2] = []
        self.odometry: list = []
        self.answered = Event()
        self.frames = FramePublisher(self.node, LabelSpace.load('driving'), poses=False)
        self.node.create_subscription(PointCloud2, 'sync/map', self.clouds.append, LATCHED)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.thread = Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def listen_to_odometry(self) -> None:
        """Receive the poses that the node makes."""
        kind = pytest.importorskip('nav_msgs.msg').Odometry
        self.node.create_subscription(kind, 'sync/odometry', self._receive, RELIABLE)

    def _receive(self, pose) -> None:
        self.odometry.append(pose)
        self.answered.set()

    def drive(self, street) -> None:
        """
        Send each frame when the one before is answered.

        What is sent before the node has discovered its publisher is lost, so it is sent again.
        """
        wait_until(lambda: all(publisher.get_subscription_count() for publisher in
                               self.frames.publishers.values()), patience=LONG)
        wait_until(lambda: self.node.count_publishers('/sync/odometry'))
        for count, (frame, prediction, _) in enumerate(street):
            end = time.monotonic() + LONG
            while len(self.odometry) <= count:
                assert time.monotonic() < end, f'frame {count} was never answered'
                self.frames.send(frame, prediction, frame.stamp + 10 ** 9)
                self.answered.wait(RESEND)
                self.answered.clear()

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.thread.join(PATIENCE)
        self.node.destroy_node()


def test_a_street_over_dds_becomes_a_map_with_its_labels(robot, street, tmp_path):
    """Visual odometry follows the drive; the map read back has the labels of the street."""
    log = tmp_path / 'log'
    robot.listen_to_odometry()
    process = launch(command('mapping', tmp_path, [
        *PARAMETERS, f'map.folder:={tmp_path / "map"}']), log)
    try:
        robot.drive(street)
        last = street[-1][0].stamp + 10 ** 9
        wait_until(lambda: robot.clouds and stamp_nanoseconds(robot.clouds[-1].header) == last,
                   log.read_text, LONG)
        check_odometry(robot.odometry, street)
        check_cloud(robot.clouds[-1], robot.odometry[-1], street[-1])
        client = robot.node.create_client(Trigger, '/mapping/save')
        assert client.wait_for_service(PATIENCE)
        answer = client.call_async(Trigger.Request())
        wait_until(answer.done)
        assert answer.result().success, answer.result().message
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
    assert status == 0 and 'Traceback' not in log.read_text()
    assert json.loads((tmp_path / 'map' / 'map.json').read_text())['state']['frames'] == FRAMES


def check_odometry(poses, street) -> None:
    """Check that the motion is that of the rendered drive, in a level frame."""
    assert all(pose.header.frame_id == 'odom' and pose.child_frame_id == 'cam' for pose in poses)
    found = np.linalg.inv(pose_matrix(poses[0].pose.pose)) @ pose_matrix(poses[-1].pose.pose)
    true = np.linalg.inv(street[0][2]) @ street[-1][2]
    way = np.linalg.norm(true[:3, 3])
    assert np.linalg.norm(found[:3, 3] - true[:3, 3]) < 0.05 * way + 0.1
    ahead = pose_matrix(poses[-1].pose.pose)[:3, 3]
    assert ahead[0] > 0.9 * way and abs(ahead[2]) < 0.2 * way


def check_cloud(cloud: PointCloud2, odometry, seen) -> None:
    """Check that the map has the labels of the last frame where that sees it."""
    frame, prediction, _ = seen
    assert cloud.header.frame_id == 'odom'
    points = np.frombuffer(cloud.data, POINT)
    assert len(points) > 2000
    local = transform(xyz(points).astype(np.float64),
                      np.linalg.inv(pose_matrix(odometry.pose.pose)))
    pixel = np.rint(project(local, frame.K)).astype(int)
    inside = (local[:, 2] > 1) & (pixel >= 0).all(1) & (pixel < SIZE[::-1]).all(1)
    columns, rows = pixel[inside].T
    depth = prediction.depth[rows, columns]
    near = np.abs(depth - local[inside, 2]) < 0.5
    assert near.sum() > 500
    same = points['label'][inside][near] == prediction.labels[rows, columns][near]
    assert same.mean() > 0.85


def test_signals_end_the_mapping_node(robot, street, tmp_path):
    """Both signals end the process with status 0, from its start to the work on frames."""
    words = command('mapping', tmp_path, [*PARAMETERS, f'map.folder:={tmp_path / "map"}'])
    stop = []

    def send() -> None:
        index = 0
        while not stop:
            frame, prediction, _ = street[index % FRAMES]
            robot.frames.send(frame, prediction, (index + 10) * 10 ** 8)
            index += 1
            time.sleep(0.2)

    sender = Thread(target=send, daemon=True)
    sender.start()
    try:
        for index, moment in enumerate((0.0, 2.0, 6.0)):
            outcome = try_once(words, SIGNALS[index % 2], moment, tmp_path / 'log')
            assert outcome.good, str(outcome)
    finally:
        stop.append(True)
        sender.join(PATIENCE)
