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
How the losses of several tasks become one.

Each weighting is called with the losses that the batch allows and returns their weighted sum;
`weights()` says for the log what each task counts for. A task without annotations in a batch must
be left out, not passed as 0: a loss of 0 would be read as a task that has been learned.
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
"""The tasks that are balanced, and their kinds."""


@dataclass(frozen=True)
class WeightingConfig:
    """
    How the losses of depth, normals and semantics are balanced.

    :param kind: `fixed` leaves the weights of the objectives as they are, `uncertainty` learns
        each task's weight, `dynamic` favours the task whose loss falls most slowly.
    :param period: steps, 1 or more, after which `dynamic` weights are renewed.
    """

    kind: Literal['fixed', 'uncertainty', 'dynamic'] = 'fixed'
    period: int = 500

    def __post_init__(self):
        """Refuse a period out of range."""
        checks.whole(1, 2 ** 40)(self.period, 'weighting.period')


class Weighting(nn.Module):
    """
    Weighted sum of the losses of some tasks.

    :param tasks: names of all tasks that may occur.
    :raises ValueError: if there is none, or one twice.
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

        :param losses: scalars by task; tasks that the batch does not annotate are absent.
        :return: scalar.
        :raises ValueError: if there is no loss, or one of an unknown task.
        """

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Return what each task's loss is multiplied by at present."""

    def advance(self) -> None:
        """End a period of training; only dynamic weights change with it."""

    def check(self, losses: Mapping[str, Tensor]) -> None:
        """Refuse losses of unknown tasks, and none at all."""
        unknown = sorted(set(losses) - set(self.tasks))
        if unknown or not losses:
            raise ValueError(
                f'expected losses of some of the tasks {list(self.tasks)}, got '
                f'{unknown or "none"}')


class FixedWeights(Weighting):
    """
    Weights that stay as they are given.

    :param weights: by task, at least 0.
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
    classification L / s^2 + ln s (eq. 10). v starts at 0. It belongs in a group of parameters
    without weight decay, which would draw s to 1. Tasks absent from a batch get a gradient of 0,
    so that all processes of a distributed training have the same gradients to exchange.

    :param kinds: by task: 'regression' or 'classification'.
    :raises ValueError: if a kind is another one.
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
    Weights by how slowly each loss falls (Liu, Johns, Davison, 2019, eq. 7).

    With r the ratio of a task's mean loss in the last period to that in the one before,
    K exp(r / T) / sum exp(r / T): they sum to the number of tasks K. In the first two periods, and
    where a mean is missing or not positive, r = 1. Whoever trains says by `advance` when a period
    (an epoch, or some hundred steps) is over; nothing but training mode counts. The history lies
    in buffers, so that a checkpoint carries it. Several processes share one history.

    :param tasks: their names.
    :param temperature: T, above 0; the higher, the more even the weights.
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
        """Return the weighted sum; in training mode, remember the losses."""
        self.check(losses)
        if self.training:
            self.remember(losses)
        weights = dict(zip(self.tasks, self.current().unbind()))
        return sum(weights[task] * loss for task, loss in losses.items())

    @torch.no_grad()
    def remember(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of one batch, of all processes, to this period's."""
        missing = self.total.new_zeros(())
        step = torch.stack([
            torch.stack([losses.get(task, missing).to(self.total) for task in self.tasks]),
            self.total.new_tensor([task in losses for task in self.tasks])])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(step)  # a few numbers a step; unequal weights would be worse
        self.total += step[0]
        self.count += step[1]

    @torch.no_grad()
    def advance(self) -> None:
        """End a period: its means become the last ones. Tasks unseen in it keep their history."""
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
    Build the weighting of TASKS that a configuration names.

    :param kind: of WeightingConfig.
    """
    if kind == 'fixed':
        return FixedWeights(dict.fromkeys(TASKS, 1.0))
    return UncertaintyWeights(TASKS) if kind == 'uncertainty' else DynamicWeightAverage(TASKS)
