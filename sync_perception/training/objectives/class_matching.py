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

"""Correspondence of other label spaces' classes to those of the trained network."""

from __future__ import annotations

from collections.abc import Mapping

from sync_perception.labels import candidates, correspondence, LabelSpace
import torch
from torch import Tensor


class ClassMatching:
    """
    The network's label space and class weights, and the correspondence of other spaces.

    :param space: the label space of the network.
    :param class_weights: weights by class name; default 1.
    :raises ValueError: if a class does not exist.
    """

    def __init__(self, space: LabelSpace, class_weights: Mapping[str, float] | None = None):
        self.space = space
        self.weights = torch.ones(len(space))
        for name, weight in (class_weights or {}).items():
            self.weights[space.index(name)] = weight
        self.groups: dict[str, Tensor] = {}
        self.candidates: dict[str, Tensor] = {}

    def match(self, space: str, logits: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """
        Return the correspondence of another space's classes to the network's.

        :return: the network's classes of each, bool (G, C); their weights (G,); the candidate
            classes of each sample, bool (B, C), or None for all.
        """
        if space not in self.groups:
            own = LabelSpace.load(space)
            self.groups[space] = torch.from_numpy(correspondence(own, self.space))
            self.candidates[space] = torch.from_numpy(candidates(own, self.space))
        groups = self.groups[space].to(logits.device)
        rivals = None
        if not self.candidates[space].all():
            rivals = self.candidates[space].to(logits.device).expand(len(logits), -1)
        weights = self.weights.to(logits.device)
        return groups, (groups * weights).sum(dim=1) / groups.sum(dim=1).clamp(min=1), rivals
