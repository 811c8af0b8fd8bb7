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

"""Training in a child process, which is always terminated with its parent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
import signal
import subprocess
import sys
import threading

LOG_FILE = 'train.log'
GRACE = 60
"""Grace period of an interrupted training, seconds."""


def train_in_child(folder: Path, arguments: Sequence[str]) -> None:
    """
    Train in a child process, which frees its memory at the end; its output goes to a file.

    :raises RuntimeError: if it fails, with its last line of output.
    """
    command = [sys.executable, '-m', 'sync_perception.cli', 'train', *arguments]
    with (folder / LOG_FILE).open('a') as log, exit_on_sigterm() as act_on_signals:
        child = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, close_fds=False)
        try:
            act_on_signals()
            status = child.wait()
        except KeyboardInterrupt:  # a terminal sends it to both processes
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
            raise
        finally:
            child.terminate()
            child.wait()
    if status:
        lines = (folder / LOG_FILE).read_text(errors='replace').strip().splitlines()
        raise RuntimeError(
            f'its training ended with status {status}: '
            f'{lines[-1] if lines else "it printed nothing"}')


@contextmanager
def exit_on_sigterm() -> Iterator[Callable[[], None]]:
    """
    Handle SIGTERM as an exit, so that the child process is terminated.

    Yields a function to call once the child runs; signals before that are deferred.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    received, ready = [], []

    def leave(number: int, frame: object = None) -> None:
        received.append(number)
        if ready:
            sys.exit(128 + number)

    def act_on_signals() -> None:
        ready.append(True)
        if received:
            leave(received[0])

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield act_on_signals
    finally:
        signal.signal(signal.SIGTERM, former)
