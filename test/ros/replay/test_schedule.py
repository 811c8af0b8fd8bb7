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


"""When frames are due, whatever the clock of the recording did."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.ros.replay.schedule import Schedule
from sync_perception.ros.replay.shot import Shot

NS = 10 ** 9
YEAR = 31557600
IMAGE = np.zeros((1, 1, 3), np.uint8)


def due(recorded, stamps=None, speed: float = 1.0, kinds=None) -> list[float]:
    """Return when frames are due that were recorded at these seconds."""
    schedule = Schedule(speed, NS // 5, lambda kind, text: kinds is None or kinds.append(kind))
    stamps = recorded if stamps is None else stamps
    return [round(schedule.seconds(Shot(IMAGE, round(stamp * NS), round(time * NS))), 4)
            for time, stamp in zip(recorded, stamps)]


@pytest.mark.parametrize('speed', [0.5, 1.0, 4.0])
def test_a_steady_clock_is_followed_exactly(speed):
    times, kinds = [7.0, 7.1, 7.3, 7.35, 12.0], []
    assert due(times, speed=speed, kinds=kinds) == [
        round((time - 7) / speed, 4) for time in times]
    assert kinds == (['pause'] if speed < 1 else [])


@pytest.mark.parametrize('jump', [56 * YEAR, -56 * YEAR, 3600, -3600, -1.0])
def test_a_jump_costs_the_spacing_of_the_frames_before_it(jump):
    kinds = []
    times = [0, 0.1, 0.2, 0.3 + jump, 0.4 + jump, 0.5 + jump]
    stamps = [index / 10 for index in range(6)]  # of the camera, which has a clock of its own
    assert due([2e9 + time for time in times], stamps, kinds=kinds) == [
        0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert kinds == ['clock']


def test_a_jump_of_both_clocks_is_said_twice_if_backwards():
    kinds = []
    assert due([5.0, 5.1, 1.0, 1.1], kinds=kinds) == [0, 0.1, 0.2, 0.3]
    assert kinds == ['clock', 'stamps']


@pytest.mark.parametrize(('stamps', 'expected'), [
    ([3.0, 3.1, 3.2, 3.3], [0, 0.1, 0.2, 0.3]), ([0.0] * 4, [0, 0.2, 0.4, 0.6])])
def test_without_times_of_recording_frames_are_no_burst(stamps, expected):
    kinds = []
    assert due([0.0] * 4, stamps, kinds=kinds) == expected
    assert kinds == ([] if stamps[0] else ['stamps'] * 3)


def test_a_coarse_clock_does_not_slow_the_replay_down():
    times = [0, 0, 0, 0.1, 0.1, 0.1, 0.2]
    stamps = [index / 30 for index in range(7)]
    np.testing.assert_allclose(due(times, stamps), stamps, atol=1e-4)


def test_a_long_pause_is_kept_and_said():
    kinds = []
    assert due([0, 0.1, 30.1, 30.2], kinds=kinds) == [0, 0.1, 30.1, 30.2]
    assert kinds == ['pause']
