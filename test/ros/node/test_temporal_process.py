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

"""Temporal fusion with the default model, in a process of its own."""

from __future__ import annotations

from dataclasses import replace
import signal

from conditions import PATIENCE, wait_until
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from map_bench import header, RELIABLE
import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from signal_moments import command, launch
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message, stamp_nanoseconds
from sync_perception.ros.io.map_messages import pose_message

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]
SIZE = (150, 500)
LONG = 120.0
"""Seconds for the start of a process on a busy machine."""


class Robot:
    """Publishes images and poses, and receives depth and diagnostics."""

    def __init__(self):
        self.node = Node('robot')
        self.depths: dict[int, np.ndarray] = {}
        self.facts: dict[str, str] = {}
        self.messages: list[str] = []
        self.images = self.node.create_publisher(Image, 'image', RELIABLE)
        self.infos = self.node.create_publisher(CameraInfo, 'camera_info', RELIABLE)
        self.poses = self.node.create_publisher(PoseStamped, 'pose', RELIABLE)
        self.node.create_subscription(Image, 'sync/depth', self._receive, RELIABLE)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._note, RELIABLE)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def _receive(self, message: Image) -> None:
        self.depths[stamp_nanoseconds(message.header)] = np.frombuffer(
            message.data, np.float32).reshape(SIZE)

    def _note(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name == 'perception: camera':
                self.messages.append(status.message)
                self.facts = {value.key: value.value for value in status.values}

    def until(self, condition, log) -> None:
        """Spin until a condition holds."""
        def spun() -> bool:
            self.executor.spin_once(0.05)
            return bool(condition())
        wait_until(spun, log.read_text, LONG)

    def send(self, frame, stamp: int, pose: np.ndarray | None, log) -> np.ndarray:
        """Publish a frame and its pose, and return the depth that comes back."""
        while stamp not in self.depths:
            top = header(stamp)
            info = pinhole_camera_info(frame.K, frame.size)
            info.header = top
            self.infos.publish(info)
            if pose is not None:
                self.poses.publish(PoseStamped(header=replace_frame(top), pose=pose_message(pose)))
            self.images.publish(image_message(frame.image, top, 'rgb8'))
            self.until(lambda: stamp in self.depths, log)
        return self.depths[stamp]

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()


def replace_frame(top):
    """Return a header in the frame of the poses."""
    return header(stamp_nanoseconds(top), 'odom')


def test_a_drive_is_fused_by_its_poses(robot, tmp_path):
    """Frames with a pose are fused, one without is answered alone and said in diagnostics."""
    pytest.importorskip('open3d')
    from sync_perception.runtime.predictor import Predictor
    from sync_perception.street_world import StreetWorld
    world, log = StreetWorld(3, SIZE, weather='clear'), tmp_path / 'log'
    process = launch(command('perception', tmp_path, [
        'temporal:=fuse', 'poses.source:=pose', 'backend:=torch']), log)
    try:
        robot.until(lambda: robot.poses.get_subscription_count()
                    and robot.images.get_subscription_count()
                    and robot.node.count_publishers('/sync/depth'), log)
        predictor = Predictor(backend='torch', device='cpu')
        single, fused = [], []
        for index in range(5):
            rendered = world.render(index)
            frame = replace(rendered.frame, frame_id='cam')
            pose = None if index == 4 else rendered.world_T_camera
            fused.append(robot.send(frame, (index + 1) * 10 ** 8, pose, log))
            single.append(predictor.predict(frame).depth)
        equal = [np.allclose(*pair, rtol=1e-3, equal_nan=True) for pair in zip(single, fused)]
        assert equal == [True, False, False, False, True]
        robot.until(lambda: robot.facts.get('frames predicted alone') == '1 of 5', log)
        assert 'older' in robot.facts['last reason to predict alone']
        assert any('not fused' in message for message in robot.messages)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
    assert status == 0 and 'Traceback' not in log.read_text()
