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

"""The node under load, small: what is counted, and that no process stays."""

from __future__ import annotations

from dataclasses import replace
import json

import psutil
import pytest
import rclpy
from sync_perception.ros.tools import bench_cases
from sync_perception.ros.tools.bench_cases import CASES
from sync_perception.runtime.predictor_options import PredictorOptions

pytestmark = pytest.mark.timeout(240)


def test_two_cameras_are_measured_and_nobody_stays(small_model, tmp_path, monkeypatch, capsys):
    others = set(psutil.Process().children(recursive=True))
    small = replace(CASES['six'], cameras=2, size=(64, 96), frames=4, rate=10.0)
    monkeypatch.setitem(CASES, 'six', small)
    page = tmp_path / 'page.md'
    page.write_text('<!-- bench cases: begin -->\nold\n<!-- bench cases: end -->\n')
    report = bench_cases.bench_cases(
        ['six'], PredictorOptions(small_model, 'cpu'), json=tmp_path / 'report.json', page=page)
    assert json.loads((tmp_path / 'report.json').read_text()) == report
    values = report['cases']['six']
    assert values['sent'] == 8
    assert 2 <= values['answered'] <= 8 and 1 <= values['least_of_a_camera'] <= 4
    received, taken = values['received_milliseconds'], values['taken_milliseconds']
    assert 0 < received['min'] <= taken['min'] <= taken['p99'] < 60_000
    assert values['cpu_seconds_per_frame'] >= 0
    assert 0 < values['start_seconds'] < 180
    assert 'CPU' in capsys.readouterr().out
    text = page.read_text()
    assert f'| {values["answered"]} of 8 |' in text and 'old' not in text
    assert report['machine']['commit'] in text and 'load' in text
    assert set(psutil.Process().children(recursive=True)) <= others
    assert not rclpy.ok()


def test_an_unknown_case_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="(?s)drive.*'?evening"):
        bench_cases.bench_cases(['evening'], PredictorOptions())
