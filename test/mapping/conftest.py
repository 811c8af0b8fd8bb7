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


"""A rendered drive with exact depth, labels and poses."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def rendered_drive(tmp_path_factory) -> Path:
    """Render twelve frames of a street in the layout of Virtual KITTI 2."""
    from sync_perception.street_world import write_vkitti2
    return write_vkitti2(
        tmp_path_factory.mktemp('street'), worlds=1, frames=12, height=250, width=820,
        progress=False)
