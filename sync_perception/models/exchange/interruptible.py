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

"""Calls of native code that a time limit or Ctrl-C can interrupt."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from math import ceil
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Value = TypeVar('Value')
SLICE = 0.2
"""Polling interval in seconds: a signal just before a wait is handled after it."""


def call_interruptibly(
        call: Callable[[], Value], cancel: Callable[[], None], limit: float) -> Value:
    """
    Call native code on a separate thread and wait for it, so that Ctrl-C is handled.

    The thread has left the native code before this function returns or raises. A thread in native
    code at interpreter exit would abort the process.

    :param call: native call that releases the interpreter's lock.
    :param cancel: function that stops a running or later call soon.
    :param limit: time limit, seconds.
    :raises concurrent.futures.TimeoutError: if the call takes longer.
    """
    permits: SimpleQueue[bool] = SimpleQueue()
    outcome: Future[Value] = Future()
    thread = Thread(target=_call_if_permitted, args=(call, permits, outcome))
    try:
        # Ctrl-C within start() leaves a thread that cannot be joined: it waits for its permit
        thread.start()
        permits.put(True)
        for _ in range(ceil(limit / SLICE)):
            if wait([outcome], SLICE).done:
                break
        return outcome.result(0)
    finally:
        cancel()
        permits.put(False)
        if thread.is_alive():
            thread.join()


def _call_if_permitted(
        call: Callable[[], Value], permits: SimpleQueue[bool], outcome: Future[Value]) -> None:
    if not permits.get():
        return
    try:
        outcome.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again where the outcome is awaited
        outcome.set_exception(error)
