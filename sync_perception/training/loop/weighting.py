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


"""
Weighting of the losses of several tasks.

A weighting maps the losses of a batch to their weighted sum; `weights()` returns the tasks'
weights for the log. A task without annotations in a batch must be omitted, not passed as 0, which
would count as a perfectly learned task.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import math
from typing import ClassVar, Literal

from sync_perception.files import checks
import torch
from torch import distributed, nn, Tensor

TASKS = {'depth': 'regression', 'normals': 'regression', 'semantics': 'classification'}
"""The balanced tasks and their kinds."""


@dataclass(frozen=True)
class WeightingConfig:
    """
    Settings of the balancing of depth, normals and semantics.

    :param kind: `fixed` keeps the weights of the objectives, `uncertainty` learns each task's
        weight, `dynamic` gives more weight to tasks whose loss falls slowly.
    :param period: steps, 1 or more, between updates of `dynamic` weights.
    """

    kind: Literal['fixed', 'uncertainty', 'dynamic'] = 'fixed'
    period: int = 500

    def __post_init__(self):
        """Check the period."""
        checks.whole(1, 2 ** 40)(self.period, 'weighting.period')


class Weighting(nn.Module):
    """
    Weighted sum of the losses of some tasks.

    :param tasks: names of all possible tasks.
    :raises ValueError: if there is none, or a repeated one.
    """

    def __init__(self, tasks: Iterable[str]):
        super().__init__()
        self.tasks = tuple(tasks)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f'expected names of tasks, each once, got {list(self.tasks)}')

    @abstractmethod
    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """
        Return the total of the losses.

        :param losses: scalars by task; tasks without annotations in the batch are absent.
        :return: scalar.
        :raises ValueError: if there is no loss, or one of an unknown task.
        """

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Return the current weight of each task's loss."""

    def advance(self) -> None:
        """End a period of training; only dynamic weights change with it."""

    def check(self, losses: Mapping[str, Tensor]) -> None:
        """Check that there are losses, of known tasks only."""
        unknown = sorted(set(losses) - set(self.tasks))
        if unknown or not losses:
            raise ValueError(
                f'expected losses of some of the tasks {list(self.tasks)}, got '
                f'{unknown or "none"}')


class FixedWeights(Weighting):
    """
    Constant weights.

    :param weights: weights by task, at least 0.
    :raises ValueError: if a weight is negative or not finite.
    """

    def __init__(self, weights: Mapping[str, float]):
        super().__init__(weights)
        self.given = {task: float(weight) for task, weight in weights.items()}
        for task, weight in self.given.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f'expected a weight of at least 0 for {task}, got {weight}')

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """Return sum of weight * loss."""
        self.check(losses)
        return sum(self.given[task] * loss for task, loss in losses.items())

    def weights(self) -> dict[str, float]:
        """Return the given weights."""
        return dict(self.given)


class UncertaintyWeights(Weighting):
    """
    Weights learned as each task's homoscedastic uncertainty (Kendall, Gal, Cipolla, 2018).

    With the learned v = ln s^2 of each task, a regression adds L / (2 s^2) + ln s (eq. 7), a
    classification L / s^2 + ln s (eq. 10). v starts at 0. It belongs in a parameter group without
    weight decay, which would pull s to 1. Tasks absent from a batch get a gradient of 0, so that
    all processes of a distributed training exchange the same gradients.

    :param kinds: kind by task: 'regression' or 'classification'.
    :raises ValueError: for another kind.
    """

    scales: ClassVar[dict[str, float]] = {'regression': 0.5, 'classification': 1.0}

    def __init__(self, kinds: Mapping[str, str]):
        super().__init__(kinds)
        for task, kind in kinds.items():
            if kind not in self.scales:
                raise ValueError(
                    f'{task} is either {" or ".join(self.scales)}, got {kind!r}')
        self.kinds = dict(kinds)
        self.log_variance = nn.Parameter(torch.zeros(len(self.tasks)))

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the negative log-likelihood of the tasks present, up to a constant."""
        self.check(losses)
        total = 0
        for task, log_variance in zip(self.tasks, self.log_variance.unbind()):
            if task in losses:
                scale = self.scales[self.kinds[task]]
                total = total + scale * torch.exp(-log_variance) * losses[task] + log_variance / 2
        return total

    def weights(self) -> dict[str, float]:
        """Return 1 / (2 s^2) of regressions, 1 / s^2 of classifications."""
        return {
            task: self.scales[self.kinds[task]] * math.exp(-log_variance)
            for task, log_variance in zip(self.tasks, self.log_variance.tolist())}


class DynamicWeightAverage(Weighting):
    """
    Dynamic weight average: higher weights for slowly falling losses (Liu et al., 2019, eq. 7).

    With r the ratio of a task's mean loss in the last period to that in the one before, K exp(r /
    T) / sum exp(r / T): they sum to the number of tasks K. In the first two periods, and if a mean
    is missing or not positive, r = 1. The training loop calls `advance` at the end of a period (an
    epoch, or some hundred steps); only losses in training mode count. The history is stored in
    buffers, and so in checkpoints. Several processes share one history.

    :param tasks: names of the tasks.
    :param temperature: T, above 0; higher values give more even weights.
    :raises ValueError: if the temperature is not positive.
    """

    def __init__(self, tasks: Iterable[str], temperature: float = 2.0):
        super().__init__(tasks)
        if temperature <= 0:
            raise ValueError(f'expected a temperature above 0, got {temperature}')
        self.temperature = temperature
        unknown = torch.full((len(self.tasks),), float('nan'))
        self.register_buffer('total', torch.zeros_like(unknown))
        self.register_buffer('count', torch.zeros_like(unknown))
        self.register_buffer('last', unknown)
        self.register_buffer('before', unknown.clone())

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum; in training mode, store the losses."""
        self.check(losses)
        if self.training:
            self.remember(losses)
        weights = dict(zip(self.tasks, self.current().unbind()))
        return sum(weights[task] * loss for task, loss in losses.items())

    @torch.no_grad()
    def remember(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of one batch, over all processes, to those of this period."""
        missing = self.total.new_zeros(())
        step = torch.stack([
            torch.stack([losses.get(task, missing).to(self.total) for task in self.tasks]),
            self.total.new_tensor([task in losses for task in self.tasks])])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(step)  # a few numbers per step, for equal weights
        self.total += step[0]
        self.count += step[1]

    @torch.no_grad()
    def advance(self) -> None:
        """End a period and store its means. Tasks without loss in it keep their history."""
        seen = self.count > 0
        self.before.copy_(torch.where(seen, self.last, self.before))
        self.last.copy_(torch.where(seen, self.total / self.count, self.last))
        self.total.zero_()
        self.count.zero_()

    def current(self) -> Tensor:
        """Return the weights of all tasks, (K,)."""
        known = (self.last > 0) & (self.before > 0)
        ratio = torch.where(known, self.last / self.before, 1)
        return len(self.tasks) * torch.softmax(ratio / self.temperature, dim=0)

    def weights(self) -> dict[str, float]:
        """Return the weights of all tasks; they sum to their number."""
        return dict(zip(self.tasks, self.current().tolist()))


def build_weighting(kind: str) -> Weighting:
    """
    Build the weighting of TASKS of a configured kind.

    :param kind: kind of WeightingConfig.
    """
    if kind == 'fixed':
        return FixedWeights(dict.fromkeys(TASKS, 1.0))
    return UncertaintyWeights(TASKS) if kind == 'uncertainty' else DynamicWeightAverage(TASKS)
