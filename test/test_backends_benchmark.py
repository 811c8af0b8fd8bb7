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

"""The comparison of backends: a real run of one subject, and the table of several."""

from __future__ import annotations

from copy import deepcopy
import json
from pathlib import Path
import runpy
import sys

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / 'benchmarks' / 'backends.py'


@pytest.mark.timeout(240)
def test_subjects_fill_the_page(small_model, tmp_path, monkeypatch):
    page, out = tmp_path / 'page.md', tmp_path / 'backends.json'
    page.write_text('<!-- bench backends: begin -->\n<!-- bench backends: end -->\n')
    monkeypatch.setattr(sys, 'argv', [
        str(SCRIPT), '--json', str(out), '--page', str(page), '--turns', '1', '--frames', '2',
        '--subject', f'first: --model {small_model} --backend torch --width 96 --height 64'])
    script = runpy.run_path(str(SCRIPT), run_name='__main__')
    (report,) = json.loads(out.read_text())['first']
    assert report['image_size'] == [64, 96]
    assert f'| first | 96x64 | 1.00 | {report["frames_per_second"]:.1f} |' in page.read_text()
    twice = deepcopy(report)
    twice['frames_per_second'] *= 2
    lines = script['table']({'first': [report, report], 'second': [report, twice]})
    assert lines[-1].startswith('| second | 96x64 | 1.00 / 2.00 |')
