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


"""The camera launch file under the real launch system: it comes up, is seen, and goes down."""

from __future__ import annotations

import time

from launch import LaunchDescription
import launch_pytest
from lifecycle_msgs.srv import GetState
import pytest
import rclpy

pytestmark = pytest.mark.timeout(300)
PATIENCE = 240.0


@pytest.fixture(scope='module')
def camera(include, small_model):
    """Return the launch file, with its outputs under /left."""
    return include('camera.launch.py', model=small_model, device='cpu', namespace='left',
                   image_topic='/cam/image_rect', points_stride=4)


@launch_pytest.fixture(scope='module')
def launched(camera):
    """Launch it."""
    return LaunchDescription([camera, launch_pytest.actions.ReadyToTest()])


@pytest.fixture
def observer(ros_environment):
    """Return a node that looks at the graph."""
    rclpy.init()
    node = rclpy.create_node('observer')
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.launch(fixture=launched)
def test_the_node_becomes_active_on_its_topics(observer):
    client = observer.create_client(GetState, '/left/perception/get_state')
    end = time.monotonic() + PATIENCE
    label = ''
    while label != 'active':
        assert time.monotonic() < end, f'the node is {label or "not there"}'
        if client.wait_for_service(1.0):
            answer = client.call_async(GetState.Request())
            rclpy.spin_until_future_complete(observer, answer, timeout_sec=5.0)
            label = answer.result().current_state.label if answer.done() else ''
    topics = dict(observer.get_topic_names_and_types())
    assert topics['/cam/image_rect'] == ['sensor_msgs/msg/Image']
    assert topics['/left/camera_info'] == ['sensor_msgs/msg/CameraInfo']
    outputs = {name for name in topics if name.startswith('/left/sync/')}
    assert outputs == {f'/left/sync/{name}' for name in (
        'depth', 'semantics', 'semantics/confidence', 'semantics/color', 'overlay', 'points',
        'camera_info', 'label_space')}
