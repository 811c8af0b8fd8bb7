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

"""Exported files that are valid and never end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from endless_onnx import SIZE, write_endless_onnx
import pytest
from sync_perception.models import hub
from sync_perception.models.exchange import exported
import torch


def test_an_onnx_file_that_never_ends_is_refused(tmp_path, monkeypatch):
    """The first run has a time limit, after which nothing runs on in the background."""
    monkeypatch.setattr(exported, 'FIRST_RUN', 0.5)
    model = hub.load(write_endless_onnx(tmp_path / 'endless.onnx'))
    start = time.monotonic()
    with pytest.raises(ValueError, match='endless.onnx.*0.5 s'):
        model(torch.zeros(1, 3, *SIZE))
    assert time.monotonic() - start < 10
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.2


ENDLESS = """
import signal
import sys
import torch
from sync_perception.models import hub
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by some parents
model = hub.load(sys.argv[1])
try:
    print('running', flush=True)
    model(torch.zeros(1, 3, int(sys.argv[2]), int(sys.argv[3])))
except KeyboardInterrupt:
    print('interrupted', flush=True)
"""


def test_ctrl_c_ends_a_run_that_never_ends(tmp_path):
    """A verb that tries a model is interrupted and can end in order: in a real process."""
    write_endless_onnx(tmp_path / 'endless.onnx')
    child = subprocess.Popen(
        [sys.executable, '-c', ENDLESS, str(tmp_path / 'endless.onnx'), *map(str, SIZE)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == 'running\n'
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output, errors) == (0, 'interrupted\n', '')
