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

"""Colours of depth: order, scale and range."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.images.colors import colorize_depth


def test_depth_colours_run_from_red_to_blue():
    depth = np.array([[2.0, 12.0, 80.0, 500.0, np.nan, np.inf, 0.0, -1.0]], np.float32)
    near, middle, far, beyond, *invalid = colorize_depth(depth, max_depth=80)[0].astype(int)
    assert near[0] > near[2] and far[2] > far[0]
    assert middle[1] > max(middle[0], middle[2])
    assert (beyond == far).all()
    assert not np.any(invalid)


def test_depth_colours_are_logarithmic():
    depth = np.array([[4.0, 8.0, 16.0]], np.float32)
    shifted = colorize_depth(depth * 2, max_depth=160, min_depth=4)
    np.testing.assert_array_equal(colorize_depth(depth, max_depth=80, min_depth=2), shifted)


def test_depth_range_is_checked():
    with pytest.raises(ValueError, match='min_depth'):
        colorize_depth(np.ones((2, 2), np.float32), max_depth=1, min_depth=2)


def test_the_near_end_of_the_scale_follows_the_far_end():
    streets, room = np.array([[2.0, 20, 80]], np.float32), np.array([[0.5, 5, 20]], np.float32)
    np.testing.assert_array_equal(colorize_depth(streets, 80), colorize_depth(room, 20))
