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


"""Runs ament_flake8 over the package, where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
PATHS = ('setup.py', 'sync_perception', 'test', 'launch', 'benchmarks')


# `make test` runs ruff, which checks the same rules in a second instead of a minute
pytestmark = [pytest.mark.exhaustive] if find_spec('ruff') else []


@pytest.mark.linter
@pytest.mark.timeout(600)  # reads every file; slow on a busy machine
@pytest.mark.flake8
def test_flake8():
    """The style that ROS 2 packages share, without a configuration of our own."""
    pytest.importorskip('ament_flake8.main', reason='ament_flake8 is not installed')
    paths = [str(ROOT / path) for path in PATHS if (ROOT / path).exists()]
    # in a process of its own: flake8 forks, and what ROS leaves in this one does not survive that
    result = subprocess.run(
        [sys.executable, '-m', 'ament_flake8.main', *paths], capture_output=True, text=True,
        check=False)
    assert result.returncode == 0, result.stderr + result.stdout
