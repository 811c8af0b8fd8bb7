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

"""`ros2 launch` with a mistake in an argument: one line that names it, status 1, no process."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import uuid

import psutil
import pytest

pytestmark = pytest.mark.timeout(300)
DRIVE = Path('kitti', '2011_09_26', '2011_09_26_drive_0000_sync')
LAUNCH_FILES = Path(__file__).resolve().parents[2] / 'launch'


@pytest.fixture
def ros2_launch(tmp_path):
    """Return the function that runs a launch file in a namespace of its own, to its end."""
    namespace = f'test_{uuid.uuid4().hex}'

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ['ros2', 'launch', str(LAUNCH_FILES / name), f'namespace:={namespace}', *arguments],
            env={**os.environ, 'ROS_LOG_DIR': str(tmp_path / 'log')}, cwd=tmp_path,
            capture_output=True, text=True, timeout=200)

    yield run
    left = [process for process in psutil.process_iter(['cmdline'])
            if any(namespace in word for word in process.info['cmdline'] or ())]
    for process in left:
        process.kill()
    assert left == []


def errors(done: subprocess.CompletedProcess) -> list[str]:
    """Return the lines of the launch system itself that are errors."""
    return [line for line in (done.stdout + done.stderr).splitlines()
            if line.startswith('[ERROR] [launch]')]


@pytest.mark.parametrize('mistake', [
    'rate:=fast', 'speed:=x', 'count:=1.5', 'loop:=maybe', 'camera:=two', 'shutdown:=2',
    'params_file:=/nope.yaml', 'log_level:=loud', 'consumer:=foo', 'points_color:=red',
    'max_depth:=-3', 'cameras:=front,,left', 'model:=/nope', 'device:=gpu', 'use_sim_time:=2',
    'profile:=/nope.xml', 'image_topic:=a b', 'rat:=5'])
def test_a_mistake_in_the_replay_leaves_nothing_behind(ros2_launch, tmp_path, mistake):
    done = ros2_launch('kitti_replay.launch.py', f'drive:={tmp_path}', mistake)
    assert done.returncode == 1
    assert 'Traceback' not in done.stdout + done.stderr
    line, = errors(done)
    name, _, value = mistake.partition(':=')
    assert name in line
    assert value in line or name == 'rat'
    assert 'process started' not in done.stdout + done.stderr


def test_a_perception_node_that_ends_ends_the_replay(ros2_launch, data_root):
    # nobody would ever hear the replay
    done = ros2_launch(
        'kitti_replay.launch.py', f'drive:={data_root / DRIVE}', 'launch-prefix:=false',
        'launch-prefix-filter:=perception_node')
    assert done.returncode == 1
    line, = errors(done)
    assert 'perception_node' in line


def test_a_recording_that_cannot_be_played_ends_the_launch(ros2_launch, tmp_path):
    done = ros2_launch('kitti_replay.launch.py', f'drive:={tmp_path}', 'autostart:=false')
    assert done.returncode == 1
    assert any('replay_node' in line for line in errors(done))
