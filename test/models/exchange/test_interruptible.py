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


"""Native calls that a time limit or Ctrl-C ends."""

from __future__ import annotations

from concurrent.futures import TimeoutError as OutOfTime
import signal
from threading import Event, main_thread, Thread

import pytest
from sync_perception.models.exchange import interruptible
from sync_perception.models.exchange.interruptible import call_interruptibly

PATIENCE = 20.0


class NativeCall:
    """A call that runs until it is cancelled; it notes what happens to it."""

    def __init__(self):
        self.begun, self.cancelled, self.ended = Event(), Event(), Event()

    def __call__(self) -> str:
        """Wait to be cancelled."""
        self.begun.set()
        assert self.cancelled.wait(PATIENCE)
        self.ended.set()
        return 'cancelled'


@pytest.fixture(autouse=True)
def taken_sigint():
    """Take SIGINT as Python does by default; some parents ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_value_or_the_error_is_that_of_the_call():
    assert call_interruptibly(lambda: 7, lambda: None, 10) == 7
    with pytest.raises(ValueError, match='broken'):
        call_interruptibly(lambda: int('broken'), lambda: None, 10)


def test_a_call_that_takes_too_long_is_cancelled_and_has_ended():
    call = NativeCall()
    with pytest.raises(OutOfTime):
        call_interruptibly(call, call.cancelled.set, 0.1)
    assert call.begun.is_set() and call.ended.is_set()


def test_ctrl_c_cancels_the_call_which_then_has_ended():
    call = NativeCall()

    def press():
        call.begun.wait(PATIENCE)
        signal.pthread_kill(main_thread().ident, signal.SIGINT)

    Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(call, call.cancelled.set, PATIENCE)
    assert call.ended.is_set()


def test_ctrl_c_while_the_thread_starts_keeps_the_call_from_beginning(monkeypatch):
    threads = []

    class Interrupted(Thread):

        def start(self):
            threads.append(self)
            super().start()
            raise KeyboardInterrupt

    monkeypatch.setattr(interruptible, 'Thread', Interrupted)
    call = NativeCall()
    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(call, call.cancelled.set, PATIENCE)
    assert not threads[0].is_alive() and not call.begun.is_set()
