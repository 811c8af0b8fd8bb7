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


"""The replay node as others meet it: what it publishes, when it begins, how it ends."""

from __future__ import annotations

from collections.abc import Iterator
import time

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import decode, stamp_nanoseconds
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.replay import publisher as replay
from sync_perception.ros.replay.publisher import iterate, ReplayNode
from sync_perception.ros.replay.shot import Shot

PATIENCE = 20.0
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
SECOND = 10 ** 9


class Numbers:
    """A recording whose images are filled with their number; half a second between them."""

    title, count = 'numbers', 5

    def __init__(self, parameters: ReplayParameters, broken_at: int = -1):
        self.camera_info = pinhole_camera_info(np.array([[9.0, 0, 4], [0, 9, 3], [0, 0, 1]]),
                                               (8, 12))
        self.broken_at = broken_at

    def shots(self, start: int) -> Iterator[Shot]:
        """Make the frames."""
        for index in range(start, 5):
            size = (8, 12) if index != self.broken_at else (9, 12)
            yield Shot(np.full((*size, 3), index, np.uint8), (100 * SECOND + index * SECOND // 2))


class Theatre:
    """A replay and a listener on one executor."""

    def __init__(self):
        self.executor = SingleThreadedExecutor()
        self.listener = Node('listener')
        self.executor.add_node(self.listener)
        self.images, self.infos, self.clocks = [], [], []
        self.replay: ReplayNode | None = None

    def play(self, source=Numbers, **overrides) -> None:
        """Make a replay of a source with these parameters; fast, unless a rate is set."""
        values = {'source': 'kitti', 'rate': 100.0, **overrides}
        self.replay = ReplayNode(
            sources={'kitti': source},
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
        self.executor.add_node(self.replay)

    def listen(self) -> None:
        """Subscribe to all that a replay publishes."""
        for kind, topic, messages in ((Clock, '/clock', self.clocks),
                                      (CameraInfo, 'camera_info', self.infos),
                                      (Image, 'image', self.images)):
            self.listener.create_subscription(kind, topic, messages.append, RELIABLE)

    def wait(self, condition) -> None:
        """Serve both until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, 'it never happened'
            self.executor.spin_once(0.05)

    def watch(self, seconds: float) -> None:
        """Serve both for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(0.02)

    def close(self) -> None:
        """End both."""
        self.executor.shutdown()
        for node in (self.replay, self.listener):
            if node is not None:
                node.destroy_node()


@pytest.fixture
def theatre(ros):
    """Return a theatre that is cleared away after the test."""
    made = Theatre()
    yield made
    made.close()


def numbers_of(images: list[Image]) -> list[int]:
    """Return the numbers that the images are filled with."""
    return [int(decode(image)[0, 0, 0]) for image in images]


def test_every_frame_is_published_with_its_calibration(theatre):
    theatre.listen()
    theatre.play(frame_id='cam')
    theatre.wait(lambda: theatre.replay.done.done() and len(theatre.images) == 5)
    assert theatre.replay.done.result() == 5
    assert numbers_of(theatre.images) == [0, 1, 2, 3, 4]
    stamps = [100 * SECOND + index * SECOND // 2 for index in range(5)]
    for messages in (theatre.images, theatre.infos):
        assert [stamp_nanoseconds(message.header) for message in messages] == stamps
        assert {message.header.frame_id for message in messages} == {'cam'}
        assert {(message.height, message.width) for message in messages} == {(8, 12)}
    assert theatre.clocks == []


def test_nothing_is_published_before_somebody_listens(theatre):
    theatre.play()
    theatre.watch(replay.GRACE + 0.3)
    assert theatre.replay.published == 0
    theatre.listen()
    theatre.wait(lambda: len(theatre.images) == 5)


def test_it_need_not_wait(theatre):
    theatre.play(wait_for_subscriber=False)
    theatre.wait(theatre.replay.done.done)
    assert theatre.replay.published == 5


def test_a_part_can_be_played_in_a_loop_with_stamps_that_go_on(theatre):
    theatre.listen()
    theatre.play(start=1, count=2, loop=True)
    theatre.wait(lambda: len(theatre.images) >= 5)
    assert numbers_of(theatre.images)[:5] == [1, 2, 1, 2, 1]
    stamps = [stamp_nanoseconds(image.header) for image in theatre.images]
    assert all(later > earlier for earlier, later in zip(stamps, stamps[1:]))
    assert not theatre.replay.done.done()


def test_the_clock_goes_with_the_frames(theatre):
    theatre.listen()
    theatre.play(clock=True)
    theatre.wait(lambda: len(theatre.images) == 5 and len(theatre.clocks) >= 4)
    told = {stamp_nanoseconds(image.header) for image in theatre.images}
    assert {clock.clock.sec * SECOND + clock.clock.nanosec for clock in theatre.clocks} <= told


def test_stamps_can_be_now(theatre):
    theatre.listen()
    before = time.time_ns()
    theatre.play(stamps='now')
    theatre.wait(lambda: len(theatre.images) == 5)
    stamps = [stamp_nanoseconds(image.header) for image in theatre.images]
    assert before <= stamps[0] < stamps[-1] <= time.time_ns()


def test_the_rate_is_kept(theatre):
    theatre.listen()
    theatre.play(rate=10.0, count=4)
    theatre.wait(lambda: theatre.replay.published == 1)
    begun = time.monotonic()
    theatre.wait(lambda: theatre.replay.published == 4)
    assert 0.25 < time.monotonic() - begun < 1.0  # three periods of 0.1 s


def test_lockstep_waits_for_every_answer(theatre):
    answers = theatre.listener.create_publisher(CameraInfo, 'sync/camera_info', RELIABLE)
    theatre.listen()
    theatre.play(lockstep=True)
    for count in range(1, 6):
        theatre.wait(lambda count=count: len(theatre.infos) == count)
        theatre.watch(0.1)
        assert theatre.replay.published == count
        answers.publish(theatre.infos[-1])
    theatre.wait(theatre.replay.done.done)


def test_lockstep_sends_again_what_was_lost(theatre, monkeypatch):
    monkeypatch.setattr(replay, 'LEAST_PATIENCE', 0.1)
    monkeypatch.setattr(replay, 'FIRST_DELAY', 0.02)
    answers = theatre.listener.create_publisher(CameraInfo, 'sync/camera_info', RELIABLE)
    theatre.listen()
    theatre.play(lockstep=True)
    for number in range(5):
        # the first of the two counts as lost, as nobody answers it
        theatre.wait(lambda number=number: len(theatre.images) == 2 * number + 2)
        assert theatre.images[-1] == theatre.images[-2] and theatre.replay.published == number + 1
        answers.publish(CameraInfo(header=theatre.images[-1].header))
    theatre.wait(theatre.replay.done.done)
    assert theatre.replay.done.result() == 5


def test_lockstep_goes_on_when_no_answer_comes(theatre):
    theatre.listener.create_publisher(CameraInfo, 'sync/camera_info', RELIABLE)
    theatre.listen()
    theatre.play(lockstep=True, lockstep_timeout=0.1)
    theatre.wait(theatre.replay.done.done)
    assert theatre.replay.published == 5


def test_an_image_of_another_size_ends_the_replay_with_a_clear_error(theatre):
    theatre.listen()
    theatre.play(source=lambda parameters: Numbers(parameters, broken_at=2))
    theatre.wait(theatre.replay.done.done)
    with pytest.raises(ValueError, match='2.*12x9.*12x8'):
        theatre.replay.done.result()


def test_parameters_out_of_range_are_refused(theatre):
    with pytest.raises(ValueError, match='stamps'):
        theatre.play(stamps='yesterday')


def test_a_start_beyond_the_end_is_refused():
    parameters = ReplayParameters(start=5)
    with pytest.raises(ValueError, match='start is 5.*5 frames'):
        next(iterate(Numbers(parameters), parameters))
