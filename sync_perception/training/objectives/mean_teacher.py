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
Mean teacher: an exponential moving average of the student's weights.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor


class MeanTeacher:
    """
    Copy of a network whose weights are a moving average of the student's. It has no gradient.

    It runs in evaluation mode: its predictions depend neither on the rest of the batch nor on
    random numbers. The statistics of batch norms are averaged like the weights.

    :param student: the network at the start of the training.
    :param decay: greatest decay of the average, in [0, 1).
    :ivar updates: number of updates so far.
    """

    def __init__(self, student: nn.Module, decay: float):
        self.network = deepcopy(student).requires_grad_(False).eval()
        self.decay, self.updates, self.step = decay, 0, 0

    @torch.no_grad()
    def follow(self, student: nn.Module, step: int) -> None:
        """
        Update the average after a step of the student; without a new step, do nothing.

        :param step: steps that the student has made.
        """
        if step == self.step:
            return
        share = teacher_share(self.updates, self.decay)
        own, others = self.network.state_dict(), student.state_dict()
        for name, values in own.items():
            if values.is_floating_point():
                values.lerp_(others[name].to(values.dtype), 1 - share)
            else:  # a count of batches
                values.copy_(others[name])
        self.updates, self.step = self.updates + 1, step

    @torch.no_grad()
    def __call__(self, images_b3hw: Tensor) -> DenseOutput:
        """Return the teacher's predictions."""
        return self.network(images_b3hw)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and the number of updates."""
        return {'network': self.network.state_dict(), 'updates': self.updates, 'step': self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's state."""
        self.network.load_state_dict(state['network'])
        self.updates, self.step = state['updates'], state['step']


def teacher_share(updates: int, decay: float) -> float:
    """
    Return the decay of an update: alpha = min(1 - 1 / (t + 1), decay).

    The first update copies the student; until alpha reaches the decay, the teacher is the mean of
    all students.

    :param updates: t, number of updates before.
    """
    return min(1 - 1 / (updates + 1), decay)
