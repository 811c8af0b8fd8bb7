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

"""Waiting for what other threads bring about."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

PATIENCE = 20.0
PERIOD = 0.01


def wait_until(condition: Callable[[], Any], describe: Callable[[], Any] = str,
               patience: float = PATIENCE) -> None:
    """
    Wait until a condition holds.

    :param describe: returns what is known of the state, for the message of the failure.
    :param patience: seconds to wait.
    """
    ticker = Event()
    for _ in range(int(patience / PERIOD)):
        if condition():
            return
        ticker.wait(PERIOD)
    raise AssertionError(f'it never happened; {describe()}')
