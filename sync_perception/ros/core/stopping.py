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

"""SIGINT and SIGTERM end a node in order, whatever it is doing; this imports nothing slow."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
import sys
from threading import Event, Lock, Thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 1.2
"""Seconds for the node to end in order, of the two after which it must be gone."""


class StopRequest:
    """
    Waits for SIGINT and SIGTERM on a thread of its own, from when it is made.

    No thread is interrupted: a KeyboardInterrupt in the middle of native code (torch, rclpy) would
    abort the process. Instead `asked` is set and the executor woken. A process that is not gone
    a moment later, or gets a second signal, ends at once; so does one that has not called `serve`.
    The exit status is 0 in all cases.

    :ivar asked: whether the process is to end.
    """

    def __init__(self):
        # inherited by all threads that start from here on: only sigwait takes the signals
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.asked = Event()
        self.lock = Lock()
        self.wake: Callable[[], None] | None = None
        Thread(target=self._wait, name='signals', daemon=True).start()

    def serve(self, wake: Callable[[], None]) -> None:
        """
        End in order from now on, no longer at once.

        :param wake: called from a thread when the process is to end; it must not raise.
        """
        with self.lock:
            self.wake = wake

    def _wait(self) -> None:
        signal.sigwait(SIGNALS)
        with self.lock:
            if self.wake is None:
                leave(0)
            self.asked.set()
            self.wake()
        signal.sigtimedwait(SIGNALS, GRACE)
        leave(0)


def leave(status: int) -> None:
    """
    End the process without Python's own end, which takes modules from under running threads.

    A thread that loads a model or serves DDS would then crash it.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it is gone
    os._exit(status)
