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


"""Points between two surfaces are removed; surfaces, however slanted or far, stay whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.runtime.clean_depth import clean_depth

SIZE = (120, 320)
K = np.array([[300.0, 0, 159.5], [0, 300, 59.5], [0, 0, 1]])


def plane(normal, distance: float) -> np.ndarray:
    """Return the depth of the plane normal . x = distance, NaN behind the camera."""
    v, u = np.mgrid[:SIZE[0], :SIZE[1]]
    rays = np.stack([(u - 159.5) / 300, (v - 59.5) / 300, np.ones(SIZE)], axis=-1)
    towards = rays @ np.asarray(normal, float)
    return np.where(towards > 1e-3, distance / np.maximum(towards, 1e-3), np.nan).astype('f4')


@pytest.mark.parametrize(('normal', 'distance'), [
    ((0, 1, 0), 1.65), ((1, 0, 0), 2.0), ((0, 0, 1), 0.4), ((0.6, 0, 0.8), 1.0)])
def test_planes_are_kept(normal, distance):
    """Ground up to the horizon, a wall along the way, and a near wall lose nothing."""
    depth = plane(normal, distance)
    np.testing.assert_array_equal(clean_depth(depth, K, 0.3), depth)


def test_the_ramp_between_two_surfaces_is_removed():
    """A box in front of a wall, blurred as a network does: no point is left in between."""
    depth = np.full(SIZE, 20, np.float32)
    depth[40:80, 100:200] = 8
    blurred = cv2.blur(depth, (5, 5))
    between = (blurred > 9) & (blurred < 17)
    assert between.sum() > 500
    cleaned = clean_depth(blurred, K, 0.5)
    assert np.isnan(cleaned[between]).all()
    assert np.isfinite(cleaned[blurred == depth]).mean() > 0.97
    assert np.nanmax(np.abs(cleaned - np.where(cleaned < 14, 8, 20))) < 3.1


def test_uncertain_points_are_removed():
    """Points whose deviation is a large share of their depth go, also without an edge."""
    depth, deviation = np.full(SIZE, 10, np.float32), np.full(SIZE, 1, np.float32)
    deviation[:, :100] = 4
    cleaned = clean_depth(depth, K, 0, deviation, 0.3)
    assert np.isnan(cleaned[:, :100]).all()
    assert np.isfinite(cleaned[:, 100:]).all()


def test_nothing_is_removed_unless_asked():
    """With both limits at 0 the very same array is returned; holes stay holes."""
    depth = np.full(SIZE, 10, np.float32)
    depth[10:20] = np.nan
    assert clean_depth(depth, K, 0) is depth
    assert np.isnan(clean_depth(depth, K, 0.3)[10:20]).all()
    with pytest.raises(ValueError, match='distance'):
        clean_depth(depth, K, -1)
