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

"""The comparison of backends: two subjects in turns, and their table."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.timeout(240)
def test_subjects_run_in_turns_and_fill_the_page(small_model, tmp_path):
    page, out = tmp_path / 'page.md', tmp_path / 'backends.json'
    page.write_text('<!-- bench backends: begin -->\n<!-- bench backends: end -->\n')
    command = [sys.executable, ROOT / 'benchmarks' / 'backends.py', '--json', out, '--page', page]
    subjects = [f'{label}: --model {small_model} --backend torch --width 96 --height 64'
                for label in ('first', 'second')]
    done = subprocess.run(
        [*command, '--turns', '1', '--frames', '2',
         *(text for name in subjects for text in ('--subject', name))],
        cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert list(results) == ['first', 'second']
    ratio = (results['second'][0]['frames_per_second'] /
             results['first'][0]['frames_per_second'])
    rows = [line.split('|')[1:5] for line in page.read_text().splitlines()
            if line.startswith(('| first', '| second'))]
    assert [row[2].strip() for row in rows] == ['1.00', f'{ratio:.2f}']
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and again.stdout.strip() in page.read_text()
