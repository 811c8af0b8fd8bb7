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


"""Bags as the source of a replay: what is published, and when."""

from __future__ import annotations

import time

from camera_bags import (
    camera_messages,
    compressed,
    cut,
    image,
    info,
    PERIOD,
    split_bag,
    START,
    write_bag,
    write_calibration,
)
import cv2
import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.ros.io.conversions import decode, stamp_nanoseconds
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.replay.publisher import is_timed, iterate, ReplayNode
from sync_perception.ros.replay.shot_sources import SOURCES

PATIENCE = 20.0
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


def source(path, **values):
    """Open a bag as a source."""
    return SOURCES['bag'](ReplayParameters(source='bag', path=str(path), **values))


class Stage:
    """A replay of a bag and a listener on one executor."""

    def __init__(self):
        self.executor = SingleThreadedExecutor()
        self.listener = Node('listener')
        self.executor.add_node(self.listener)
        self.images, self.infos, self.clocks, self.times = [], [], [], []
        for kind, topic, take in (
                (Clock, '/clock', self.clocks.append), (CameraInfo, 'camera_info', self.take_info),
                (Image, 'image', self.take_image)):
            self.listener.create_subscription(kind, topic, take, RELIABLE)
        self.answers = None
        self.replay = None

    def take_info(self, message: CameraInfo) -> None:
        """Keep a calibration, and answer if it is to be answered."""
        self.infos.append(message)

    def take_image(self, message: Image) -> None:
        """Keep an image with its time, and answer if it is to be answered."""
        self.images.append(message)
        self.times.append(time.monotonic())
        if self.answers is not None:
            self.answers.publish(CameraInfo(header=message.header))

    def play(self, path, **overrides) -> int:
        """Replay a bag to its end; return how many frames were published."""
        values = {'source': 'bag', 'path': str(path), **overrides}
        self.replay = ReplayNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
        self.executor.add_node(self.replay)
        self.wait(self.replay.done.done)
        count = self.replay.done.result()
        self.wait(lambda: len(self.images) == count)
        return count

    def wait(self, condition) -> None:
        """Serve both until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, 'it never happened'
            self.executor.spin_once(0.02)

    def close(self) -> None:
        """End both."""
        self.executor.shutdown()
        for node in (self.replay, self.listener):
            if node is not None:
                node.close() if node is self.replay else None
                node.destroy_node()


@pytest.fixture
def stage(ros):
    """Return a stage that is cleared away after the test."""
    made = Stage()
    yield made
    made.close()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_is_a_source(tmp_path, storage):
    bag = source(write_bag(tmp_path / 'bag', camera_messages(5), storage))
    assert bag.count == 5 and '/cam/image' in bag.title and bag.camera_info is None
    shots = list(bag.shots(2))
    assert [shot.stamp for shot in shots] == [START + index * PERIOD for index in (2, 3, 4)]
    assert [shot.recorded for shot in shots] == [shot.stamp for shot in shots]
    assert {shot.frame_id for shot in shots} == {'cam'}
    assert shots[0].image == image(2) and shots[0].size == (24, 32)
    assert shots[0].camera_info == info(2)


def test_compressed_images_are_decompressed(tmp_path):
    bag = source(write_bag(tmp_path / 'bag', [
        ('/cam/camera_info', START, info(0)), ('/cam/image/compressed', START, compressed(7))]))
    shot = next(bag.shots(0))
    np.testing.assert_array_equal(shot.image, decode(image(7)))
    assert shot.size == (24, 32)


def test_compressed_images_of_fewer_than_16_bits_are_as_bright_as_their_camera_meant(tmp_path):
    values = np.linspace(0, 4095, 24 * 32).astype(np.uint16).reshape(24, 32)
    message = CompressedImage(
        header=compressed(0).header, format='mono16; png compressed ',
        data=cv2.imencode('.png', values)[1].tobytes())
    bag = source(write_bag(tmp_path / 'bag', [
        ('/cam/camera_info', START, info(0)), ('/cam/image/compressed', START, message)]))
    shot = next(bag.shots(0))
    np.testing.assert_allclose(shot.image[..., 0], values / 4095 * 255, atol=0.6)


def test_a_frame_that_cannot_be_read_is_left_out(tmp_path):
    messages = camera_messages(3)
    messages[4] = ('/cam/image', START + PERIOD, b'\x00\x01\x00\x00rubbish')
    bag = source(write_bag(tmp_path / 'bag', messages))
    assert [shot.stamp for shot in bag.shots(0)] == [START, START + 2 * PERIOD]


@pytest.mark.parametrize('number', [0, 1, 2])
def test_a_broken_file_is_named_and_the_others_are_played(tmp_path, stage, number):
    path = split_bag(tmp_path / 'bag')
    cut(path / f'bag_{number}.mcap')
    with pytest.raises(ValueError, match=f'bag_{number}.mcap cannot be read'):
        stage.play(path, speed=100.0)
    stage.wait(lambda: len(stage.images) == 4)
    assert [stamp_nanoseconds(each.header) for each in stage.images] == [
        START + index * PERIOD for index in range(6) if index // 2 != number]


def test_the_topics_can_be_chosen(tmp_path):
    path = write_bag(tmp_path / 'bag', [
        *camera_messages(2), ('/other/image', START, image(9)),
        ('/other/camera_info', START, info(9))])
    with pytest.raises(ValueError, match='/cam/image'):
        source(path)
    assert next(source(path, bag_image='/other/image').shots(0)).camera_info == info(9)
    crossed = source(path, bag_image='/other/image', bag_camera_info='/cam/camera_info')
    assert crossed.camera.camera_info == '/cam/camera_info'


def test_what_is_no_bag_is_refused(tmp_path):
    with pytest.raises(ValueError, match='bag'):
        source(tmp_path / 'none')
    with pytest.raises(ValueError, match='has no metadata.yaml'):
        source(tmp_path)


def test_passes_of_a_loop_join_without_a_jump(tmp_path):
    path = write_bag(tmp_path / 'bag', camera_messages(3, gap=PERIOD // 2))
    parameters = ReplayParameters(source='bag', path=str(path), loop=True, rate=1.0)
    shots = iterate(SOURCES['bag'](parameters), parameters)
    first = [next(shots) for _ in range(7)]
    assert np.diff([shot.recorded for shot in first]).tolist() == [PERIOD // 2] * 6
    stamps = np.diff([shot.stamp for shot in first]).tolist()
    assert stamps == [PERIOD, PERIOD, PERIOD // 2] * 2
    assert is_timed(first[0], parameters)
    assert not is_timed(first[0], ReplayParameters(speed=0.0))
    shots.close()


def test_messages_go_out_as_they_were_recorded(tmp_path, stage):
    messages = camera_messages(3)
    messages[4] = ('/cam/image', START + PERIOD, image(1, (12, 20), encoding='mono8'))
    messages[3] = ('/cam/camera_info', START + PERIOD, info(1, (12, 20)))
    assert stage.play(write_bag(tmp_path / 'bag', messages), speed=10.0, clock=True) == 3
    recorded = [message for topic, _, message in messages if topic == '/cam/image']
    assert stage.images == recorded
    stage.wait(lambda: len(stage.infos) == 3)
    assert [each.header for each in stage.infos] == [each.header for each in recorded]
    assert [(each.height, each.width) for each in stage.infos] == [(24, 32), (12, 20), (24, 32)]
    told = {each.clock.sec * 10 ** 9 + each.clock.nanosec for each in stage.clocks}
    assert told <= {stamp_nanoseconds(each.header) for each in recorded}


@pytest.mark.parametrize(('speed', 'rate', 'expected'), [
    (1.0, 100.0, [0.1, 0.3, 0.1]), (2.0, 100.0, [0.05, 0.15, 0.05]), (0.0, 10.0, [0.1] * 3)])
def test_time_passes_as_it_did_or_as_is_asked(tmp_path, stage, speed, rate, expected):
    messages = [(topic, time + (2 * PERIOD if time >= START + 2 * PERIOD else 0), message)
                for topic, time, message in camera_messages(4)]
    stage.play(write_bag(tmp_path / 'bag', messages), speed=speed, rate=rate)
    np.testing.assert_allclose(np.diff(stage.times), expected, atol=0.045)


@pytest.mark.parametrize('moved', [
    lambda time: time + (56 * 365 * 86400 * 10 ** 9 if time > START + PERIOD else 0),
    lambda time: 0], ids=['the clock is set', 'no clock'])
def test_a_recorders_clock_neither_stops_nor_hurries_the_replay(tmp_path, stage, moved):
    messages = [(topic, moved(time), message) for topic, time, message in camera_messages(4)]
    stage.play(write_bag(tmp_path / 'bag', messages))
    assert 0.2 < stage.times[-1] - stage.times[0] < PATIENCE


def test_a_stamp_that_no_message_can_hold_ends_the_replay_with_its_reason(tmp_path, stage):
    messages = camera_messages(2)
    for _, _, message in messages[3:5]:
        message.header.stamp.sec = 2 ** 31 - 1
    with pytest.raises(ValueError, match='frame 3 .*stamps to now'):
        stage.play(write_bag(tmp_path / 'bag', messages), loop=True, speed=10.0)


def test_lockstep_is_never_ahead_of_the_answers(tmp_path, stage):
    stage.answers = stage.listener.create_publisher(CameraInfo, 'sync/camera_info', RELIABLE)
    path = write_bag(tmp_path / 'bag', camera_messages(20))
    assert stage.play(path, speed=1000.0, lockstep=True) == 20
    assert [int(decode(each)[0, 0, 0]) for each in stage.images] == list(range(20))


def test_a_file_calibrates_a_bag_that_is_not(tmp_path, stage):
    write_calibration(tmp_path / 'cam.yaml')
    path = write_bag(tmp_path / 'bag', [('/cam/image', START, image(0)),
                                        ('/cam/image', START + PERIOD, image(1, (9, 9)))])
    with pytest.raises(ValueError, match='1.*9x9.*32x24'):
        stage.play(path, camera_info=str(tmp_path / 'cam.yaml'))
    stage.wait(lambda: stage.infos)
    assert stage.infos[0].k[0] == 30 and stage.infos[0].header == image(0).header
