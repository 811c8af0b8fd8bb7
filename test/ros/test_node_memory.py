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

"""A node that is configured and cleaned up again and again leaves nothing in memory."""

from __future__ import annotations

from memory_growth import measure
import pytest

pytestmark = pytest.mark.timeout(900)


def test_a_few_cycles_leave_nothing(shared_cache):
    """Of the default model, in a process of its own; each would be 50 MiB."""
    assert measure('cycles', 8, warm_up=3).mib < 60


@pytest.mark.exhaustive
def test_two_hundred_cycles_stay_within_five_percent(shared_cache):
    """As above, with the backend that the node chooses by itself where it is installed."""
    pytest.importorskip('openvino')
    assert measure('cycles', 200, 'openvino').share < 0.05
