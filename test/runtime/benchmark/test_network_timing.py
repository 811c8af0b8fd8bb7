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


"""Times of networks: taken in turns, and bounded."""

from __future__ import annotations

import pytest
from sync_perception.runtime.benchmark import network_timing as timing
import torch
from zoo import build

CPU = torch.device('cpu')


def test_both_ways_are_timed_at_every_size(monkeypatch):
    """Eager as well as the predictor's backend, more pixels taking longer."""
    monkeypatch.setattr(timing, 'SECONDS', 0.3)
    sizes = [(32, 64), (192, 320)]
    times = timing.time_network(build('depth_alone'), sizes)
    assert list(times) == sizes
    for size in sizes:
        assert times[size].backend == 'torch float32'
        assert times[size].runs >= 1
    assert 0 < times[32, 64].eager < times[192, 320].eager
    assert 0 < times[32, 64].predictor < times[192, 320].predictor


def test_ways_take_turns():
    """So that both see the same machine; the number of runs fits the time there is."""
    order = []
    ways = {'a': lambda: order.append('a'), 'b': lambda: order.append('b')}
    spent = timing.take_turns(ways, CPU, expected=1000 * timing.SECONDS / 6)
    assert order == ['a', 'b'] * 3
    assert [len(values) for values in spent.values()] == [3, 3]


@pytest.mark.parametrize('expected, runs', [(1e-6, timing.MOST_RUNS), (1e9, 1)])
def test_runs_are_bounded(expected, runs):
    """Neither thousands of a quick network nor none of a slow one."""
    assert len(timing.take_turns({'a': lambda: None}, CPU, expected)['a']) == runs


def test_a_slow_network_is_not_prepared_for_the_predictor(monkeypatch):
    """Tracing would run it many times."""
    monkeypatch.setattr(timing, 'PATIENCE', 0.0)
    times = timing.time_network(build('depth_alone'), [(32, 64)])[32, 64]
    assert times.eager > 0
    assert times.predictor is None
    assert times.backend is None
