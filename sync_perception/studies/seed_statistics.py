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

"""What several runs say together: means, spreads, and differences seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
import statistics

from scipy import stats

HELPS, HURTS = 'helps', 'hurts'


@dataclass(frozen=True)
class Spread:
    """
    A mean over seeds.

    :param mean: of the values.
    :param deviation: sample standard deviation (of n - 1); None of a single value.
    :param count: how many values.
    """

    mean: float
    deviation: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """
    Return mean and spread of values.

    :param values: at least one.
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, len(values))


@dataclass(frozen=True)
class Difference:
    """
    What a change makes of a metric, seed by seed.

    :param spread: of the differences, changed minus unchanged.
    :param better: in how many seeds it is better.
    :param worse: in how many seeds it is worse.
    """

    spread: Spread
    better: int
    worse: int

    @property
    def verdict(self) -> str:
        """
        Say `helps`, `hurts`, or '' where the seeds do not show either.

        The seeds show a difference if all of them agree in its sign, and its mean is greater than
        the standard deviation of the differences. A single seed shows none.
        """
        count, deviation = self.spread.count, self.spread.deviation
        if deviation is None or not abs(self.spread.mean) > deviation:
            return ''
        return HELPS if self.better == count else HURTS if self.worse == count else ''


def paired_difference(
        changed: dict[int, float], unchanged: dict[int, float], higher_is_better: bool
        ) -> Difference | None:
    """
    Compare two variants in the seeds that both have.

    :param changed: the metric by seed.
    :param unchanged: likewise.
    :return: None if they have no seed in common.
    """
    values = [changed[seed] - unchanged[seed] for seed in changed if seed in unchanged]
    if not values:
        return None
    gains = values if higher_is_better else [-value for value in values]
    return Difference(
        spread(values), sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains))


def chance(seeds: int) -> float:
    """
    Return how often chance alone passes the rule of `Difference.verdict`, at most.

    A mean above the standard deviation is a t statistic above the root of the number of seeds, by
    Student's distribution, for differences that are normally distributed around 0. That the signs
    have to agree as well makes it rarer.

    :param seeds: how many; a single one never passes.
    """
    if seeds < 2:
        return 0.0
    return float(2 * stats.t.sf(math.sqrt(seeds), seeds - 1))
