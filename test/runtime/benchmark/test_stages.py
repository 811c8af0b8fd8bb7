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

"""The measurement itself: what is summed, what is beside it, what is reported."""

from __future__ import annotations

import json
import time

import numpy as np
from rich.console import Console
from sync_perception.runtime.benchmark import stages as bench
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.reports import write_report
from sync_perception.runtime.benchmark.stages import AROUND, NETWORK, time_stages, WHOLE, Work
from sync_perception.runtime.predictor_options import PredictorOptions
import torch


def test_the_whole_is_the_sum_and_what_is_beside_it_does_not_count():
    calls: list[str] = []
    clock = iter(range(10 ** 6))

    def stage(name, milliseconds):
        def run(work):
            calls.append(name)
            now[0] += milliseconds / 1000
        return name, run

    now = [0.0]
    real, time.perf_counter = time.perf_counter, lambda: now[0] + 0 * next(clock)
    try:
        times = time_stages(
            [stage('first', 2), stage(NETWORK, 30), stage('last', 3)], [stage('beside', 100)],
            Work(), frames=4, warm_up=1)
    finally:
        time.perf_counter = real
    assert calls == ['first', NETWORK, 'last', 'beside'] * 5
    np.testing.assert_allclose(times[WHOLE], [35] * 4)
    np.testing.assert_allclose(times[AROUND], [5] * 4)
    np.testing.assert_allclose(times['beside'], [100] * 4)


def test_report(small_model, tmp_path):
    report = bench.bench_runtime(
        PredictorOptions(small_model, 'cpu'), BenchFrames(2, (60, 90)))
    path = tmp_path / 'deep' / 'report.json'
    write_report(report, path)
    assert json.loads(path.read_text()) == report
    stages = report['milliseconds']
    assert {'preprocessing', 'network', 'post-processing', 'cloud', 'whole', bench.COPY,
            bench.RECTIFY, bench.EAGER} <= set(stages)
    assert all(marks['p50'] <= marks['p95'] <= marks['p99'] for marks in stages.values())
    assert report['machine']['cores'] >= 1 and report['machine']['torch'] == torch.__version__
    assert 0 < report['around_share'] < 1
    console = Console(record=True, width=120)
    console.print(bench.stages_table(report))
    assert 'post-processing' in console.export_text()
