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


"""Arrival statistics against numbers worked out by hand."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from sync_perception.ros.tools.topic_progress import Progress


@pytest.fixture
def progress() -> Progress:
    """Four images, one every 100 ms; the second is dropped, the fourth still in work."""
    progress = Progress('image', ['depth', 'done'])
    for number in range(4):
        progress.record('image', stamp=1000 + number, time=5.0 + 0.1 * number)
    for stamp, delay in ((1000, 0.05), (1002, 0.15)):
        arrived = progress.images[stamp] + delay
        progress.record('depth', stamp, arrived)
        progress.record('done', stamp, arrived + 0.01)
    return progress


def test_counts(progress):
    """A frame that was passed over is dropped; the newest one is not yet."""
    assert len(progress.images) == 4
    assert progress.answered == {1000, 1002}
    assert progress.dropped == 1
    assert progress.pending == 1


def test_rates_and_latencies(progress):
    """Percentiles are numpy's: linear between the two values 50 and 150 ms."""
    depth = progress.topics['depth']
    assert progress.topics['image'].rate == pytest.approx(10.0)
    assert depth.rate == pytest.approx(1 / 0.3)
    assert depth.latency(50) == pytest.approx(0.100)
    assert depth.latency(95) == pytest.approx(0.145)
    assert progress.topics['done'].latency(50) == pytest.approx(0.110)
    assert progress.topics['image'].latency(50) is None


def test_nothing_arrived():
    """Before the first message there is nothing to divide by, and the table is there."""
    progress = Progress('image', ['depth'])
    assert progress.dropped == progress.pending == 0
    assert progress.summary()['topics']['depth']['rate_hz'] is None
    assert progress.table('waiting').row_count == 2


def test_an_answer_without_its_image(progress):
    """Who joined late sees answers to images it never saw: counted, but not timed."""
    progress.record('depth', stamp=7, time=9.0)
    assert (progress.received, len(progress.answered), progress.dropped) == (5, 3, 1)
    assert len(progress.topics['depth'].times) == 3
    assert len(progress.topics['depth'].latencies) == 2


def test_table_and_summary_say_the_same(progress):
    """The table shows milliseconds, the summary seconds; the summary is plain JSON."""
    written = io.StringIO()
    Console(file=written, width=120).print(progress.table('a drive'))
    text = written.getvalue()
    assert '4 frames in, 2 out, 1 dropped' in text
    assert '145.0' in text
    summary = json.loads(json.dumps(progress.summary()))
    assert summary['frames'] == {'in': 4, 'out': 2, 'dropped': 1, 'unanswered': 1}
    assert summary['topics']['depth']['latency_p95_s'] == pytest.approx(0.145)
