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

"""Runs: whose they are, what they must leave, and how their settings are compared."""

from __future__ import annotations

import fcntl
import sys
import threading

import pytest
from sync_perception.studies.ablation.runs import (
    carry_out,
    LOCK,
    Run,
    training_record,
)
from sync_perception.studies.training_process import LOG_FILE, train_in_child


def test_a_run_in_other_hands_is_waited_for(tmp_path):
    run = Run(tmp_path / 'run', {}, 'plain')
    run.folder.mkdir()
    other = (run.folder / LOCK).open('w')
    fcntl.flock(other, fcntl.LOCK_EX)
    news = carry_out(run, pytest.fail)
    assert next(news) == 'another process trains it: waiting'
    (run.folder / 'results.json').write_text('{"measured": {}}')
    threading.Timer(0.2, other.close).start()
    assert list(news) == ['already done']


def test_the_training_holds_the_run_even_if_its_parent_dies(tmp_path, monkeypatch):
    """Its process has the lock's file open, so that nobody else trains into the folder."""
    script = tmp_path / 'python'
    script.write_text('#!/bin/sh\nls -l /proc/$$/fd\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(script))
    run = Run(tmp_path / 'run', {}, 'plain')
    with pytest.raises(RuntimeError, match='left no model'):
        list(carry_out(run, train_in_child))
    assert str(run.folder / LOCK) in (run.folder / LOG_FILE).read_text()


def test_a_training_without_a_model_is_told_what_it_needs(tmp_path):
    with pytest.raises(RuntimeError, match='ExportAverage'):
        training_record(Run(tmp_path, {}, 'plain'))
