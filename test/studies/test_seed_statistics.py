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

"""Means, spreads and differences of several seeds, against hand-computed ones and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sync_perception.studies.seed_statistics import chance, paired_difference, Spread, spread


def test_a_spread_is_that_of_a_sample():
    """Of 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, over two 7."""
    assert spread([1, 2, 6]) == Spread(3, pytest.approx(7 ** 0.5), 3)
    assert spread([0.5]) == Spread(0.5, None, 1)


def test_differences_are_taken_seed_by_seed():
    """0.1, 0.2 and 0.3 better, although the seeds themselves are far apart."""
    found = paired_difference({0: 1.1, 1: 5.2, 2: 9.3, 7: 0.0}, {2: 9, 1: 5, 0: 1}, True)
    assert found.spread.mean == pytest.approx(0.2)
    assert found.spread.deviation == pytest.approx(0.1)
    assert (found.spread.count, found.better, found.worse) == (3, 3, 0)
    assert found.verdict == 'helps'
    statistic = stats.ttest_rel([1.1, 5.2, 9.3], [1, 5, 9]).statistic
    assert found.spread.mean / found.spread.deviation * 3 ** 0.5 == pytest.approx(statistic)


@pytest.mark.parametrize(('values', 'higher', 'verdict', 'better'), [
    ([0.1, 0.2, 0.3], True, 'helps', 3),
    ([0.1, 0.2, 0.3], False, 'hurts', 0),
    ([-0.1, -0.2, -0.3], False, 'helps', 3),
    ([-0.1, -0.2, -0.3], True, 'hurts', 0),
    ([0.1, 0.1, 0.9], True, '', 3),         # one seed alone makes the mean
    ([-0.01, 0.5, 0.5], True, '', 2),       # the mean is greater, but one seed disagrees
    ([0.0, 0.5, 0.5], True, '', 2),         # no difference is no agreement
    ([0.0, 0.0, 0.0], True, '', 0),
    ([0.4], True, '', 1)])
def test_the_rule(values, higher, verdict, better):
    found = paired_difference(
        dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0), higher)
    assert (found.verdict, found.better) == (verdict, better)


def test_without_a_common_seed_there_is_no_difference():
    assert paired_difference({0: 1.0}, {1: 1.0}, True) is None


@pytest.mark.parametrize('seeds', [2, 3, 5])
def test_chance_is_an_upper_limit_that_is_nearly_reached(seeds):
    """Differences of two variants that do not differ, a hundred thousand times."""
    draws = np.random.default_rng(0).normal(size=(100_000, seeds))
    large = abs(draws.mean(axis=1)) > draws.std(axis=1, ddof=1)
    agree = abs(np.sign(draws).sum(axis=1)) == seeds
    assert chance(seeds) == pytest.approx(large.mean(), abs=0.005)
    assert 0.5 * chance(seeds) < (large & agree).mean() < chance(seeds) + 0.005


def test_a_single_seed_never_passes():
    assert chance(1) == 0
