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

"""Frames of the benchmarks."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.runtime.benchmark.bench_frames import BenchFrames, drawn_street


def test_the_drawn_street_is_the_same_each_time():
    first, second = drawn_street((75, 120)), drawn_street((75, 120))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (75, 120, 3) and len(np.unique(first.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize('count, size', [(0, (5, 5)), (1, (0, 5))])
def test_refuses_nothing_to_measure(count, size):
    with pytest.raises(ValueError, match='at least 1'):
        BenchFrames(count, size)
