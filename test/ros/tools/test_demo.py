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


"""The demo's choices, what it says when something fails, and one short drive."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import pytest
from rclpy.utilities import remove_ros_args
from sync_perception.ros.tools.demo import (
    check_alive,
    choose_drive,
    DemoFailed,
    ros_arguments,
    SYNTHETIC_FRAMES,
    wait_until,
)
from sync_perception.ros.tools.processes import ChildProcess
from sync_perception.ros.tools.topic_watcher import Watcher


def test_without_a_drive_it_is_synthetic():
    """Nothing else is needed for a first look."""
    assert choose_drive(None, 0).count == SYNTHETIC_FRAMES
    assert choose_drive(None, 7).count == 7
    assert choose_drive(None, 7).parameters == ['source:=synthetic']


def test_a_real_drive(data_root):
    """The drive's length limits the frames."""
    folder = data_root / 'kitti' / '2011_09_26' / '2011_09_26_drive_0000_sync'
    assert choose_drive(folder, 0).count == 53
    assert choose_drive(folder, 10).count == 10
    assert choose_drive(folder, 1000).count == 53
    assert f'path:={folder}' in choose_drive(folder, 0).parameters


def test_a_folder_without_a_drive(tmp_path):
    """The message names the folder."""
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        choose_drive(tmp_path, 0)


def test_parameters_become_ros_arguments():
    """ROS takes all of them away; what has no value is left to its default."""
    arguments = ros_arguments(['model:=', 'rate:=10.0', 'source:=kitti'])
    assert arguments == ['--ros-args', '-p', 'rate:=10.0', '-p', 'source:=kitti']
    assert remove_ros_args(['node', *arguments]) == ['node']


def test_a_dead_child_is_reported_with_its_last_words(ros, tmp_path):
    """The user sees why a process ended, not that something timed out."""
    watcher = Watcher()
    try:
        with ChildProcess('The node', 'sync_perception.no_such_module', [],
                          tmp_path / 'node.log') as child:
            with pytest.raises(DemoFailed, match='node.*status 1') as failure:
                wait_until(lambda: False, watcher, [child], 'start', limit=60)
            with pytest.raises(DemoFailed):
                check_alive([child])
    finally:
        watcher.close()
    assert 'no_such_module' in str(failure.value)


def test_waiting_has_an_end(ros, tmp_path):
    """A process that lives but does nothing is given up."""
    watcher = Watcher()
    try:
        with ChildProcess('The node', 'http.server', ['0'], tmp_path / 'node.log') as child:
            with pytest.raises(DemoFailed, match='did not start within 0 s'):
                wait_until(lambda: False, watcher, [child], 'start', limit=0.2)
    finally:
        watcher.close()


@pytest.mark.timeout(300)
def test_a_short_drive(tmp_path, small_model):
    """Three processes, a few synthetic frames: counted, drawn, mapped, summed up."""
    pytest.importorskip('open3d')
    # in a domain of its own, as for a user: this process may hold participants in the tests' one
    environment = {name: value for name, value in os.environ.items() if name != 'ROS_DOMAIN_ID'}
    ended = subprocess.run(
        [sys.executable, '-m', 'sync_perception.ros.tools.demo', '--frames', '4', '--rate', '2',
         '--pictures', '1', '--model', str(small_model), '--device', 'cpu',
         '--out', str(tmp_path)], capture_output=True, text=True, timeout=280, check=False,
        env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert 'sync/points' in ended.stdout
    summary = json.loads((tmp_path / 'summary.json').read_text())
    frames = summary['frames']
    assert frames['in'] == 4
    assert frames['out'] + frames['dropped'] + frames['unanswered'] == 4
    assert frames['out'] >= 2
    assert summary['pictures'] == [
        'panel_00.png', 'cloud_00.png', 'map/above.png', 'map/side.png']
    for name in summary['pictures'][:2]:
        assert cv2.imread(str(tmp_path / name)).std() > 10
    assert cv2.imread(str(tmp_path / 'map' / 'side.png')) is not None
