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

"""What /diagnostics says, for every state that a user could wonder about."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_bench import RELIABLE
import numpy as np
from rclpy.parameter import Parameter
from rclpy.time import Time
from sync_perception.labels import LabelSpace
from sync_perception.ros.health.counters import Counters, Pace
from sync_perception.ros.health.diagnostics import camera_report, model_report
from sync_perception.ros.health.report import latencies, message, Report
from sync_perception.ros.node.mounting import Mounting
from sync_perception.ros.node.temporal import TemporalFrames
from sync_perception.runtime.mount_scale import Mount

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def camera(**counts) -> SimpleNamespace:
    """Return a camera that has counted this."""
    seen = SimpleNamespace(
        title='camera', counters=Counters(**counts), troubles={}, mounting=Mounting(),
        temporal=TemporalFrames(),
        watched=SimpleNamespace(mismatches={}))
    seen.describe_waits = lambda silence, unknown: (
        ['waiting'] if silence > 3 or not seen.counters.received else [])
    return seen


def pipeline(**values) -> SimpleNamespace:
    """Return a pipeline with a model."""
    predictor = SimpleNamespace(
        describe=lambda: {'model': 'known', 'device': 'cpu', 'precision': 'float32'},
        reduced='', relative='', memory=lambda: {'GPU memory used (MiB)': '123'})
    return SimpleNamespace(**{
        'predictor': predictor, 'halted': '', 'warming': '', 'monitor': None,
        'straggler': None, **values})


def test_rates_are_those_since_the_last_message():
    seen, pace = camera(received=5), Pace()
    camera_report(seen, pace, 10.0, 'perception')
    seen.counters.received, seen.counters.published = 35, 20
    report = camera_report(seen, pace, 12.0, 'perception')
    assert report.level == OK and report.summary == '15.0 images/s in, 10.0 frames/s out'
    assert report.values['input rate (Hz)'] == '15.00'
    assert report.values['output rate (Hz)'] == '10.00'


def test_a_silent_camera_is_missed():
    seen, pace = camera(), Pace()
    report = camera_report(seen, pace, 10.0, 'perception')
    assert (report.level, report.findings) == (WARN, ['waiting'])
    seen.counters.received = 1
    assert camera_report(seen, pace, 11.0, 'perception').findings == []
    assert camera_report(seen, pace, 13.0, 'perception').findings == []
    assert camera_report(seen, pace, 15.0, 'perception').level == WARN
    seen.counters.received = 2
    assert camera_report(seen, pace, 16.0, 'perception').level == OK
    seen.counters = Counters()  # activated again
    assert camera_report(seen, pace, 17.0, 'perception').level == WARN


def test_refusals_and_failures_are_told_while_they_happen():
    seen, pace = camera(received=1), Pace()
    camera_report(seen, pace, 1.0, 'perception')
    seen.counters.received = 4
    seen.counters.refused['encoding'] += 2
    seen.counters.failed = 1
    report = camera_report(seen, pace, 2.0, 'perception')
    assert report.level == ERROR and report.values['refused for encoding'] == 2
    assert report.findings == ['images are refused (so far: 2 encoding)', 'frames fail']
    seen.counters.received = 5
    assert camera_report(seen, pace, 3.0, 'perception').level == OK


def test_troubles_and_mismatches_warn():
    seen = camera(received=1)
    seen.troubles['focal length'] = 'too wide'
    seen.watched.mismatches['/image'] = '/image: best effort'
    report = camera_report(seen, Pace(), 1.0, 'perception')
    assert (report.level, report.findings) == (WARN, ['too wide', '/image: best effort'])


def test_the_scale_from_the_mount_shows_where_it_is_used():
    seen = camera(received=1)
    keys = {'scale from the mount', 'frames whose ground was believed',
            'last rejection of the ground', 'camera mount'}
    assert not keys & camera_report(seen, Pace(), 1.0, 'perception').values.keys()
    scale = seen.mounting.prepare(Mount(1.5, 0.02), LabelSpace.load('driving'))
    scale.factor, scale.frames, scale.seen, scale.last_rejection = 1.0825, 40, 41, 'no road'
    report = camera_report(seen, Pace(), 1.0, 'perception')
    assert report.level == OK
    assert {key: report.values[key] for key in keys} == {
        'scale from the mount': '1.083', 'frames whose ground was believed': '40 of 41',
        'last rejection of the ground': 'no road',
        'camera mount': 'height 1.500 m, pitch 0.0200 rad, roll 0.0000 rad'}


def test_latencies_are_the_percentiles_in_milliseconds():
    seconds = deque(np.linspace(0, 0.1, 101), maxlen=256)
    assert latencies('t', seconds) == {'t p50': '50.0', 't p95': '95.0', 't p99': '99.0'}
    assert latencies('t', deque()) == {}
    of_2011 = deque([4e8, 4e8])
    assert 'clock' in latencies('t', of_2011)['t']


def test_the_model_report_follows_the_state():
    report = model_report('unconfigured', None, '', True, 'perception')
    assert (report.level, report.summary) == (OK, 'unconfigured')
    report = model_report('unconfigured', None, 'cannot configure: no model', True, 'perception')
    assert (report.level, report.findings) == (ERROR, ['cannot configure: no model'])
    report = model_report('active', pipeline(), '', True, 'perception')
    assert (report.level, report.summary) == (OK, 'active, known on cpu')
    assert report.values['precision'] == 'float32'
    assert report.values['GPU memory used (MiB)'] == '123'
    report = model_report('active', pipeline(halted='out of memory: 2 GB'), '', True, 'perception')
    assert (report.level, report.findings) == (ERROR, ['out of memory: 2 GB'])
    smaller = pipeline()
    smaller.predictor.reduced = 'made smaller'
    smaller.predictor.relative = 'depth is relative'
    report = model_report('active', smaller, '', True, 'perception')
    assert (report.level, report.findings) == (WARN, ['made smaller', 'depth is relative'])
    judged = pipeline(monitor=SimpleNamespace(scores={'': 0.25, 'left': 0.5}))
    report = model_report('active', judged, '', False, 'perception')
    assert report.values['similarity of depth and labels'] == '0.250'
    assert report.values['similarity of depth and labels (left)'] == '0.500'
    assert (report.level, report.findings) == (OK, ['disabled: images are ignored'])


def test_the_message_has_the_worst_level_and_all_findings():
    report = Report('perception: camera', 'fine')
    report.find(ERROR, 'one')
    report.find(WARN, 'two')
    report.values['count'] = 3
    array = message([report], 'here', Time(nanoseconds=5_000_000_001))
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (5, 1)
    status, = array.status
    assert (status.level, status.message, status.hardware_id) == (ERROR, 'one; two', 'here')
    assert [(pair.key, pair.value) for pair in status.values] == [('count', '3')]


def test_the_node_tells_about_itself_all_the_time(bench):
    arrays = []
    bench.others.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, RELIABLE)
    bench.start(listen=('depth',))
    bench.wait(lambda: arrays and len(arrays[-1].status) == 2)
    model, eye = arrays[-1].status
    assert (model.name, model.level) == ('perception: model', OK)
    assert (eye.name, eye.level) == ('perception: camera', WARN)
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: arrays[-1].status[1].level == OK)
    values = {pair.key: pair.value for pair in arrays[-1].status[1].values}
    assert values['images received'] == values['frames published'] == '1'
    assert 'arrival to publish (ms) p95' in values
    assert 'clock' in values['stamp to publish (ms)']


def test_the_node_reports_the_mount_that_is_set_while_it_runs_and_the_one_that_it_misses(bench):
    arrays = []
    bench.others.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, RELIABLE)
    bench.start(listen=('depth',), ground_frame='base_footprint')
    bench.send_info(1)

    def values() -> dict[str, str]:
        return {pair.key: pair.value for pair in arrays[-1].status[1].values}

    def answer(stamp: int) -> None:
        bench.send_image(stamp)
        bench.wait(lambda: bench.counters.published == stamp)
        seen = len(arrays)
        bench.wait(lambda: len(arrays) > seen + 1)
    answer(1)
    assert 'base_footprint' in arrays[-1].status[1].message
    assert arrays[-1].status[1].level == WARN and 'scale from the mount' not in values()
    bench.node.set_parameters([Parameter('camera_height', value=1.5)])
    answer(2)
    assert values()['scale from the mount'] == '1.000'
    assert values()['frames whose ground was believed'] == '0 of 1'
    assert values()['last rejection of the ground']
    bench.node.set_parameters([Parameter('camera_height', value=0.0)])
    answer(3)
    assert 'scale from the mount' not in values()
