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

"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get('SYNC_PERCEPTION_DATA')
            or Path(__file__).resolve().parents[1] / '..' / 'shared' / 'data').resolve()


@pytest.fixture(scope='session')
def data_root() -> Path:
    """Return the folder of real recordings, or skip."""
    if not DATA.is_dir():
        pytest.skip(f'no real recordings at {DATA} (set SYNC_PERCEPTION_DATA)')
    return DATA
