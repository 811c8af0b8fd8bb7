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
A teacher that is the mean of its student's weights over the steps.

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
    A copy of a network whose weights follow the student's slowly. It has no gradient.

    In evaluation mode: what it says of an image depends neither on the rest of the batch nor on
    chance. The statistics of batch norms are averaged as the weights are.

    :param student: the network as the training starts.
    :param decay: greatest share of the teacher that stays at an update, in [0, 1).
    :ivar updates: how many there were.
    """

    def __init__(self, student: nn.Module, decay: float):
        self.network = deepcopy(student).requires_grad_(False).eval()
        self.decay, self.updates, self.step = decay, 0, 0

    @torch.no_grad()
    def follow(self, student: nn.Module, step: int) -> None:
        """
        Learn from a student that has made a step; with none since the last time, do nothing.

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
        """Answer."""
        return self.network(images_b3hw)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and how far it has come."""
        return {'network': self.network.state_dict(), 'updates': self.updates, 'step': self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.network.load_state_dict(state['network'])
        self.updates, self.step = state['updates'], state['step']


def teacher_share(updates: int, decay: float) -> float:
    """
    Return the share of the teacher that stays: alpha = min(1 - 1 / (t + 1), decay).

    So it takes the student over at the first update and is the mean of all students until alpha
    reaches the decay.

    :param updates: t, how many there were before.
    """
    return min(1 - 1 / (updates + 1), decay)
