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

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
import errno
import json
from pathlib import Path
import signal
import subprocess
import sys

from bag_checks import check_bag, read_bag, write_drive
from bag_predictors import NumberPredictor
from bag_runs import content, KINDS, run
from camera_bags import (
    camera_messages,
    cut,
    PERIOD,
    SIZE,
    split_bag,
    START,
    write_bag,
)
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from sync_perception.ros.bags import process as process_module
from sync_perception.ros.bags.kitti import kitti_to_bag
from sync_perception.ros.bags.process import BagJob, process_bag
from sync_perception.ros.bags.rosbag2 import Bag
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.parameters.without_node import make_parameters

pytest.importorskip('mcap', reason='bags are checked with the package mcap')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_originals_and_answers_stand_side_by_side(tmp_path, storage):
    source = write_bag(tmp_path / 'in', camera_messages(8), storage)
    result = run(source, tmp_path / 'out')
    assert result == {'frames': 8, 'answered': 8, 'refused': {}, 'resumed': 0, 'files': 3,
                      'damage': []}
    information = check_bag(tmp_path / 'out')
    assert information['storage_identifier'] == storage
    assert information['custom_data'] == {'sync_perception': 'numbers', 'image': '/cam/image'}
    before, after = content(source), content(tmp_path / 'out')
    assert set(after) == set(KINDS) - {'/sync/image_rect'}
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


@contextmanager
def waiting_process(source: Path, out: Path, stop_at: int) -> Iterator[subprocess.Popen]:
    """Run a process that waits in the middle of a bag; kill it at the end."""
    script = Path(__file__).parents[2] / 'helpers' / 'bag_predictors.py'
    with subprocess.Popen(
            [sys.executable, str(script), str(source), str(out), str(stop_at)], text=True,
            stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            assert process.stdout.readline() == 'waiting\n'
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture
def interrupted(tmp_path):
    """Kill a process in the middle of a bag; return the bag it read and the one it wrote."""
    source, out = write_bag(tmp_path / 'in', camera_messages(14)), tmp_path / 'out'
    with waiting_process(source, out, 10):
        pass
    return source, out


def test_a_killed_process_is_gone_on_with(interrupted, tmp_path):
    source, out = interrupted
    assert not (out / 'metadata.yaml').exists()
    with pytest.raises(ValueError, match='process-bag'):
        Bag(out)
    files = {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
             for path in out.glob('out_?.mcap')}
    assert [path.name for path in sorted(files)] == ['out_0.mcap', 'out_1.mcap', 'out_2.mcap']
    lines, predictor = [], NumberPredictor()
    result = run(source, out, predictor, lines)
    assert predictor.seen == [9, 10, 11, 12, 13]
    assert result == {'frames': 14, 'answered': 14, 'refused': {}, 'resumed': 9, 'files': 5,
                      'damage': []}
    assert any('after 9 frames' in line for line in lines)
    for path, (inode, changed, data) in files.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (inode, changed)
        assert path.read_bytes() == data
    check_bag(out)
    run(source, tmp_path / 'whole')
    assert content(out) == content(tmp_path / 'whole')


def test_what_16_bit_images_have_taught_outlasts_an_interruption(tmp_path):
    class Mean(NumberPredictor):
        """Answers with the mean of the image; stops at a number of frames."""

        def predict(self, frame, maps):
            if len(self.seen) == self.stop_at:
                raise KeyboardInterrupt
            return replace(super().predict(frame, maps), depth=np.full(
                frame.size, frame.image.mean(), np.float32))
    messages = camera_messages(12)
    for index in range(12):  # a range of values that changes, as thermal cameras have it
        values = np.random.default_rng(index).integers(
            7000 - 50 * index, 9000 + 90 * index, SIZE, np.uint16)
        messages[3 * index + 1] = ('/cam/image', START + index * PERIOD, image_message(
            values, messages[3 * index + 1][2].header, 'mono16'))
    source = write_bag(tmp_path / 'in', messages)
    run(source, tmp_path / 'whole', Mean())
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / 'out', Mean(8))
    assert run(source, tmp_path / 'out', Mean())['resumed'] == 6
    assert content(tmp_path / 'out')['/sync/depth'] == content(tmp_path / 'whole')['/sync/depth']


def test_a_second_process_on_one_output_is_refused(tmp_path):
    source, out = write_bag(tmp_path / 'in', camera_messages(8)), tmp_path / 'out'
    with waiting_process(source, out, 4) as process:
        with pytest.raises(ValueError, match=f'{process.pid}'):
            run(source, out)
    assert run(source, out)['resumed'] == 3  # the killed one locks nobody out
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']


def test_what_cannot_be_written_is_refused_before_the_model_is_loaded(interrupted, tmp_path):
    source, out = interrupted
    run(source, tmp_path / 'done')

    def load(parameters):
        raise AssertionError('the model was loaded')
    for job, message in (
            (BagJob(source, tmp_path / 'done'), 'done is already a finished bag'),
            (BagJob(source, source), 'in is already a finished bag'),
            (BagJob(source, out, namespace='front'), "namespace was '', is now 'front'"),
            (BagJob(source, out, parameters=make_parameters({'max_depth': 9.0})), 'max_depth')):
        with pytest.raises(ValueError, match=message):
            process_bag(job, load=load)


@pytest.mark.parametrize('number', [0, 1, 2])
def test_a_broken_file_of_the_bag_costs_its_own_frames_only(tmp_path, number):
    source, lines = split_bag(tmp_path / 'in'), []
    cut(source / f'in_{number}.mcap')
    result = run(source, tmp_path / 'out', lines=lines)
    assert (result['frames'], result['answered']) == (4, 4)
    assert [f'in_{number}.mcap' in line for line in result['damage']] == [True]
    assert sum(f'in_{number}.mcap' in line for line in lines) == 1  # and before all the work
    check_bag(tmp_path / 'out')
    times = [time for time, _ in content(tmp_path / 'out')['/sync/depth']]
    assert times == [START + index * PERIOD for index in range(6) if index // 2 != number]


def test_a_mended_bag_is_not_taken_for_the_broken_one(tmp_path, monkeypatch):
    source, predictor = split_bag(tmp_path / 'in'), NumberPredictor()
    whole = (source / 'in_1.mcap').read_bytes()
    cut(source / 'in_1.mcap')
    monkeypatch.setattr(predictor, 'predict', interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / 'out', predictor)
    (source / 'in_1.mcap').write_bytes(whole)
    with pytest.raises(ValueError, match='messages.*12.*18'):
        run(source, tmp_path / 'out')


def interrupt(*_):
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_bag_without_a_message_on_its_topics_leaves_nothing(tmp_path):
    source = split_bag(tmp_path / 'in', files=1)
    data = bytearray((source / 'in_0.mcap').read_bytes())
    start = data.index(b'/cam/')
    data[start:start + 3000] = bytes(3000)  # the index at the end is whole
    (source / 'in_0.mcap').write_bytes(data)
    with pytest.raises(ValueError, match='in_0.mcap .* 0 of 6'):
        run(source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_without_memory_the_work_stops_and_can_be_gone_on_with(tmp_path, monkeypatch):
    def refuse(*_):
        raise MemoryError('the model needs 9 GB')
    source, predictor = write_bag(tmp_path / 'in', camera_messages(5)), NumberPredictor()
    monkeypatch.setattr(predictor, 'predict', refuse)
    with pytest.raises(OSError, match='9 GB; 0'):
        run(source, tmp_path / 'out', predictor)
    assert run(source, tmp_path / 'out')['answered'] == 5


def test_only_the_same_job_goes_on(interrupted):
    source, out = interrupted
    for options, message in (
            ({'outputs': ('sync/depth',)}, 'outputs was .*, is now'),
            ({'namespace': 'front'}, "namespace was '', is now 'front'"),
            ({'parameters': make_parameters({'depth.encoding': '16UC1'})}, 'depth_encoding was'),
            ({'storage': 'sqlite3'}, "storage was 'mcap', is now 'sqlite3'")):
        with pytest.raises(ValueError, match=message):
            run(source, out, **options)
    state = out / 'unfinished.json'
    text = state.read_text()
    state.write_text(text[:50])
    with pytest.raises(ValueError, match='unfinished.json'):
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
    with pytest.raises(OSError, match=r'No space left .*free on the disk.*; 3 frames'):
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
        with pytest.raises(OSError, match='; 0 frames'):
            run(source, tmp_path / 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run(source, tmp_path / 'out')['answered'] == 4
    check_bag(tmp_path / 'out')


def test_what_cannot_be_done_leaves_nothing_behind(tmp_path):
    source = write_bag(tmp_path / 'in', camera_messages(2))
    for options, message in (
            ({'outputs': ('sync/normals',)}, 'does not give sync/normals, expected all or some '
                                             'of sync/depth'),
            ({'image': '/none'}, 'no such topic'), ({'storage': 'bag'}, "storage: got 'bag'")):
        with pytest.raises(ValueError, match=message):
            run(source, tmp_path / 'out', **options)
        assert not (tmp_path / 'out').exists()
    with pytest.raises(ValueError, match='already'):
        run(source, source)
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'one.png').touch()
    with pytest.raises(ValueError, match='photos'):
        run(source, tmp_path / 'photos')


def test_frames_are_fused_by_a_file_of_poses(tmp_path, small_model):
    """Frames with a pose are fused; how many were not, and why, is reported."""
    source = write_bag(tmp_path / 'in', camera_messages(4))
    lines = []
    (tmp_path / 'poses.txt').write_text(''.join(
        f'{(START + index * PERIOD) // 10 ** 9}.{(START + index * PERIOD) % 10 ** 9:09} '
        '0 0 0 0 0 0 1\n' for index in range(3)))
    parameters = make_parameters({'model': str(small_model), 'device': 'cpu'})
    result = process_bag(
        BagJob(source, tmp_path / 'out', parameters=parameters, temporal='fuse',
            poses=str(tmp_path / 'poses.txt')), report=lines.append)
    assert result['answered'] == 4
    assert any('1 of 4 frames' in line and 'last pose' in line for line in lines)
    with pytest.raises(ValueError, match='poses'):
        process_bag(BagJob(source, tmp_path / 'none', parameters=parameters, temporal='fuse'))


def test_a_drive_becomes_a_bag_becomes_answers(tmp_path, small_model):
    kitti_to_bag(write_drive(tmp_path, frames=5, cameras=(2,)), tmp_path / 'drive')
    result = process_bag(
        BagJob(tmp_path / 'drive', tmp_path / 'out', outputs=('all',),
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
