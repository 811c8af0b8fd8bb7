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


"""A process whose disk is as good as full."""

from __future__ import annotations

import subprocess
import sys

FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""
"""Lets a process write no more than so many bytes to a file, as if the disk was full."""


def run_full(code: str, *words: str) -> subprocess.CompletedProcess:
    """Run Python code on a disk that is as good as full."""
    return subprocess.run(
        [sys.executable, '-c', FULL + code, *words], capture_output=True, text=True, timeout=110)
