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

"""A bench for the mapping node: it gets exact frames of a rendered room, and poses."""

from __future__ import annotations

from threading import Thread
from typing import Any

from conditions import PATIENCE, wait_until
from geometry_msgs.msg import PoseStamped
import numpy as np
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rendered_room import K, Room, SIZE, SPACE
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger
from sync_perception.ros.health.map_counters import MapCounters
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import depth_message, image_message, labels_message
from sync_perception.ros.io.map_messages import pose_message
from sync_perception.ros.map.node import MappingNode
from sync_perception.ros.node.outputs import label_space_json
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.pointcloud import POINT
from sync_perception.types import Frame, Prediction

RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
STEP = 10 ** 9
"""Nanoseconds between two frames."""
ROOM = {'map.voxel': 0.15, 'map.max_range': 8.0, 'map.radius': 10.0, 'map.rate': 0.0,
        'publish.period': 0.1, 'poses.source': 'pose'}
"""Parameters for the room."""


def header(stamp: int, frame_id: str = 'cam') -> Header:
    """Return a header of this stamp in nanoseconds."""
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = divmod(stamp, 10 ** 9)
    return made


class FramePublisher:
    """Publishes frames and predictions as a perception node does, and poses as a robot does."""

    def __init__(self, node: Node, space=SPACE, poses: bool = True):
        self.node = node
        self.topics = {
            'image': 'image', 'depth': 'sync/depth', 'labels': 'sync/semantics',
            'confidence': 'sync/semantics/confidence'}
        self.publishers = {name: node.create_publisher(Image, topic, RELIABLE)
                           for name, topic in self.topics.items()}
        self.info = node.create_publisher(CameraInfo, 'sync/camera_info', LATCHED)
        self.pose = node.create_publisher(PoseStamped, 'pose', RELIABLE) if poses else None
        self.space = node.create_publisher(String, 'sync/label_space', LATCHED)
        if space is not None:
            self.send_space(space)

    def send_space(self, space) -> None:
        """Publish a label space."""
        self.space.publish(String(data=label_space_json(space, PerceptionParameters())))

    def wait_for_node(self) -> None:
        """Wait until the mapping node listens to everything."""
        publishers = [*self.publishers.values(), self.info, self.space]
        if self.pose is not None:
            publishers.append(self.pose)
        wait_until(lambda: all(each.get_subscription_count() for each in publishers))

    def send_pose(self, stamp: int, pose: np.ndarray, frame_id: str = 'map') -> None:
        """Publish a pose of the camera."""
        self.pose.publish(PoseStamped(header=header(stamp, frame_id), pose=pose_message(pose)))

    def send(self, frame: Frame, prediction: Prediction, stamp: int, leave_out=(),
             frame_id: str = 'cam', **spoiled: Any) -> None:
        """Publish the messages of a frame; `spoiled` replaces messages."""
        top = header(stamp, frame_id)
        messages = {
            'image': image_message(frame.image, top, 'rgb8'),
            'depth': depth_message(prediction.depth, top, '32FC1'),
            'labels': labels_message(prediction.labels, top, 'mono8'),
            'confidence': image_message(prediction.confidence, top, '32FC1')}
        for name, message in {**messages, **spoiled}.items():
            if name not in leave_out:
                self.publishers[name].publish(message)
        info = pinhole_camera_info(frame.K, frame.size)
        info.header = top
        self.info.publish(info)


class MapBench:
    """The mapping node under test, and another node that plays all others."""

    def __init__(self):
        self.node: MappingNode | None = None
        self.others = Node('others')
        self.clouds: list[PointCloud2] = []
        self.executors, self.threads = [], []
        self.room = Room()

    def start(self, listen: bool = True, frames: FramePublisher | None = None,
              **overrides: Any) -> MapBench:
        """Start the node with these parameters (__ for dots), and listen to its map."""
        values = {**ROOM, **{name.replace('__', '.'): value for name, value in overrides.items()}}
        self.frames = frames or FramePublisher(self.others)
        if listen:
            self.others.create_subscription(PointCloud2, 'sync/map', self.clouds.append, LATCHED)
        self.node = MappingNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
        self.spin(self.others)
        self.spin(self.node)
        self.wait(self.executors[1].create_task(self.node.autostart).done)
        poses = self.node.waiting and self.node.waiting.poses
        if self.node.inputs is not None and poses is not None:
            self.frames.wait_for_node()
            # and the other way round, since what is sent before is lost
            inputs = self.node.inputs
            needed = [inputs.camera_info, *(
                subscription for name, subscription in inputs.subscriptions.items()
                if name != 'uncertainty')]
            if hasattr(poses, 'subscription'):
                needed.append(poses.subscription)
            self.wait(lambda: all(each.get_publisher_count() for each in needed))
        return self

    @property
    def counters(self) -> MapCounters:
        """Return the node's counts."""
        return self.node.mapper.counters

    def spin(self, node: Node) -> None:
        """Serve a node on a thread."""
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = Thread(target=executor.spin, daemon=True)
        thread.start()
        self.executors.append(executor)
        self.threads.append(thread)

    def wait(self, condition) -> None:
        """Wait until a condition holds that other threads bring about."""
        wait_until(condition, lambda: self.node.mapper and (
            self.counters, self.node.mapper.troubles))

    def send(self, index: int, pose: np.ndarray, with_pose: bool = True, **spoiled: Any) -> None:
        """Publish a frame of the room, seen exactly, and its pose."""
        stamp = (index + 1) * STEP
        if with_pose:
            self.frames.send_pose(stamp, pose)
        self.frames.send(*self.room.render(pose), stamp, **spoiled)

    def fuse(self, poses, first: int = 0) -> None:
        """Publish frames, one after the other, until all are in the map."""
        for index, pose in enumerate(poses, first):
            before = self.counters.published
            self.send(index, pose)
            self.wait(lambda before=before: self.counters.published > before)

    def points(self, cloud: PointCloud2) -> np.ndarray:
        """Return the points of a cloud as structured array."""
        assert cloud.point_step == POINT.itemsize
        assert [(field.name, field.offset) for field in cloud.fields] == [
            (name, POINT.fields[name][1]) for name in POINT.names]
        return np.frombuffer(cloud.data, POINT)

    def call(self, name: str) -> Trigger.Response:
        """Call one of the node's services."""
        client = self.others.create_client(Trigger, f'/mapping/{name}')
        assert client.wait_for_service(PATIENCE)
        answer = client.call_async(Trigger.Request())
        self.wait(answer.done)
        return answer.result()

    def close(self) -> None:
        """End everything."""
        for executor in self.executors:
            executor.shutdown()
        for thread in self.threads:
            thread.join(PATIENCE)
        if self.node is not None:
            self.node.close()
            self.node.destroy_node()
        self.others.destroy_node()


def xyz(points: np.ndarray) -> np.ndarray:
    """Return the positions of points, (N, 3)."""
    return np.stack([points['x'], points['y'], points['z']], axis=1)


__all__ = ['FramePublisher', 'header', 'K', 'MapBench', 'SIZE', 'STEP', 'xyz']
