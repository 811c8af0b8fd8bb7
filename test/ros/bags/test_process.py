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


"""Bags in, bags out: every frame, in order, none lost, and going on after an interruption."""

from __future__ import annotations

import errno
import json
from pathlib import Path
import signal
import subprocess
import sys

from bag_checks import check_bag, read_bag, write_drive
from bag_predictors import NumberPredictor
from camera_bags import (
    camera_messages,
    compressed,
    image,
    info,
    PERIOD,
    SIZE,
    START,
    write_bag,
    write_calibration,
)
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String
from sync_perception.ros.bags import process as process_module
from sync_perception.ros.bags.kitti import kitti_to_bag
from sync_perception.ros.bags.process import Job, process_bag
from sync_perception.ros.bags.rosbag2 import Bag
from sync_perception.ros.given_parameters import make_parameters

pytest.importorskip('mcap', reason='bags are checked with the package mcap')
KINDS = {'/cam/image': Image, '/cam/camera_info': CameraInfo, '/word': String,
         '/sync/depth': Image, '/sync/semantics': Image, '/sync/semantics/confidence': Image,
         '/sync/camera_info': CameraInfo, '/sync/label_space': String}


def run(source: Path, out: Path, predictor: NumberPredictor | None = None, lines=None,
        chunk_frames: int = 3, **options) -> dict:
    """Process a bag with answers that are known."""
    return process_bag(
        Job(source, out, **options), load=lambda parameters: predictor or NumberPredictor(),
        report=(lines if lines is not None else []).append, chunk_frames=chunk_frames)


def content(folder: Path) -> dict[str, list]:
    """Read time and message of everything, by topic."""
    found = {}
    for each in read_bag(folder):
        message = deserialize_message(each.data, KINDS[each.topic])
        found.setdefault(each.topic, []).append((each.time, message))
    return found


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_originals_and_answers_stand_side_by_side(tmp_path, storage):
    source = write_bag(tmp_path / 'in', camera_messages(8), storage)
    result = run(source, tmp_path / 'out')
    assert result == {'frames': 8, 'answered': 8, 'refused': {}, 'resumed': 0, 'files': 3}
    information = check_bag(tmp_path / 'out')
    assert information['storage_identifier'] == storage
    assert information['custom_data'] == {'sync_perception': 'numbers', 'image': '/cam/image'}
    before, after = content(source), content(tmp_path / 'out')
    assert set(after) == set(KINDS)
    for topic, messages in before.items():
        assert after[topic] == messages
    times = [START + index * PERIOD for index in range(8)]
    for topic in ('/sync/depth', '/sync/semantics', '/sync/semantics/confidence',
                  '/sync/camera_info'):
        assert [time for time, _ in after[topic]] == times
        assert [message.header for _, message in after[topic]] == [
            message.header for _, message in before['/cam/image']]
    for index, ((_, depth), (_, labels)) in enumerate(
            zip(after['/sync/depth'], after['/sync/semantics'])):
        assert (depth.encoding, labels.encoding) == ('32FC1', 'mono8')
        np.testing.assert_array_equal(
            np.frombuffer(depth.data, np.float32), np.full(SIZE[0] * SIZE[1], index + 0.5))
        assert set(labels.data) == {index % 5}
    space = json.loads(after['/sync/label_space'][0][1].data)
    assert space['name'] == 'driving' and len(after['/sync/label_space']) == 1
    profiles = {entry['topic_metadata']['name']: entry['topic_metadata']['offered_qos_profiles']
                for entry in information['topics_with_message_count']}
    assert profiles['/sync/label_space'][0]['durability'] == 'transient_local'
    assert profiles['/sync/depth'][0]['durability'] == 'volatile'


def test_the_order_of_time_holds_across_files(tmp_path):
    run(write_bag(tmp_path / 'in', camera_messages(7)), tmp_path / 'out')
    times = [message.time for message in read_bag(tmp_path / 'out')]
    assert times == sorted(times)
    with Bag(tmp_path / 'out') as bag:  # rosbags reads it as well
        assert [record.time for record in bag.records()] == times


def test_files_end_when_they_are_large_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, 'CHUNK_BYTES', 20_000)  # 10 KB a frame
    source = write_bag(tmp_path / 'in', camera_messages(8))
    assert run(source, tmp_path / 'out', chunk_frames=100)['files'] == 4
    check_bag(tmp_path / 'out')


@pytest.fixture
def interrupted(tmp_path):
    """Kill a process in the middle of a bag; return the bag it read and the one it wrote."""
    source, out = write_bag(tmp_path / 'in', camera_messages(14)), tmp_path / 'out'
    script = Path(__file__).parents[1] / 'bag_predictors.py'
    with subprocess.Popen(
            [sys.executable, str(script), str(source), str(out), '10'], text=True,
            stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            assert process.stdout.readline() == 'waiting\n'
        finally:
            process.send_signal(signal.SIGKILL)
    return source, out


def test_a_killed_process_is_gone_on_with(interrupted, tmp_path):
    source, out = interrupted
    assert not (out / 'metadata.yaml').exists()
    with pytest.raises(ValueError, match='unfinished output of process-bag'):
        Bag(out)
    files = {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
             for path in out.glob('out_?.mcap')}
    assert [path.name for path in sorted(files)] == ['out_0.mcap', 'out_1.mcap', 'out_2.mcap']
    lines, predictor = [], NumberPredictor()
    result = run(source, out, predictor, lines)
    assert predictor.seen == [9, 10, 11, 12, 13]
    assert result == {'frames': 14, 'answered': 14, 'refused': {}, 'resumed': 9, 'files': 5}
    assert any('going on after 9 frames' in line for line in lines)
    for path, (inode, changed, data) in files.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (inode, changed)
        assert path.read_bytes() == data
    check_bag(out)
    run(source, tmp_path / 'whole')
    assert content(out) == content(tmp_path / 'whole')


def test_only_the_same_job_goes_on(interrupted):
    source, out = interrupted
    for options, message in (
            ({'outputs': ('sync/depth',)}, 'outputs was .* and is now'),
            ({'namespace': 'front'}, "namespace was '' and is now 'front'"),
            ({'parameters': make_parameters({'depth.encoding': '16UC1'})}, 'depth_encoding was'),
            ({'storage': 'sqlite3'}, "storage was 'mcap' and is now 'sqlite3'")):
        with pytest.raises(ValueError, match=message):
            run(source, out, **options)
    state = out / 'unfinished.json'
    text = state.read_text()
    state.write_text(text[:50])
    with pytest.raises(ValueError, match='unfinished.json is broken'):
        run(source, out)
    state.write_text(text)
    (out / 'out_1.mcap').rename(out / 'elsewhere')
    with pytest.raises(ValueError, match='lacks out_1.mcap'):
        run(source, out)


def test_a_full_disk_leaves_a_state_that_can_be_resumed(tmp_path, monkeypatch):
    from rosbags.rosbag2 import storage_mcap
    source, written = write_bag(tmp_path / 'in', camera_messages(8)), []
    write = storage_mcap.McapWriter.write

    def fill_up(self, connection, time, data):
        written.append(time)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(self, connection, time, data)
    monkeypatch.setattr(storage_mcap.McapWriter, 'write', fill_up)
    with pytest.raises(OSError, match='No space left on device; 3 frames are done: the same'):
        run(source, tmp_path / 'out')
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'out_0.mcap', 'unfinished.json']
    assert run(source, tmp_path / 'out')['resumed'] == 3
    check_bag(tmp_path / 'out')


def test_a_limit_of_the_system_is_such_an_error(tmp_path):
    resource = pytest.importorskip('resource', reason='only Unix limits the size of files')
    source = write_bag(tmp_path / 'in', camera_messages(4))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match='0 frames are done'):
            run(source, tmp_path / 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run(source, tmp_path / 'out')['answered'] == 4
    check_bag(tmp_path / 'out')


def test_bad_frames_are_counted_and_said_and_kept(tmp_path):
    messages = camera_messages(8)
    messages[1 * 3 + 1][2].encoding = 'bgr99'
    messages[2 * 3 + 1] = ('/cam/image', START + 2 * PERIOD, b'\x00\x01\x00\x00rubbish')
    messages[3 * 3 + 1] = ('/cam/image', START + 3 * PERIOD, image(3, (10, 10)))
    messages[4 * 3 + 1][2].header.frame_id = 'stranger'
    messages[4 * 3 + 1][2].header.stamp.nanosec += 1
    messages[5 * 3][2].k[0] = messages[5 * 3][2].p[0] = float('nan')
    source, lines = write_bag(tmp_path / 'in', messages), []
    result = run(source, tmp_path / 'out', lines=lines)
    assert (result['frames'], result['answered']) == (8, 4)
    assert result['refused'] == {
        'encoding': 1, 'message': 1, 'camera_info size': 1, 'camera_info values': 1}
    assert sum('bgr99' in line for line in lines) == 1
    assert sum('stranger' in line for line in lines) == 1  # answered, but said
    information = check_bag(tmp_path / 'out')
    counts = {entry['topic_metadata']['name']: entry['message_count']
              for entry in information['topics_with_message_count']}
    assert (counts['/cam/image'], counts['/sync/depth']) == (8, 4)
    depth = [message.time for message in read_bag(tmp_path / 'out')
             if message.topic == '/sync/depth']
    assert depth == [START + index * PERIOD for index in (0, 4, 6, 7)]


def test_sizes_may_change_and_distortion_is_said(tmp_path):
    messages = []
    for index, size in enumerate([(24, 32), (12, 40), (24, 32)]):
        calibration = info(index, size)
        calibration.d = [0.1, 0.0, 0.0, 0.0, 0.0]
        messages += [('/cam/camera_info', START + index, calibration),
                     ('/cam/image', START + index, image(index, size))]
    lines = []
    run(write_bag(tmp_path / 'in', messages), tmp_path / 'out', lines=lines)
    depths = content(tmp_path / 'out')['/sync/depth']
    assert [(depth.height, depth.width) for _, depth in depths] == [(24, 32), (12, 40), (24, 32)]
    assert sum('distortion' in line for line in lines) == 1


def test_compressed_images_and_a_calibration_file_will_do(tmp_path):
    source = write_bag(tmp_path / 'in', [
        ('/cam/image/compressed', START + index * PERIOD, compressed(index))
        for index in range(3)])
    with pytest.raises(ValueError, match='no message of type .*CameraInfo'):
        run(source, tmp_path / 'out')
    write_calibration(tmp_path / 'cam.yaml')
    result = run(source, tmp_path / 'out', camera_info=str(tmp_path / 'cam.yaml'))
    assert result['answered'] == 3
    stored = read_bag(tmp_path / 'out')
    infos = [deserialize_message(each.data, CameraInfo) for each in stored
             if each.topic == '/sync/camera_info']
    assert infos[1].header == compressed(1).header and infos[1].k[0] == 30


def test_outputs_namespace_and_parameters_are_the_nodes(tmp_path):
    source = write_bag(tmp_path / 'in', camera_messages(2))
    run(source, tmp_path / 'out', outputs=('sync/semantics', '/sync/points'), namespace='/front/',
        parameters=make_parameters({'consumer': 'hydra', 'points.stride': 4}))
    stored = read_bag(tmp_path / 'out')
    assert {each.topic for each in stored} - set(KINDS) == {
        '/front/sync/semantics', '/front/sync/points', '/front/sync/label_space'}
    labels = next(deserialize_message(each.data, Image) for each in stored
                  if each.topic == '/front/sync/semantics')
    assert labels.encoding == '16SC1'  # as Hydra reads them
    cloud = next(deserialize_message(each.data, PointCloud2) for each in stored
                 if each.topic == '/front/sync/points')
    assert (cloud.height, cloud.width) == (6, 8)
    run(tmp_path / 'out', tmp_path / 'more', image='/cam/image')
    with pytest.raises(ValueError, match='has /sync/camera_info, .*already: choose a namespace'):
        run(tmp_path / 'more', tmp_path / 'again', image='/cam/image')


def test_what_cannot_be_done_leaves_nothing_behind(tmp_path):
    source = write_bag(tmp_path / 'in', camera_messages(2))
    for options, message in (
            ({'outputs': ('sync/normals',)}, 'does not give sync/normals, expected all or some '
                                             'of sync/depth'),
            ({'image': '/none'}, 'no such topic'), ({'storage': 'bag'}, "storage: got 'bag'")):
        with pytest.raises(ValueError, match=message):
            run(source, tmp_path / 'out', **options)
        assert not (tmp_path / 'out').exists()
    with pytest.raises(ValueError, match='in is a finished bag already'):
        run(source, source)
    (tmp_path / 'photos').mkdir()
    with pytest.raises(ValueError, match='is there already, and not an interrupted bag'):
        run(source, tmp_path / 'photos')


def test_a_drive_becomes_a_bag_becomes_answers(tmp_path, small_model):
    kitti_to_bag(write_drive(tmp_path, frames=5, cameras=(2,)), tmp_path / 'drive')
    result = process_bag(
        Job(tmp_path / 'drive', tmp_path / 'out', outputs=('all',),
            parameters=make_parameters({'model': str(small_model), 'device': 'cpu'})),
        report=lambda line: None)
    assert result['answered'] == 5
    check_bag(tmp_path / 'out')
    stored = read_bag(tmp_path / 'out')
    assert {'/sync/depth', '/sync/points', '/sync/overlay', '/kitti/velo/points', '/tf',
            '/tf_static', '/kitti/oxts/odometry'} <= {each.topic for each in stored}
    depth = [deserialize_message(each.data, Image) for each in stored
             if each.topic == '/sync/depth']
    assert [(each.height, each.width) for each in depth] == [(8, 12)] * 5
    assert {each.header.frame_id for each in depth} == {'camera_2_optical_frame'}
