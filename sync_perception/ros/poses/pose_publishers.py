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

"""Topics of the poses that the node makes itself: sync/odometry and tf."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header
from sync_perception.ros.core import qos
from sync_perception.ros.core.optional_messages import Odometry, TFMessage
from sync_perception.ros.io.map_messages import odometry_message, transform_message


class PosePublishers:
    """
    Publishers of the camera's pose.

    :param on_tf: whether the pose is published on /tf as well, if tf2_msgs is installed.
    """

    def __init__(self, node: Node, on_tf: bool):
        self.node = node
        self.odometry = self.transforms = None
        if Odometry is None:
            node.get_logger().warning('nav_msgs is not installed: no sync/odometry')
        else:
            self.odometry = node.create_publisher(
                Odometry, 'sync/odometry', qos.output(), qos_overriding_options=qos.overridable())
        if on_tf and TFMessage is None:
            node.get_logger().info('tf2_msgs is not installed: the poses are not on /tf')
        elif on_tf:
            self.transforms = node.create_publisher(TFMessage, '/tf', qos.tf_input())

    def publish(self, world_T_camera: np.ndarray, header: Header, world_frame: str) -> None:
        """
        Publish a pose.

        :param header: header of the frame.
        """
        world = Header(stamp=header.stamp, frame_id=world_frame)
        if self.odometry is not None:
            self.odometry.publish(odometry_message(world_T_camera, world, header.frame_id))
        if self.transforms is not None:
            self.transforms.publish(TFMessage(
                transforms=[transform_message(world_T_camera, world, header.frame_id)]))

    def close(self) -> None:
        """Remove the topics."""
        for publisher in filter(None, (self.odometry, self.transforms)):
            self.node.destroy_publisher(publisher)
        self.odometry = self.transforms = None
