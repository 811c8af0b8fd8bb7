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


"""Two processes, one output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from sync_perception.files.locks import output_lock

HOLD = """
import sys
from sync_perception.files.locks import output_lock
with output_lock(sys.argv[1]):
    print('held', flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock until it gets a line."""
    with subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path / 'out')], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == 'held\n'
        try:
            yield process
        finally:
            process.kill()


def test_who_has_the_lock_is_named(holder, tmp_path):
    with pytest.raises(ValueError, match=f'{holder.pid}'):
        with output_lock(tmp_path / 'out'):
            pass
    holder.communicate('go\n')
    assert holder.returncode == 0
    with output_lock(tmp_path / 'out'):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert os.listdir(tmp_path) == ['.out.lock']
    with output_lock(tmp_path / 'out'):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_released_after_an_error_and_held_by_one_only(tmp_path):
    def fail(name: str) -> None:
        with output_lock(tmp_path / 'new' / name):
            raise KeyError(name)

    with output_lock(tmp_path / 'new' / 'out'):
        with pytest.raises(KeyError):
            fail('other')
        with pytest.raises(ValueError, match=f'process {os.getpid()} '):
            fail('out')
    with pytest.raises(KeyError):
        fail('out')
