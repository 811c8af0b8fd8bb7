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


"""Runs ament_copyright over the package, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('sync_perception', 'test', 'launch', 'benchmarks')


@pytest.mark.linter
@pytest.mark.copyright
def test_copyright():
    """Every source file carries the licence, and LICENSE and CONTRIBUTING.md state it."""
    linter = pytest.importorskip(
        'ament_copyright.main', reason='ament_copyright comes with a ROS 2 installation only')
    sources = [str(ROOT / folder) for folder in FOLDERS if (ROOT / folder).is_dir()]
    files = [str(ROOT / name) for name in ('setup.py', 'LICENSE', 'CONTRIBUTING.md')]
    assert linter.main(argv=[*sources, *files]) == 0
