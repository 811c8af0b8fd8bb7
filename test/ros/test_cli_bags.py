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


"""The verbs about bags, as a user calls them; here, because their work needs ROS's messages."""

from __future__ import annotations

import sys

from bag_checks import check_bag, write_drive
from camera_bags import camera_messages, cut, split_bag, START, write_bag
import pytest
from sync_perception import cli

pytest.importorskip('mcap', reason='bags are checked with the package mcap')


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; give its exit status, what it wrote to stdout and to stderr."""
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', ['sync_perception', *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err
    return call


def test_a_drive_is_converted_and_processed(run, tmp_path, small_model):
    write_drive(tmp_path, frames=3)
    status, said, _ = run('kitti-to-bag', tmp_path, '--out', tmp_path / 'bag', '--camera', 2,
                          '--storage', 'sqlite3')
    assert status == 0 and '     3 /kitti/image_02/image_rect\n' in said
    assert '/kitti/image_00' not in said
    check_bag(tmp_path / 'bag')
    status, said, shown = run(
        'process-bag', tmp_path / 'bag', tmp_path / 'out', '--model', small_model, '--device',
        'cpu', '--outputs', 'sync/depth', '--outputs', 'sync/points', '--param',
        'depth.encoding=16UC1', '--storage', 'mcap')
    assert status == 0 and 'out: 3 of 3 frames answered' in said
    assert '3/3' in shown
    information = check_bag(tmp_path / 'out')
    assert information['storage_identifier'] == 'mcap'
    topics = {entry['topic_metadata']['name'] for entry in
              information['topics_with_message_count']}
    assert {'/sync/depth', '/sync/points', '/sync/label_space', '/tf'} <= topics
    assert '/sync/semantics' not in topics


def test_distorted_images_are_rectified_on_request(run, tmp_path, small_model):
    messages = camera_messages(1)
    messages[0][2].d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    source = write_bag(tmp_path / 'in', messages)
    status, said, _ = run(
        'process-bag', source, tmp_path / 'out', '--model', small_model, '--rectify')
    assert status == 0 and '1 of 1 frames answered' in said and 'distortion' not in said


def test_the_scale_from_the_mount_is_reported(run, tmp_path, small_model):
    source = write_bag(tmp_path / 'in', camera_messages(2))
    status, said, _ = run(
        'process-bag', source, tmp_path / 'out', '--model', small_model, '--camera-height', '1.5',
        '--camera-pitch', '0.02')
    assert status == 0 and 'of 2 frames' in said and 'camera height' in said


def test_broken_files_show_in_the_status(run, tmp_path):
    drive = write_drive(tmp_path)
    (drive / 'image_02' / 'data' / '0000000000.png').write_bytes(b'')
    status, said, _ = run('kitti-to-bag', drive, '--out', tmp_path / 'bag')
    assert status == 1 and '1 damaged files' in said


def test_refused_frames_are_listed_and_show_in_the_status(run, tmp_path, small_model):
    messages = camera_messages(2)
    messages[4] = ('/cam/image', START + 1, b'\x00\x01\x00\x00rubbish')
    source = write_bag(tmp_path / 'in', messages)
    status, said, _ = run('process-bag', source, tmp_path / 'out', '--model', small_model)
    assert status == 1 and '1 of 2 frames answered' in said and '1 refused: message' in said


def test_no_answer_at_all_is_said_with_its_reason(run, tmp_path, small_model):
    messages = camera_messages(3)
    for topic, _, message in messages:
        if topic == '/cam/image':
            message.encoding = 'bgr99'
    status, said, _ = run('process-bag', write_bag(tmp_path / 'in', messages), tmp_path / 'out',
                          '--model', small_model)
    assert status == 1 and 'out contains no outputs' in said and '3 refused: encoding' in said
    check_bag(tmp_path / 'out')


def test_broken_files_of_a_bag_are_named(run, tmp_path, small_model):
    source = split_bag(tmp_path / 'in')
    cut(source / 'in_1.mcap')
    status, said, _ = run('process-bag', source, tmp_path / 'out', '--model', small_model)
    assert status == 1 and '4 of 4 frames answered' in said
    assert 'damaged: in_1.mcap' in said


@pytest.mark.parametrize(('arguments', 'message'), [
    (['process-bag', 'none', 'out'], 'there is no none, expected a rosbag2 bag'),
    (['process-bag', 'in', 'out', '--param', 'no.such=1'], 'there is no parameter no.such'),
    (['process-bag', 'in', 'out', '--param', 'points.stride=0'], 'got 0, expected 1 to 64'),
    (['process-bag', 'in', 'out', '--param', 'points.stride=two'], "got 'two', expected int"),
    (['process-bag', 'in', 'out', '--param', 'consumer=me'], "got 'me', expected one of generic"),
    (['process-bag', 'in', 'out', '--param', 'max_depth=.nan'], 'got nan, expected 0.0 to 1000'),
    (['process-bag', 'in', 'out', '--image', '/word'], 'it is a std_msgs/msg/String'),
    (['process-bag', 'in', 'in'], 'in is already a finished bag'),
    (['kitti-to-bag', 'in', '--out', 'out'], 'no KITTI raw drive in in'),
])
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_bag(tmp_path / 'in', camera_messages(1))
    status, _, said = run(*arguments)
    assert status == cli.FAILURE
    assert said.startswith('sync_perception: ') and said.count('\n') == 1
    assert message in said
    assert not (tmp_path / 'out').exists()
