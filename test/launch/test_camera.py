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
from launch.actions import GroupAction
import launch_pytest
from launch_ros.actions import PushRosNamespace
from lifecycle_msgs.srv import GetState
import pytest
from rcl_interfaces.srv import GetParameters
import rclpy

pytestmark = pytest.mark.timeout(300)
PATIENCE = 240.0


@pytest.fixture
def camera(include, small_model):
    """Return the launch file, with its outputs under /left."""
    return include('camera.launch.py', model=small_model, device='cpu', namespace='left',
                   image_topic='/cam/image_rect', points_stride=4)


@launch_pytest.fixture
def launched(camera):
    """Launch it."""
    return LaunchDescription([camera, launch_pytest.actions.ReadyToTest()])


@launch_pytest.fixture
def two_cameras(include, small_model):
    """Launch it for two cameras of a consumer."""
    return LaunchDescription([
        include('camera.launch.py', model=small_model, device='cpu', cameras='front,left',
                image_topic='image_rect', consumer='hydra'),
        launch_pytest.actions.ReadyToTest()])


@launch_pytest.fixture
def twice(include):
    """Launch it twice, as another launch file would: in groups, under a robot's namespace."""
    groups = [
        GroupAction([
            PushRosNamespace('robot'), PushRosNamespace(place),
            include('camera.launch.py', autostart='false', points_stride=stride,
                    image_topic=f'{place}_image')])
        for place, stride in (('front', 2), ('rear', 8))]
    return LaunchDescription([*groups, launch_pytest.actions.ReadyToTest()])


@pytest.fixture
def observer(ros_environment):
    """Return a node that looks at the graph."""
    rclpy.init()
    node = rclpy.create_node('observer')
    yield node
    node.destroy_node()
    rclpy.shutdown()


def ask(observer, kind: type, service: str, request):
    """Call a service that will be there sooner or later."""
    client = observer.create_client(kind, service)
    assert client.wait_for_service(PATIENCE), f'nobody offers {service}'
    answer = client.call_async(request)
    rclpy.spin_until_future_complete(observer, answer, timeout_sec=PATIENCE)
    observer.destroy_client(client)
    return answer.result()


def wait_until_active(observer, node: str) -> None:
    """Wait until a lifecycle node is active."""
    end = time.monotonic() + PATIENCE
    label = ''
    while label != 'active':
        assert time.monotonic() < end, f'{node} is {label or "not there"}'
        label = ask(observer, GetState, f'{node}/get_state', GetState.Request()
                    ).current_state.label


@pytest.mark.launch(fixture=launched)
def test_the_node_becomes_active_on_its_topics(observer):
    wait_until_active(observer, '/left/perception')
    topics = dict(observer.get_topic_names_and_types())
    assert topics['/cam/image_rect'] == ['sensor_msgs/msg/Image']
    assert topics['/left/camera_info'] == ['sensor_msgs/msg/CameraInfo']
    outputs = {name for name in topics if '/sync/' in name}
    assert outputs >= {f'/left/sync/{name}' for name in (
        'depth', 'semantics', 'semantics/confidence', 'semantics/color', 'overlay', 'points',
        'camera_info', 'label_space')}
    assert all(name.startswith('/left/sync/') for name in outputs)


@pytest.mark.launch(fixture=two_cameras)
def test_two_cameras_have_their_topics_below_their_names(observer):
    wait_until_active(observer, '/perception')
    topics = dict(observer.get_topic_names_and_types())
    for name in ('front', 'left'):
        assert topics[f'/{name}/image_rect'] == ['sensor_msgs/msg/Image']
        assert topics[f'/{name}/camera_info'] == ['sensor_msgs/msg/CameraInfo']
        assert topics[f'/{name}/sync/points'] == ['sensor_msgs/msg/PointCloud2']
    answer = ask(observer, GetParameters, '/perception/get_parameters',
                 GetParameters.Request(names=['cameras', 'semantics.encoding']))
    assert answer.values[0].string_array_value == ['front', 'left']
    assert answer.values[1].string_value == '16SC1'


@pytest.mark.launch(fixture=twice)
def test_two_of_them_keep_their_namespaces_and_arguments_apart(observer):
    for place, stride in (('front', 2), ('rear', 8)):
        answer = ask(
            observer, GetParameters, f'/robot/{place}/perception/get_parameters',
            GetParameters.Request(names=['points.stride', 'autostart']))
        assert answer.values[0].integer_value == stride
        assert answer.values[1].bool_value is False
