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

"""A training in a process of its own, which is never left behind."""

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
"""Seconds that an interrupted training has to end."""


def train_in_child(folder: Path, arguments: Sequence[str]) -> None:
    """
    Train in a process of its own, whose memory is free afterwards; what it prints goes to a file.

    :raises RuntimeError: if it fails, with the last line that it printed.
    """
    command = [sys.executable, '-m', 'sync_perception.cli', 'train', *arguments]
    with (folder / LOG_FILE).open('a') as log, ending_on_sigterm() as obey:
        child = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, close_fds=False)
        try:
            obey()
            status = child.wait()
        except KeyboardInterrupt:  # which a terminal sends to both
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
            raise
        finally:
            child.terminate()
            child.wait()
    if status:
        lines = (folder / LOG_FILE).read_text(errors='replace').strip().splitlines()
        raise RuntimeError(
            f'its training left with {status}: {lines[-1] if lines else "it printed nothing"}')


@contextmanager
def ending_on_sigterm() -> Iterator[Callable[[], None]]:
    """
    Leave in good order when told to end, so that no training is left behind.

    Yields what is called once there is a training to end; until then a signal waits.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    told, ready = [], []

    def leave(number: int, frame: object = None) -> None:
        told.append(number)
        if ready:
            sys.exit(128 + number)

    def obey() -> None:
        ready.append(True)
        if told:
            leave(told[0])

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield obey
    finally:
        signal.signal(signal.SIGTERM, former)
