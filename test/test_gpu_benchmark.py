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

"""The benchmark for GPUs, small and on the CPU, which checks all of it but the GPU."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.timeout(240)
def test_everything_is_measured_and_written(small_model, tmp_path):
    out = tmp_path / 'gpu.json'
    done = subprocess.run(
        [sys.executable, ROOT / 'benchmarks' / 'gpu.py', '--device', 'cpu', '--model', small_model,
         '--out', out, '--frames', '6', '--width', '96', '--height', '64', '--batch', '2',
         '--steps', '2', '--no-tests'], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report['gpu'] is None and report['machine']['processor']
    own = report['predictors']['torch float32']
    assert own['same_labels_as_cpu'] == 1.0 and own['depth_off_from_cpu'] == 0.0
    assert 0 < own['maps_milliseconds']['p50'] < own['six_cameras_milliseconds']['p50']
    assert report['training']['2']['samples_per_second'] > 0
