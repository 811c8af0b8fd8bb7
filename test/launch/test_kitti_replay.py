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


"""The KITTI launch file: the drive is played, answered, and then everything ends by itself."""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessIO
import pytest

DRIVE = Path('kitti', '2011_09_26', '2011_09_26_drive_0000_sync')


@pytest.mark.timeout(300)
def test_a_drive_is_played_to_its_end(include, small_model, data_root):
    output: list[str] = []
    ends: dict[str, int] = {}

    def ended(event, context: LaunchContext) -> None:
        ends[event.process_name.rsplit('-', 1)[0]] = event.returncode

    service = LaunchService()
    service.include_launch_description(LaunchDescription([
        RegisterEventHandler(OnProcessExit(on_exit=ended)),
        RegisterEventHandler(OnProcessIO(
            on_stdout=lambda event: output.append(event.text.decode()),
            on_stderr=lambda event: output.append(event.text.decode()))),
        include('kitti_replay.launch.py', drive=data_root / DRIVE, count=3, rate=5.0,
                lockstep='true', model=small_model, device='cpu')]))
    assert service.run() == 0
    assert ends == {'replay_node': 0, 'perception_node': 0}
    text = ''.join(output)
    assert 'published 3 frames' in text
    assert 'no answer' not in text
