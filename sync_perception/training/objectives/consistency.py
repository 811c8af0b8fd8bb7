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

"""Consistency of depth and labels, measured by a frozen contrastive model."""

from __future__ import annotations

from dataclasses import dataclass

from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.training.losses.contrastive import consistency_loss
from sync_perception.training.objectives.objective import (
    at_least_0,
    batch_scale,
    Objective,
    Setup,
    Step,
)
import torch
from torch import nn, Tensor


@dataclass(frozen=True)
class ConsistencyConfig:
    """
    Settings of the consistency of depth and semantics.

    :param model: folder or hub id of a contrastive model of the network's label space.
    :param weight: weight of 1 - cosine similarity, 0 or more.
    """

    model: str
    weight: float = 0.1

    def __post_init__(self):
        """Check the weight."""
        at_least_0(self, 'objectives.consistency', 'weight')


class Consistency(Objective):
    """
    Consistency of predicted depth and labels, measured by a frozen contrastive model.

    The contrastive model is not a submodule, and so not in checkpoints, averages and the
    optimiser.
    """

    Config = ConsistencyConfig

    def __init__(self, config: ConsistencyConfig, setup: Setup):
        super().__init__(config, setup)
        self.space, self.canonical_focal = setup.classes.space, setup.model.config.canonical_focal
        self.weights = {'consistency': config.weight}
        self.judge: contrastive.ContrastiveModel | None = None

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """
        Load the contrastive model.

        :raises FileNotFoundError: if the model does not exist.
        :raises ValueError: if it has another label space.
        """
        folder = self.config.model
        self.judge = contrastive.load_contrastive(folder, device).requires_grad_(False)
        if self.judge.labels.names != self.space.names:
            raise ValueError(
                f'objectives.consistency: {folder} has the label space '
                f'{self.judge.labels.name!r}, expected {self.space.name!r}')

    def terms(self, step: Step) -> dict[str, Tensor]:
        """
        Return the term `consistency`, which needs no annotations.

        The contrastive model was trained on metric depth, so depth is scaled from the canonical
        camera to the crop's. If the crop's camera is unknown, canonical depth is used.

        :raises ValueError: if the network lacks depth or labels.
        """
        output = step.output
        if output.depth is None or output.logits is None:
            raise ValueError('objectives.consistency: expected a network with depth and labels')
        scale = batch_scale(step.batch, self.canonical_focal)
        depth = output.depth.float() * torch.where(torch.isfinite(scale), scale, 1)
        return {'consistency': consistency_loss(
            self.judge, depth, output.logits.float().softmax(dim=1))}
