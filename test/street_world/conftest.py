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


"""Streets that several tests look at."""

from __future__ import annotations

import pytest
from sync_perception.street_world import StreetWorld

SIZE = (120, 400)


@pytest.fixture(scope='session')
def street() -> StreetWorld:
    """Return a street that is built once; tests only render it."""
    return StreetWorld(0, SIZE, weather='clear', frames=20)


@pytest.fixture(scope='session')
def flat_street() -> StreetWorld:
    """Return the first street without slopes."""
    for seed in range(40):
        world = StreetWorld(seed, SIZE, weather='overcast', frames=4)
        if not world.layout.line.z.any():
            return world
    raise AssertionError('none of 40 streets is flat')
