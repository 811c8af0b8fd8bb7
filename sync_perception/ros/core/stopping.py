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

"""Orderly shutdown of a node on SIGINT and SIGTERM; this module imports nothing slow."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
import sys
from threading import Event, Lock, Thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 1.2
"""Seconds for an orderly shutdown; the process must end within two seconds."""


class StopRequest:
    """
    Stop request by SIGINT or SIGTERM, received on a separate thread.

    No thread is interrupted, since a KeyboardInterrupt in native code (torch, rclpy) would abort
    the process. Instead `requested` is set and the executor is woken. The process ends immediately
    if it has not ended after GRACE, receives a second signal, or has not called `serve`. The exit
    status is 0 in all cases.

    :ivar requested: whether a stop was requested.
    """

    def __init__(self):
        # all threads started from here on inherit the mask, so only sigwait receives the signals
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.requested = Event()
        self.lock = Lock()
        self.wake: Callable[[], None] | None = None
        Thread(target=self._wait, name='signals', daemon=True).start()

    def serve(self, wake: Callable[[], None]) -> None:
        """
        Switch from immediate to orderly shutdown.

        :param wake: called from another thread when a stop is requested; it must not raise.
        """
        with self.lock:
            self.wake = wake

    def _wait(self) -> None:
        signal.sigwait(SIGNALS)
        with self.lock:
            if self.wake is None:
                leave(0)
            self.requested.set()
            self.wake()
        signal.sigtimedwait(SIGNALS, GRACE)
        leave(0)


def leave(status: int) -> None:
    """
    End the process without Python's finalisation.

    Finalisation unloads modules under running threads, so a thread that loads a model or serves
    DDS would crash the process.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # the reader of the stream is gone
    os._exit(status)
