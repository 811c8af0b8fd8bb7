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

"""Statistics over random seeds: means, deviations and paired differences."""

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
    Mean and standard deviation over seeds.

    :param mean: mean of the values.
    :param deviation: sample standard deviation (n - 1); None for a single value.
    :param count: number of values.
    """

    mean: float
    deviation: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """
    Return mean and standard deviation of values.

    :param values: at least one.
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, len(values))


@dataclass(frozen=True)
class Difference:
    """
    Paired difference of a metric between two variants over seeds.

    :param spread: statistics of the differences, changed minus unchanged.
    :param better: number of seeds with an improvement.
    :param worse: number of seeds with a deterioration.
    """

    spread: Spread
    better: int
    worse: int

    @property
    def verdict(self) -> str:
        """
        Return `helps`, `hurts`, or '' if the seeds show neither.

        A difference counts if its sign is the same for all seeds, and its mean is greater than the
        standard deviation of the differences. A single seed is not enough.
        """
        count, deviation = self.spread.count, self.spread.deviation
        if deviation is None or not abs(self.spread.mean) > deviation:
            return ''
        return HELPS if self.better == count else HURTS if self.worse == count else ''


def paired_difference(
        changed: dict[int, float], unchanged: dict[int, float], higher_is_better: bool
        ) -> Difference | None:
    """
    Return the paired difference of two variants over their common seeds.

    :param changed: the metric by seed.
    :param unchanged: the metric by seed, without the change.
    :return: the difference; None if there is no common seed.
    """
    values = [changed[seed] - unchanged[seed] for seed in changed if seed in unchanged]
    if not values:
        return None
    gains = values if higher_is_better else [-value for value in values]
    return Difference(
        spread(values), sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains))


def chance(seeds: int) -> float:
    """
    Return an upper bound of the false positive rate of `Difference.verdict`.

    A mean above the standard deviation is a t statistic above the square root of the number of
    seeds; its probability follows from Student's distribution for normally distributed differences
    around 0. The condition on the signs makes it rarer.

    :param seeds: number of seeds; a single one never passes.
    """
    if seeds < 2:
        return 0.0
    return float(2 * stats.t.sf(math.sqrt(seeds), seeds - 1))
