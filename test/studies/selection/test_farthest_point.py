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

"""Farthest-point selection against brute force, whatever part of the features is in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sync_perception.studies.selection import features as selection_cache
from sync_perception.studies.selection.farthest_point import Choice, distances, inverse_deviations
from sync_perception.studies.selection.features import Rows

IMAGES, CHANNELS, PLACES = 37, 5, 6


@pytest.fixture
def features(tmp_path, monkeypatch):
    """Return features of unlike channels, float16, and the file of them, read in small parts."""
    monkeypatch.setattr(selection_cache, 'CHUNK', 4 * CHANNELS * PLACES * 4)
    rng = np.random.default_rng(5)
    scale, shift = np.array([[0.01], [1], [30], [1], [1]]), np.array([[0], [50], [-3], [0], [0]])
    values = rng.normal(size=(IMAGES, CHANNELS, PLACES)) * scale + shift
    values[:, 3] = 7
    values = values.astype(np.float16)
    values.tofile(tmp_path / 'features.raw')
    return values.astype(np.float64), Rows(tmp_path / 'features.raw', IMAGES, CHANNELS, PLACES)


def normalised(values, usable):
    """Return the features, each channel of zero mean and unit variance over what counts."""
    mean = values[usable].mean(axis=(0, 2), keepdims=True)
    deviation = values[usable].std(axis=(0, 2), keepdims=True)
    varies = deviation[0, :, 0] > 0
    return ((values - mean)[:, varies] / deviation[:, varies]).reshape(len(values), -1)


def brute_force(flat, usable, first, count, uncertainty):
    """Choose by looking at every pair."""
    chosen = [first]
    while len(chosen) < count:
        scores = {}
        for image in np.flatnonzero(usable):
            if image not in chosen:
                nearest = min(np.linalg.norm(flat[image] - flat[other]) for other in chosen)
                scores[image] = nearest + uncertainty[image]
        chosen.append(max(scores, key=scores.get))
    return chosen


@pytest.mark.parametrize('weight', [0, 4])
def test_the_choice_is_that_of_brute_force(features, weight):
    """Also with an uncertainty, and with images that cannot be read."""
    values, rows = features
    rng = np.random.default_rng(8)
    uncertainty = rng.random(IMAGES) * weight
    usable = np.ones(IMAGES, bool)
    usable[[2, 11, 30]] = False
    scale, choice = inverse_deviations(rows, usable), Choice()
    choice.take(4)
    while len(choice.chosen) < 20:
        choice.pick(usable, rows, scale, uncertainty if weight else None)
    flat = normalised(values, usable)
    assert choice.chosen == brute_force(flat, usable, 4, 20, uncertainty)
    for place in (1, 7, 19):
        others = flat[choice.chosen[:place]]
        nearest = np.linalg.norm(others - flat[choice.chosen[place]], axis=1).min()
        assert choice.distances[place] == pytest.approx(nearest, rel=1e-4)
    assert np.isnan(choice.distances[0])
    assert np.isnan(choice.uncertainties).all() == (not weight)


def test_all_can_be_chosen_once(features):
    _, rows = features
    usable = np.ones(IMAGES, bool)
    scale, choice = inverse_deviations(rows, usable), Choice()
    for _ in range(IMAGES):
        choice.pick(usable, rows, scale, None)
    assert sorted(choice.chosen) == list(range(IMAGES))


def test_uncertainty_alone_needs_no_features():
    """The most uncertain first; of equals the first one."""
    choice = Choice()
    for _ in range(3):
        choice.pick(np.array([True, True, False, True]), None, None, np.array([1, 5, 9, 5.0]))
    assert choice.chosen == [1, 3, 0]
    assert np.isnan(choice.distances).all() and choice.uncertainties == [5, 5, 1]


def test_deviations_are_those_of_numpy(features):
    """A channel that never varies counts for nothing."""
    values, rows = features
    usable = np.arange(IMAGES) % 3 > 0
    scale = inverse_deviations(rows, usable)
    assert scale[3] == 0
    expected = 1 / values[usable].std(axis=(0, 2))[[0, 1, 2, 4]]
    np.testing.assert_allclose(scale[[0, 1, 2, 4]], expected, rtol=1e-4)


def test_memory_does_not_grow_with_the_set(tmp_path, monkeypatch):
    """Of 20,000 images' features, 164 MB as numbers, a few chunks are in memory."""
    monkeypatch.setattr(selection_cache, 'CHUNK', 4 << 20)
    rows = Rows(tmp_path / 'features.raw', 20000, 64, 32)
    with rows.path.open('wb') as file:
        file.truncate(2 * rows.count * rows.width)
    tracemalloc.start()
    distances(rows, np.ones(64, np.float32), 7)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * (4 << 20)
