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

"""Models that are swapped and images of many sizes leave nothing in memory."""

from __future__ import annotations

from memory_growth import measure
import pytest

pytestmark = pytest.mark.timeout(600)
LIMITS = {'swaps': 40, 'sizes': 250}
"""MiB. A model that stayed would be 50 to 80, a size 34; a large image raises the heap by 150."""


@pytest.mark.parametrize(('backend', 'action', 'count'), [
    ('torch', 'swaps', 8), ('torch', 'sizes', 20),
    pytest.param('openvino', 'swaps', 8, marks=pytest.mark.exhaustive),
    pytest.param('openvino', 'sizes', 20, marks=pytest.mark.exhaustive)])
def test_a_few_leave_nothing(backend, action, count, shared_cache):
    """Of the default model, in a process of its own."""
    if backend != 'torch':
        pytest.importorskip(backend)
    assert measure(action, count, backend, warm_up=3).mib < LIMITS[action]


@pytest.mark.exhaustive
@pytest.mark.parametrize('backend', ['torch', 'openvino'])
@pytest.mark.parametrize('action', ['swaps', 'sizes'])
def test_a_hundred_stay_within_five_percent(backend, action, shared_cache):
    """As above."""
    if backend != 'torch':
        pytest.importorskip(backend)
    assert measure(action, 100, backend).share < 0.05
