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

"""The bench over DDS, whole and small: it measures everyone and leaves nothing behind."""

from __future__ import annotations

import json

import psutil
import pytest
import rclpy
from sync_perception.ros.tools.bench_dds import bench_dds, subject_report, SUBJECTS
from sync_perception.ros.tools.bench_subjects import BenchFailed, SubjectResult
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.predictor_options import PredictorOptions

pytestmark = pytest.mark.timeout(240)
SMALL = BenchFrames(4, (64, 96))


def test_everyone_is_measured_and_nobody_stays(small_model, tmp_path, capsys):
    others = set(psutil.Process().children(recursive=True))
    report = bench_dds(
        PredictorOptions(small_model, 'cpu'), SMALL, 10.0, 2, tmp_path / 'report.json')
    assert json.loads((tmp_path / 'report.json').read_text()) == report
    assert list(report['subjects']) == list(SUBJECTS)
    for values in report['subjects'].values():
        assert values['sent'] == 4 and 1 <= values['answered'] <= 4
        whole, first = values['latency_milliseconds'], values['first_output_milliseconds']
        assert 0 < first['min'] <= whole['min'] <= whole['p50'] <= whole['p99'] < 60_000
        assert values['cpu_seconds_per_frame'] >= 0
    assert report['conversions']
    printed = capsys.readouterr().out
    assert 'CPU s/frame' in printed and 'sync_perception' in printed
    assert set(psutil.Process().children(recursive=True)) <= others
    assert not rclpy.ok()


def test_a_node_that_cannot_start_is_named_with_its_reason(tmp_path):
    others = set(psutil.Process().children(recursive=True))
    with pytest.raises(BenchFailed, match="(?s)'conventional'.*no-such-model"):
        bench_dds(PredictorOptions(tmp_path / 'no-such-model', 'cpu'), SMALL)
    assert set(psutil.Process().children(recursive=True)) <= others
    assert not rclpy.ok()


@pytest.mark.parametrize('wrong', [{'rounds': 5}, {'rate': 0.0}, {'rounds': 0}])
def test_arguments_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match='4 frames'):
        bench_dds(PredictorOptions(), SMALL, **wrong)


def test_percentiles_and_processor_time_are_those_of_the_frames():
    seconds = [0.010, 0.020, 0.030, 0.040]
    values = subject_report(SubjectResult(sent=5, latencies=seconds, first=[0.005] * 4, cpu=0.2))
    assert values['latency_milliseconds']['p50'] == 25.0
    assert values['latency_milliseconds']['min'] == 10.0
    assert values['first_output_milliseconds']['p99'] == 5.0
    assert values['cpu_seconds_per_frame'] == 0.05
    assert (values['sent'], values['answered']) == (5, 4)
