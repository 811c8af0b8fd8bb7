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

"""The ros2 command against a node that a launch file has started."""

from __future__ import annotations

from importlib.util import find_spec
import subprocess

from launch import LaunchDescription
import launch_pytest
import pytest
import yaml

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(find_spec(name) for name in ('ros2param', 'ros2lifecycle', 'ros2topic')),
        reason='ros2param, ros2lifecycle and ros2topic come with a ROS 2 installation')]


@launch_pytest.fixture
def launched(include, small_model):
    """Launch a node that its tests configure."""
    return LaunchDescription([
        include('camera.launch.py', model=small_model, device='cpu', autostart='false',
                points_stride=2, image_topic='/cam/image_rect'),
        launch_pytest.actions.ReadyToTest()])


def ros2(*words: str, shows: str) -> str:
    """
    Run the command to its end, without a daemon that would stay behind; return what it prints.

    :param shows: must be in it. On a busy machine the node is found only by a longer search.
    """
    for seconds in (1, 5, 20):
        done = subprocess.run(
            ['ros2', *words[:2], '--no-daemon', '--spin-time', str(seconds), *words[2:]],
            capture_output=True, text=True, timeout=100)
        if shows in done.stdout:
            return done.stdout
    pytest.fail(f'{shows!r} is not in {done.stdout + done.stderr}')


@pytest.mark.launch(fixture=launched)
def test_parameters_states_and_topics(tmp_path):
    ros2('lifecycle', 'get', '/perception', shows='unconfigured')
    ros2('param', 'describe', '/perception', 'points.stride', shows='Max value: 64')
    ros2('lifecycle', 'set', '/perception', 'configure', shows='successful')
    ros2('lifecycle', 'set', '/perception', 'activate', shows='successful')

    dumped = ros2('param', 'dump', '/perception', shows='ros__parameters')
    values = yaml.safe_load(dumped)['/perception']['ros__parameters']
    assert values['points']['stride'] == 2 and values['device'] == 'cpu'
    values['points']['stride'] = 4
    file = tmp_path / 'parameters.yaml'
    file.write_text(yaml.safe_dump({'/perception': {'ros__parameters': values}}))
    ros2('param', 'load', '/perception', str(file), shows='Set parameter points.stride success')

    ros2('topic', 'info', '-v', '/cam/image_rect', shows='Reliability: BEST_EFFORT')
    ros2('topic', 'info', '-v', '/sync/camera_info', shows='Durability: TRANSIENT_LOCAL')
    ros2('lifecycle', 'set', '/perception', 'deactivate', shows='successful')
