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

"""The F1 of depth discontinuities: by hand, its invariances, and what it leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.evaluation.depth_boundaries import BoundaryMetrics, f1, occlusions


def box(near: float = 5.0, far: float = 20.0, shift: int = 0) -> np.ndarray:
    """Return a far wall with a near box before it, perhaps shifted to the right."""
    depth = np.full((20, 30), far)
    depth[5:15, 10 + shift:20 + shift] = near
    return depth


def score(prediction, truth, **settings):
    metrics = BoundaryMetrics(**settings)
    metrics.update(prediction, truth)
    return metrics.compute()['boundary_f1']


def test_occlusions_by_hand():
    right, left, below, above = occlusions(np.array([[1.0, 1.2, 1.2], [1.0, 1.0, 2.0]]), 1.15)
    assert right.tolist() == [[True, False], [False, True]]
    assert left.tolist() == [[False, False], [False, False]]
    assert below.tolist() == [[False, False, True]]
    assert above.tolist() == [[False, True, False]]


def test_truth_scores_1_in_any_unit_and_a_flat_map_0():
    assert score(box(), box()) == pytest.approx(1)
    assert score(3 * box(), box()) == pytest.approx(1)
    assert score(np.full((20, 30), 7.0), box()) == 0


def test_half_of_the_borders_in_place():
    """A box shifted along its top and bottom: 9 of 10 pixels of these, none of its sides."""
    # means over directions: (0 + 0 + 0.9 + 0.9) / 4, precision and recall alike
    assert score(box(shift=1), box()) == pytest.approx(0.45)
    assert f1(box(shift=1), box(), 1.1) == pytest.approx(0.45)


def test_blur_costs_borders():
    """Spread over four pixels a border of 1 : 4 keeps steps of 1.4; they are in other places."""
    sharp = np.repeat(np.array([[5.0] * 10 + [20.0] * 10]), 8, axis=0)
    soft = np.repeat(np.geomspace(5, 20, 5)[None], 8, axis=0)
    soft = np.concatenate([np.full((8, 8), 5.0), soft, np.full((8, 7), 20.0)], axis=1)
    assert 0 < score(soft, sharp) < 0.5


def test_sparse_depth_and_pixels_out_of_range_are_left_out():
    metrics = BoundaryMetrics()
    sparse = np.full((20, 30), np.nan)
    sparse[::3] = box()[::3]
    metrics.update(box(), sparse)
    assert metrics.images == 0
    with pytest.raises(ValueError, match='dense'):
        metrics.compute()
    sky = box()
    sky[:3] = np.inf  # whatever is predicted there is no false border
    wild = box()
    wild[:3] = np.random.default_rng(0).uniform(1, 50, (3, 30))
    assert score(wild, sky) == pytest.approx(1)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='20, 30'):
        BoundaryMetrics().update(np.ones((4, 4)), box())
