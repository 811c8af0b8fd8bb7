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

"""What a part of the soak returns."""

from __future__ import annotations

from dataclasses import dataclass, field
import gc
from typing import Any

import psutil

MIB = 2 ** 20


@dataclass(frozen=True)
class Outcome:
    """
    What came of trying something again and again.

    :param count: how often it was tried.
    :param wrong: a line for each thing that did not hold.
    :param result: what was found, in a few words.
    :param numbers: what was measured.
    """

    count: int
    wrong: list[str]
    result: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """
    What a process holds.

    :param mib: MiB of resident memory.
    :param files: open file descriptors.
    :param threads: threads.
    """

    mib: float
    files: int
    threads: int


def usage(pid: int | None = None) -> Usage:
    """Return what a process holds, by default this one."""
    process = psutil.Process(pid)
    with process.oneshot():
        return Usage(round(process.memory_info().rss / MIB, 1), process.num_fds(),
                     process.num_threads())


def resident() -> float:
    """Return the MiB of memory that this process uses, without what can be collected."""
    gc.collect()
    return usage().mib


MOST_SHARE = 0.05  # of the memory that may come on top
MOST_HANDLES = 4  # file descriptors or threads that may: pools that fill late


def growth(before: Usage, after: Usage) -> tuple[list[str], str]:
    """
    Compare what a process held before and after.

    :return: what grew too much, and all three numbers in words.
    """
    wrong = []
    if after.mib > (1 + MOST_SHARE) * before.mib:
        wrong.append(f'memory grew by {after.mib / before.mib - 1:.0%}')
    wrong += [f'{after_count - before_count} more {name}' for name, before_count, after_count in (
        ('file descriptors', before.files, after.files),
        ('threads', before.threads, after.threads)) if after_count > before_count + MOST_HANDLES]
    return wrong, (
        f'memory {before.mib:.0f} to {after.mib:.0f} MiB, file descriptors {before.files} to '
        f'{after.files}, threads {before.threads} to {after.threads}')
