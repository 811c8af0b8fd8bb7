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

"""A training's process: what it is called with, how it fails, and that it is never left behind."""

from __future__ import annotations

import os
from pathlib import Path
import select
import signal
import subprocess
import sys

import pytest
from sync_perception.studies.training_process import LOG_FILE, train_in_child


@pytest.fixture
def training(tmp_path, monkeypatch):
    """Let a shell script stand for the process that trains."""
    def install(script: str) -> None:
        path = tmp_path / 'python'
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, 'executable', str(path))
    return install


def test_a_training_is_called_as_a_user_would(training, tmp_path):
    training('echo "$@"')
    train_in_child(tmp_path, ['--config', 'a b.yaml'])
    train_in_child(tmp_path, ['--config', 'c.yaml'])
    assert (tmp_path / LOG_FILE).read_text() == (
        '-m sync_perception.cli train --config a b.yaml\n'
        '-m sync_perception.cli train --config c.yaml\n')


def test_a_failing_training_says_why(training, tmp_path):
    training('echo step 1; echo no more memory >&2; exit 3')
    with pytest.raises(RuntimeError, match='status 3: no more memory'):
        train_in_child(tmp_path, [])
    training('rm -f train.log; exit 4')
    (tmp_path / LOG_FILE).unlink()
    with pytest.raises(RuntimeError, match='status 4'):
        train_in_child(tmp_path, [])


def test_the_real_command_refuses_a_recipe_in_its_log(tmp_path):
    pytest.importorskip('lightning')
    with pytest.raises(RuntimeError, match='1: sync_perception:.*none.yaml'):
        train_in_child(tmp_path, ['--config', str(tmp_path / 'none.yaml')])


PARENT = """
import signal
import sys
from pathlib import Path
from sync_perception.studies.training_process import train_in_child
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by some parents
sys.executable = sys.argv[1]
train_in_child(Path(sys.argv[2]), [])
"""


def has_ended(process: int) -> bool:
    """Wait until a process that is no child of this one has ended; False after ten seconds."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_leaves_no_training_behind(tmp_path, number):
    """The training ends itself on Ctrl-C, which a terminal sends to both, and is ended else."""
    ready = tmp_path / 'ready'
    os.mkfifo(ready)
    script = tmp_path / 'python'
    end = 'trap "echo ended; exit 0" INT TERM'
    script.write_text(f'#!/bin/sh\n{end}\necho $$ > {ready}\nwhile :; do sleep 0.1; done\n')
    script.chmod(0o755)
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT, str(script), str(tmp_path)], stderr=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])})
    child = int(ready.read_text())  # waits until it is written
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)
    else:
        parent.send_signal(number)
    assert parent.wait(60) not in (0, None)
    assert has_ended(child)
    assert (tmp_path / LOG_FILE).read_text().startswith('ended')
