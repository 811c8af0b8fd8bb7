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

"""Reports of benchmarks: the machine, statistics of times, and the file."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import platform
import subprocess
import time
from typing import Any

import cv2
import numpy as np
from sync_perception.files.whole_files import write_json
from sync_perception.machine import processor_name
from sync_perception.resources import package_folder
import torch

PERCENTILES = (50, 95, 99)


def machine() -> dict[str, Any]:
    """Return a description of the machine: host, processor, threads, load, versions, commit."""
    return {
        'host': platform.node(), 'system': platform.platform(), 'processor': processor_name(),
        'cores': os.cpu_count(), 'torch_threads': torch.get_num_threads(),
        'load_average': [round(value, 2) for value in os.getloadavg()],
        'python': platform.python_version(), 'torch': torch.__version__,
        'opencv': cv2.__version__, 'numpy': np.__version__, 'commit': _commit(),
        'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


def summarize_times(values: Sequence[float]) -> dict[str, float]:
    """Return the percentiles, the mean and the minimum of some times."""
    marks = dict(zip([f'p{mark}' for mark in PERCENTILES], np.percentile(values, PERCENTILES)))
    marks |= {'mean': np.mean(values), 'min': np.min(values)}
    return {name: round(float(value), 3) for name, value in marks.items()}


def write_report(report: dict[str, Any], path: str | Path) -> None:
    """Write a report as JSON, and create its folder if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report)


def _commit() -> str:
    """Return the commit of the source tree, or 'unknown' for an installed package."""
    try:
        found = subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--abbrev=12'], cwd=package_folder(),
            capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return found.stdout.strip()
