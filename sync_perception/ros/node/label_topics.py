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
"""Latched topics that describe the label ids."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from std_msgs.msg import Header, String
from sync_perception.labels import LabelSpace
from sync_perception.ros.core import qos
from sync_perception.ros.node.outputs import label_info_message, label_space_json
from sync_perception.ros.parameters.perception import PerceptionParameters


class LabelTopics:
    """
    Topics sync/label_space and, if vision_msgs is installed, sync/label_info.

    :param node: node that publishes them.
    """

    def __init__(self, node: Node):
        self.node = node
        self.publishers: list[Any] = []

    def publish(self, labels: LabelSpace, parameters: PerceptionParameters) -> None:
        """Publish a label space once; late subscribers receive it, too."""
        header = Header(stamp=self.node.get_clock().now().to_msg())
        space = String(data=label_space_json(labels, parameters))
        for topic, message in (
                ('sync/label_space', space),
                ('sync/label_info', label_info_message(labels, header))):
            if message is not None:
                publisher = self.node.create_publisher(type(message), topic, qos.latched())
                publisher.publish(message)
                self.publishers.append(publisher)

    def withdraw(self) -> None:
        """Remove the publishers."""
        for publisher in self.publishers:
            self.node.destroy_publisher(publisher)
        self.publishers = []
