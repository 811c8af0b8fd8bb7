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

"""RViz, played by a program that notes how it was called, as the launch file starts it."""

from __future__ import annotations

from launch import LaunchDescription, LaunchService
from launch.actions import RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit, OnProcessStart
import pytest

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def noted(tmp_path, stand_in_package):
    """Install an rviz2 that writes its arguments, one a line, into the file that is returned."""
    note = tmp_path / 'arguments.txt'
    stand_in_package('rviz2', rviz2=f'printf "%s\\n" "$@" > {note}')
    return note


def test_rviz_follows_the_namespace_the_frame_and_the_first_camera(include, noted):
    def ended(event, context):
        return [Shutdown(reason='seen')] if event.process_name.startswith('rviz2') else None

    service = LaunchService()
    service.include_launch_description(LaunchDescription([
        RegisterEventHandler(OnProcessExit(on_exit=ended)),
        include('camera.launch.py', rviz='true', rviz_frame='map', autostart='false',
                namespace='robot', cameras='front,left')]))
    assert service.run() == 0
    words = noted.read_text().splitlines()
    assert words[words.index('-d') + 1].endswith('config/rviz/sync.rviz')
    assert words[words.index('-f') + 1] == 'map'
    assert {'__ns:=/robot', 'sync/points:=front/sync/points',
            'sync/overlay:=front/sync/overlay'} <= set(words)


def test_without_rviz_nothing_starts(include, stand_in_package):
    if stand_in_package.installed('rviz2'):
        pytest.skip('rviz2 is installed')
    started = []
    service = LaunchService()
    service.include_launch_description(LaunchDescription([
        RegisterEventHandler(OnProcessStart(
            on_start=lambda event, context: started.append(event.process_name))),
        include('camera.launch.py', rviz='true', autostart='false')]))
    assert service.run() != 0
    assert started == []
