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

"""Counts, problems and log lines of the frames of one source."""

from __future__ import annotations

from typing import Generic, TypeVar

from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.health.counters import Counters
from sync_perception.types import MalformedInput

CountersType = TypeVar('CountersType', bound=Counters)


class FrameFaults(Generic[CountersType]):
    """
    What went well and wrong with the frames of one source.

    :param counters: counts since the node was activated.
    :param log: log of what is refused and fails.
    :param name: name of the source, which keeps its log lines apart from those of others.
    :param title: beginning of the log lines about problems; empty for none.
    :ivar troubles: problems of the latest frame, by kind.
    """

    fallback = 'model input'
    """Reason of refused messages whose error names none."""

    def __init__(self, counters: CountersType, log: SeldomLog, name: str = '', title: str = ''):
        self.counters, self.log, self.name, self.title = counters, log, name, title
        self.troubles: dict[str, str] = {}

    def count_refused(self, error: ValueError, message: str) -> None:
        """
        Count and log a message that cannot be used.

        :param message: name of the message, with its article.
        """
        reason = error.reason if isinstance(error, MalformedInput) else self.fallback
        self.counters.refused[reason] += 1
        self.log.warn(f'{reason} {self.name}', f'refused {message}: {error}')

    def count_failed(self, error: Exception) -> None:
        """Count and log a frame whose processing failed."""
        self.counters.failed += 1
        self.log.warn(
            f'failure {self.name}', f'a frame failed: {type(error).__name__}: {error}')

    def note(self, kind: str, problem: str) -> None:
        """
        Store a problem of the latest frame, and log a warning when it is new.

        :param problem: a sentence; empty if there is no problem.
        """
        if not problem:
            self.troubles.pop(kind, None)
            return
        if kind not in self.troubles:  # otherwise it was already logged
            prefix = f'{self.title}: ' if self.title else ''
            self.log.warn(f'{kind} {self.name}', f'{prefix}{problem}')
        self.troubles[kind] = problem
