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

"""The replay's launch file: a recording is played, answered, and then everything ends."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)
DRIVE = Path('kitti', '2011_09_26', '2011_09_26_drive_0000_sync')


def test_a_drive_is_played_to_its_end(run, small_model, data_root):
    went = run(drive=data_root / DRIVE, count=3, rate=5.0, lockstep='true', model=small_model,
               device='cpu', namespace='car')
    assert went.status == 0
    assert went.ends == {'replay_node': 0, 'perception_node': 0}
    assert 'published 3 frames' in went.output
    assert 'no answer' not in went.output
    assert went.parameters['perception_node']['use_sim_time'] is False


def test_a_bag_is_played_by_the_replay_node(run, small_model, data_root, tmp_path):
    pytest.importorskip('rosbags')
    from sync_perception.ros.bags.kitti import kitti_to_bag
    kitti_to_bag(data_root / DRIVE, tmp_path / 'bag', cameras=[2])
    went = run(bag=tmp_path / 'bag', count=2, lockstep='true', clock='true',
               model=small_model, device='cpu', image_topic='/road/image_rect')
    assert went.status == 0
    assert went.ends == {'replay_node': 0, 'perception_node': 0}
    assert 'published 2 frames' in went.output
    assert 'no answer' not in went.output
    assert went.parameters['perception_node']['use_sim_time'] is True


def test_a_bag_is_played_by_ros2_bag_play(run, tmp_path, stand_in_package, monkeypatch):
    note, folder = tmp_path / 'command.txt', tmp_path / 'bin'
    folder.mkdir()
    (tmp_path / 'drive bag').mkdir()
    stand_in_package('ros2bag')
    # stands in for the command of a full installation; the launch must end when it ends
    (folder / 'ros2').write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{note}"\n')
    (folder / 'ros2').chmod(0o755)
    monkeypatch.setenv('PATH', str(folder), prepend=':')
    went = run(bag=tmp_path / 'drive bag', player='ros2bag', loop='true', autostart='false',
               speed=0.5, bag_image='/cam/image_raw', namespace='car',
               play_args='--start-offset 10')
    assert went.status == 0
    assert went.ends['ros2_bag_play'] == 0 and 'perception_node' in went.ends
    assert went.parameters['perception_node'].items() >= {
        'use_sim_time': True, 'autostart': False}.items()
    assert note.read_text().splitlines() == [
        'bag', 'play', str(tmp_path / 'drive bag'), '--clock', '--rate', '0.5', '--loop',
        '--remap', '/cam/image_raw:=/car/image', '--start-offset', '10']


def test_with_shutdown_false_the_node_outlives_the_recording(run, small_model, data_root):
    went = run(drive=data_root / DRIVE, count=1, lockstep='True', model=small_model, device='cpu',
               shutdown='False')
    assert went.status == 0
    assert went.ends == {'replay_node': 0, 'perception_node': 0}
    assert went.reasons == ['the test has seen the replay end']
