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


"""Supervised learning of depth, normals and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
import math
from typing import Any

from sync_perception.datasets.sample import PROBABILITY_UNITS
from sync_perception.files import checks
from sync_perception.models.config import ModelConfig
from sync_perception.training.losses import (
    DEPTH_LOSSES,
    mean_over_samples,
    NORMALS_LOSSES,
    SEMANTIC_LOSSES,
)
from sync_perception.training.losses.depth import log_gaussian_nll
from sync_perception.training.losses.distillation import top_classes_cross_entropy
from sync_perception.training.losses.ranking import semantic_ranking
from sync_perception.training.losses.self_ranking import border_labels, self_ranking
from sync_perception.training.losses.smoothness import depth_smoothness
from sync_perception.training.objectives.objective import (
    at_least_0,
    batch_scale,
    Objective,
    Setup,
    Step,
)
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

KEY = 'objectives.supervised'
SCALE_FREE = ('scale_shift_invariant',)
"""Scale-invariant depth losses."""


@dataclass(frozen=True)
class DepthSupervision:
    """
    Settings of supervision by true depth.

    :param weight: weight of all losses below, 0 or more; 0 disables true depth.
    :param losses: weights of the losses within `weight`, 0 or more, by their names in
        `sync_perception.training.losses.DEPTH_LOSSES`.
    :param max_depth: greatest true depth used, metres, above 0.
    """

    weight: float = 1.0
    losses: dict[str, float] = field(default_factory=lambda: {'silog': 1.0, 'log_l1': 1.0})
    max_depth: float = 120.0

    def __post_init__(self):
        """Check the names of losses and the range of numbers."""
        at_least_0(self, f'{KEY}.depth', 'weight')
        checks.number(1e-3, math.inf)(self.max_depth, f'{KEY}.depth.max_depth')
        check_losses(self.losses, f'{KEY}.depth.losses', DEPTH_LOSSES)


@dataclass(frozen=True)
class NormalsSupervision:
    """
    Settings of supervision by true surface normals, for a network that predicts normals.

    :param weight: weight of all losses below, 0 or more.
    :param losses: weights of the losses within `weight`, 0 or more, by their names in
        `sync_perception.training.losses.NORMALS_LOSSES`.
    """

    weight: float = 1.0
    losses: dict[str, float] = field(default_factory=lambda: {'cosine': 1.0})

    def __post_init__(self):
        """Check the names of losses and the range of numbers."""
        at_least_0(self, f'{KEY}.normals', 'weight')
        check_losses(self.losses, f'{KEY}.normals.losses', NORMALS_LOSSES)


@dataclass(frozen=True)
class SemanticSupervision:
    """
    Settings of supervision by true labels.

    :param weight: weight of all losses below, 0 or more.
    :param losses: weights of the losses within `weight`, 0 or more, by their names in
        `sync_perception.training.losses.SEMANTIC_LOSSES`; expert labels use them, too.
    """

    weight: float = 1.0
    losses: dict[str, float] = field(default_factory=lambda: {'cross_entropy': 1.0})

    def __post_init__(self):
        """Check the names of losses and the range of numbers."""
        at_least_0(self, f'{KEY}.semantics', 'weight')
        check_losses(self.losses, f'{KEY}.semantics.losses', SEMANTIC_LOSSES)


@dataclass(frozen=True)
class ExpertSupervision:
    """
    Settings of supervision by the labels of an expert, another model.

    :param weight: weight of the semantic losses on expert labels, 0 or more.
    :param confidence: expert labels below this probability are ignored, in [0, 1].
    """

    weight: float = 0.5
    confidence: float = 0.6

    def __post_init__(self):
        """Check that all numbers are in range."""
        at_least_0(self, f'{KEY}.expert', 'weight')
        checks.number(0, 1)(self.confidence, f'{KEY}.expert.confidence')


@dataclass(frozen=True)
class RankingSupervision:
    """
    Settings of the ranking of depth at semantic borders of true or expert labels.

    :param weight: weight of the term, 0 or more.
    :param own_borders: least probability, in [0, 1], of the network's own labels for borders in
        samples without others; None for no borders there.
    """

    weight: float = 0.0
    own_borders: float | None = None

    def __post_init__(self):
        """Check that all numbers are in range."""
        at_least_0(self, f'{KEY}.ranking', 'weight')
        checks.optional(checks.number(0, 1))(self.own_borders, f'{KEY}.ranking.own_borders')


@dataclass(frozen=True)
class SupervisedConfig:
    """
    Settings of supervised learning.

    :param depth: true depth.
    :param normals: true surface normals.
    :param semantics: true labels.
    :param expert: labels or probabilities of another model.
    :param ranking: the order of depth at semantic borders.
    :param uncertainty_weight: weight of the negative log-likelihood of depth errors, 0 or more,
        for a network that predicts their variance.
    :param smoothness_weight: weight of the edge-aware smoothness of disparity, 0 or more.
    """

    depth: DepthSupervision = field(default_factory=DepthSupervision)
    normals: NormalsSupervision = field(default_factory=NormalsSupervision)
    semantics: SemanticSupervision = field(default_factory=SemanticSupervision)
    expert: ExpertSupervision = field(default_factory=ExpertSupervision)
    ranking: RankingSupervision = field(default_factory=RankingSupervision)
    uncertainty_weight: float = 0.1
    smoothness_weight: float = 0.0

    def __post_init__(self):
        """Check that no weight is negative."""
        at_least_0(self, KEY, 'uncertainty_weight', 'smoothness_weight')


class Supervised(Objective):
    """Supervised losses of depth, normals and labels, for the annotations of each sample."""

    Config = SupervisedConfig
    TASKS = {
        'depth': 'depth', 'ranking': 'depth', 'smoothness': 'depth', 'normals': 'normals',
        'semantics': 'semantics', 'expert': 'semantics'}
    DEFAULT = True

    def __init__(self, config: SupervisedConfig, setup: Setup):
        super().__init__(config, setup)
        self.classes, self.space = setup.classes, setup.classes.space
        self.model_config = setup.model.config
        self.depth_losses = {name: DEPTH_LOSSES[name] for name in config.depth.losses}
        self.normals_losses = {name: NORMALS_LOSSES[name] for name in config.normals.losses}
        self.semantic_losses = {name: SEMANTIC_LOSSES[name] for name in config.semantics.losses}
        self.weights = {
            **weighted('depth', config.depth.weight, config.depth.losses),
            **weighted('normals', config.normals.weight, config.normals.losses),
            **weighted('semantics', config.semantics.weight, config.semantics.losses),
            **weighted('expert', config.expert.weight, config.semantics.losses),
            'expert/soft': config.expert.weight * sum(config.semantics.losses.values()),
            'ranking': config.ranking.weight, 'smoothness': config.smoothness_weight,
            'uncertainty': config.uncertainty_weight}
        self.scale_free = config.depth.weight > 0 and not self.knows_metres

    @property
    def knows_metres(self) -> bool:
        """Return whether true depth in a batch provides metric scale."""
        return self.config.depth.weight > 0 and any(
            weight > 0 for name, weight in self.config.depth.losses.items()
            if name not in SCALE_FREE)

    def scale_from(self, step: Step, terms: Mapping[str, Tensor]) -> set[str]:
        """Return `depth` if the batch has true depth and a loss depends on its scale."""
        taught = self.knows_metres and any(name.startswith('depth/') for name in terms)
        return {'depth'} if taught else set()

    def terms(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of the batch's annotations."""
        output, batch = step.output, step.batch
        terms: dict[str, Tensor] = {}
        if output.depth is not None:
            terms.update(self.depth_terms(output, batch))
        if output.normals is not None:
            terms.update(self.normals_terms(output, batch))
        if output.logits is not None:
            terms.update(self.semantic_terms(output, batch))
            terms.update(self.expert_terms(output, batch))
        return terms

    def depth_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """
        Return the losses of canonical depth and of its variance, averaged over samples.

        The variance term has no gradient for depth: otherwise it would scale the depth gradient by
        the inverse variance, and so neglect pixels with large errors.
        """
        terms: dict[str, Tensor] = {}
        if self.config.smoothness_weight:
            terms['smoothness'] = depth_smoothness(output.depth, batch['image'])
        true, valid = canonical_truth(batch, self.model_config, self.config.depth.max_depth)
        if self.config.ranking.weight:
            terms.update(self.ranking_terms(output, true, valid, batch))
        if not valid.any():
            return terms
        for name, loss in self.depth_losses.items():
            terms[f'depth/{name}'] = mean_over_samples(loss, output.depth, true, valid)
        if output.log_variance is not None:
            terms['uncertainty'] = mean_over_samples(
                log_gaussian_nll, output.depth.detach(), true, valid, output.log_variance.float())
        return terms

    def ranking_terms(
            self, output: DenseOutput, true: Tensor, valid: Tensor, batch: dict[str, Any]
            ) -> dict[str, Tensor]:
        """
        Return the ranking loss at semantic borders of each sample's best available labels.

        Samples supervised by true depth take the order from it. In all others, and in every sample
        if `depth.weight` is 0, predicted depth away from the borders determines the order.
        """
        own = self.config.ranking.own_borders
        labels = border_labels(
            batch['labels'], batch['expert_labels'],
            batch['expert_confidence'] >= self.config.expert.confidence,
            None if own is None else output.logits, own or 0.0)
        generator = step_generator(true.device)
        known = valid.flatten(1).any(dim=1) & (self.config.depth.weight > 0)
        ranked = (labels != self.space.void).flatten(1).any(dim=1)
        terms: dict[str, Tensor] = {}
        for members, loss, maps in (
                (ranked & known, semantic_ranking, (output.depth, true, valid, labels)),
                (ranked & ~known, self_ranking, (output.depth, labels))):
            if members.any():
                share = members.float().mean() * loss(
                    *(values[members] for values in maps), generator)
                terms['ranking'] = terms.get('ranking', 0) + share
        return terms

    def normals_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses of normals, averaged over samples."""
        true = batch['normals']
        valid = torch.isfinite(true).all(dim=1, keepdim=True)
        if not valid.any():
            return {}
        return {f'normals/{name}': mean_over_samples(loss, output.normals, true, valid)
                for name, loss in self.normals_losses.items()}

    def semantic_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses on true labels, each sample's in its own label space."""
        terms: dict[str, Tensor] = {}
        for space in sorted(set(batch['space']) - {''}):
            members = torch.tensor(
                [name == space for name in batch['space']], device=output.logits.device)
            found = self.label_losses(space, output.logits[members], batch['labels'][members])
            for name, loss in found.items():
                share = members.float().mean() * loss
                terms[f'semantics/{name}'] = terms.get(f'semantics/{name}', 0) + share
        return terms

    def expert_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """
        Return the losses on confident expert labels, each sample's in its label space.

        The labels are weighted by the expert's confidence. Samples with the expert's probabilities
        use these instead; soft targets already encode the expert's doubt, so they are not weighted
        by confidence. Their term is `expert/soft`, whose weight is that of all label losses
        together.
        """
        sure = batch['expert_confidence'] >= self.config.expert.confidence
        confidence = batch['expert_confidence'] * sure
        labelled = (batch['expert_labels'] != self.space.void).flatten(1).any(dim=1)
        soft = (batch['expert_classes'][:, 0] != self.space.void).flatten(1).any(dim=1)
        kinds = (
            (~soft, self.label_losses, (batch['expert_labels'], confidence)),
            (soft, self.soft_loss, (
                batch['expert_classes'], batch['expert_probabilities'], sure)))
        terms: dict[str, Tensor] = {}
        for space in sorted(set(batch['expert_space'])):
            own = labelled & torch.tensor(
                [name == space for name in batch['expert_space']], device=labelled.device)
            for kind, losses, targets in kinds:
                members = own & kind
                if not members.any():
                    continue
                found = losses(
                    space, output.logits[members], *(maps[members] for maps in targets))
                for name, loss in found.items():
                    share = members.float().mean() * loss
                    terms[f'expert/{name}'] = terms.get(f'expert/{name}', 0) + share
        return terms

    def label_losses(
            self, space: str, logits: Tensor, labels: Tensor, confidence: Tensor | None = None
            ) -> dict[str, Tensor]:
        """
        Return the losses of logits on labels of another space, by corresponding classes.

        For a head over several data sets, only the classes of that space's part are used.
        """
        groups, weights, rivals = self.classes.match(space, logits)
        return {
            name: loss(logits.float(), labels, groups, weights, confidence, rivals)
            for name, loss in self.semantic_losses.items()}

    def soft_loss(
            self, space: str, logits: Tensor, classes: Tensor, probabilities: Tensor,
            confidence: Tensor) -> dict[str, Tensor]:
        """Return the loss of logits on probabilities of another space's classes."""
        groups, weights, rivals = self.classes.match(space, logits)
        return {'soft': top_classes_cross_entropy(
            logits.float(), classes, probabilities.float() / PROBABILITY_UNITS, groups, weights,
            confidence, rivals)}


def canonical_truth(
        batch: dict[str, Any], config: ModelConfig, max_depth: float) -> tuple[Tensor, Tensor]:
    """
    Return a batch's true depth in the canonical camera, and the mask of its use.

    :param config: config of the network.
    :param max_depth: greatest true depth used, metres.
    :return: float32 (B, 1, h, w), NaN where unknown, and bool (B, 1, h, w).
    """
    near, far = config.depth_range
    metres = batch['depth'][:, None]
    true = metres / batch_scale(batch, config.canonical_focal)
    return true, (true > near) & (true < far) & (metres < max_depth)


def weighted(part: str, weight: float, losses: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of a part's terms, by name."""
    return {f'{part}/{name}': weight * share for name, share in losses.items()}


def check_losses(weights: Mapping[str, float], key: str, known: Collection[str]) -> None:
    """
    Check that there are losses, with known names and non-negative weights.

    :raises ValueError: naming the key, what was expected and what was got.
    """
    unknown = sorted(set(weights) - set(known))
    if unknown or not weights:
        checks.refuse(key, f'some of {", ".join(known)}', ', '.join(unknown) or 'none')
    for name, weight in weights.items():
        checks.number(0, math.inf)(weight, f'{key}.{name}')


def step_generator(device: torch.device) -> torch.Generator:
    """Return a generator on a device, seeded by the process's generator."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**31, ())))
