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


"""Depth without learning: by hand, and on a rendered street."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.sample import Sample
from sync_perception.labels import LabelSpace
from sync_perception.street_world import write_vkitti2
from sync_perception.studies.depth_baselines import (
    CAMERA_HEIGHT,
    ground_plane,
    measure_baseline,
)
from sync_perception.training.feeding.recordings import EvaluationSource

K = np.array([[100.0, 0, 10], [0, 50.0, 2], [0, 0, 1]])


def test_the_road_is_as_far_as_its_row_says():
    """A row 4 pixels below the horizon, f = 50: 1.65 m x 50 / 4 = 20.6 m; above it, 80 m."""
    depth = ground_plane(Sample('a', np.zeros((8, 20, 3), np.uint8), K=K))
    assert depth.shape == (8, 20)
    np.testing.assert_allclose(depth[6], CAMERA_HEIGHT * 50 / 4)
    np.testing.assert_allclose(depth[:4], 80.0)  # 1.65 m x 50 / 1 is 82.5 m


def test_a_street_is_nearly_a_plane_and_no_constant(tmp_path):
    streets = write_vkitti2(tmp_path, worlds=1, frames=1, height=96, width=320)
    source = EvaluationSource('vkitti2', str(streets), 'all', median_scaling=True)
    sample = source.load()[0]
    road = sample.labels == LabelSpace.load('vkitti2').index('Road')
    np.testing.assert_allclose(
        np.median(ground_plane(sample)[road] / sample.depth[road]), 1, atol=0.1)
    true = sample.depth[sample.depth < source.load().max_depth]
    assert measure_baseline('constant depth', source)['abs_rel'] == pytest.approx(
        np.mean(np.abs(np.median(true) - true) / true), rel=1e-5)
    assert measure_baseline('ground plane', source)['rmse'] < measure_baseline(
        'constant depth', source)['rmse']
