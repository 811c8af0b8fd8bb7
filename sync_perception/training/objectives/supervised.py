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


"""What a prediction loses by the annotations of a batch, term by term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from sync_perception.datasets.sample import PROBABILITY_UNITS
from sync_perception.labels import candidates, correspondence, LabelSpace
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.training.losses import DEPTH_LOSSES, NORMALS_LOSSES, SEMANTIC_LOSSES
from sync_perception.training.losses.contrastive import consistency_loss
from sync_perception.training.losses.depth import log_gaussian_nll
from sync_perception.training.losses.distillation import top_classes_cross_entropy
from sync_perception.training.losses.ranking import semantic_ranking
from sync_perception.training.losses.self_ranking import border_labels, self_ranking
from sync_perception.training.losses.smoothness import edge_aware_smoothness
from sync_perception.training.objectives.self_supervised import SelfSupervisionSettings
from sync_perception.training.objectives.temporal import temporal_weights
from sync_perception.types import DenseOutput
import torch
from torch import Tensor
from torch.nn import functional

TASKS = {
    'depth': 'depth', 'ranking': 'depth', 'smoothness': 'depth', 'photometric': 'depth',
    'smooth_disparity': 'depth', 'camera_height': 'depth', 'temporal_depth': 'depth',
    'normals': 'normals', 'semantics': 'semantics', 'expert': 'semantics',
    'unlabelled': 'semantics', 'temporal_labels': 'semantics'}
"""The task that a term belongs to, by the first part of its name; others belong to none."""
SCALE_FREE = ('scale_shift_invariant',)
"""Losses of depth that do not care how long a metre is."""
KINDS = {'depth': 'regression', 'normals': 'regression', 'semantics': 'classification'}


class Consistency(TypedDict):
    """
    How depth and semantics are held together.

    :ivar model: folder or hub id of a contrastive model that speaks the same label space.
    :ivar weight: of 1 - cosine.
    """

    model: str
    weight: float


class Objective:
    """
    Computes the terms that a batch's annotations allow. What is not annotated gives no term.

    :param space: the label space that the network speaks.
    :param settings: those of `sync_perception.training.module.SynchronisedLearning`.
    :raises ValueError: if a loss or a class is unknown.
    """

    def __init__(self, space: LabelSpace, settings: Any):
        self.space, self.settings = space, settings
        self.class_weights = torch.ones(len(space))
        for name, weight in (settings.class_weights or {}).items():
            self.class_weights[space.index(name)] = weight
        self.depth_losses = chosen('depth', DEPTH_LOSSES, settings.depth_losses)
        self.normals_losses = chosen('normals', NORMALS_LOSSES, settings.normals_losses)
        self.semantic_losses = chosen('semantic', SEMANTIC_LOSSES, settings.semantic_losses)
        self.weights = {
            **{f'depth/{name}': settings.depth_weight * weight
               for name, weight in settings.depth_losses.items()},
            **{f'normals/{name}': settings.normals_weight * weight
               for name, weight in settings.normals_losses.items()},
            **{f'{part}/{name}': settings[f'{part}_weight'] * weight
               for part in ('semantics', 'expert')
               for name, weight in settings.semantic_losses.items()},
            'expert/soft': settings.expert_weight * sum(settings.semantic_losses.values()),
            'ranking': settings.ranking_weight, 'smoothness': settings.smoothness_weight,
            'uncertainty': settings.uncertainty_weight,
            'consistency': settings.consistency['weight'] if settings.consistency else 0.0,
            'unlabelled': (settings.semi_supervision or {}).get('weight', 1.0),
            **self_supervised_weights(settings.self_supervision or {}),
            **temporal_weights(settings.temporal_consistency)}
        self.groups: dict[str, Tensor] = {}
        self.candidates: dict[str, Tensor] = {}
        self.contrastive: contrastive.ContrastiveModel | None = None

    @property
    def knows_metres(self) -> bool:
        """Whether true depth, where a batch has it, teaches how long a metre is."""
        return self.settings.depth_weight > 0 and any(
            weight > 0 for name, weight in self.settings.depth_losses.items()
            if name not in SCALE_FREE)

    def gives_scale(self, terms: dict[str, Tensor]) -> bool:
        """Say whether a batch's terms teach how long a metre is, by true depth."""
        return self.knows_metres and any(name.startswith('depth/') for name in terms)

    def load_contrastive(self, device: torch.device) -> None:
        """
        Load the frozen model of the consistency term, if there is one.

        It stays out of the module, and so out of checkpoints, averages and the optimiser.

        :raises FileNotFoundError: if there is no such model.
        :raises ValueError: if it speaks another label space.
        """
        if not self.settings.consistency:
            return
        folder = self.settings.consistency['model']
        self.contrastive = contrastive.load(folder, device).requires_grad_(False)
        if self.contrastive.labels.names != self.space.names:
            raise ValueError(
                f'consistency: {folder} speaks the label space {self.contrastive.labels.name!r}, '
                f'expected {self.space.name!r}')

    def __call__(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """
        Return the terms, unweighted, by name: those of `weights` that the batch annotates.

        :param output: maps of the size of the batch's.
        :param batch: of `sync_perception.training.feeding.mixture`.
        """
        terms: dict[str, Tensor] = {}
        if output.depth is not None:
            terms.update(self.depth_terms(output, batch))
        if output.normals is not None:
            terms.update(self.normals_terms(output, batch))
        if output.logits is not None:
            terms.update(self.semantic_terms(output, batch))
            terms.update(self.expert_terms(output, batch))
        if self.contrastive is not None:
            terms['consistency'] = self.consistency(output, batch)
        return terms

    def depth_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """
        Compare depth in the canonical camera, averaged over the samples; and its variance.

        For the variance the depth is held still: the variance learns which errors the depth
        makes, and what the depth learns stays with its own losses. Otherwise this loss would
        divide the depth's gradient by the variance, and so neglect where it errs.
        """
        terms: dict[str, Tensor] = {}
        if self.settings.smoothness_weight:
            terms['smoothness'] = smoothness(output.depth, batch['image'])
        true, valid = self.true_depth(batch)
        if self.settings.ranking_weight:
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
        Rank depth at semantic borders, each sample's by the best labels that it has.

        As true depth ranks it in samples that learn from such; else, and so in all of them if
        `depth_weight` is 0, as the predicted depth itself does away from the borders.
        """
        own = self.settings.ranking_own_borders
        labels = border_labels(
            batch['labels'], batch['expert_labels'],
            batch['expert_confidence'] >= self.settings.expert_confidence,
            None if own is None else output.logits, own or 0.0)
        generator = step_generator(true.device)
        known = valid.flatten(1).any(dim=1) & (self.settings.depth_weight > 0)
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

    def true_depth(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the true depth in the canonical camera, and where it is learned from."""
        near, far = self.settings.depth_range
        metres = batch['depth'][:, None]
        true = metres
        if self.settings.canonical_focal is not None:
            true = metres * (self.settings.canonical_focal / batch['focal'])[:, None, None, None]
        return true, (true > near) & (true < far) & (metres < self.settings.max_depth)

    def normals_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compare normals, averaged over the samples."""
        true = batch['normals']
        valid = torch.isfinite(true).all(dim=1, keepdim=True)
        if not valid.any():
            return {}
        return {f'normals/{name}': mean_over_samples(loss, output.normals, true, valid)
                for name, loss in self.normals_losses.items()}

    def semantic_terms(self, output: DenseOutput, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compare with true labels, each sample's in its own label space."""
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
        Compare with what an expert says where it is sure, each sample's in its label space.

        Labels are weighted by its confidence. Probabilities, where a sample has them, are
        compared instead, and are not: they tell of its doubt themselves. Their term is
        `expert/soft`, which weighs as much as those of the labels together.
        """
        sure = batch['expert_confidence'] >= self.settings.expert_confidence
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
        Compare logits with the labels of another space, through the classes they share.

        A head over several data sets is compared in the classes of that space's part only.
        """
        groups, weights, rivals = self.shared_classes(space, logits)
        return {
            name: loss(logits.float(), labels, groups, weights, confidence, rivals)
            for name, loss in self.semantic_losses.items()}

    def soft_loss(
            self, space: str, logits: Tensor, classes: Tensor, probabilities: Tensor,
            confidence: Tensor) -> dict[str, Tensor]:
        """Compare logits with the probabilities of another space's classes, likewise."""
        groups, weights, rivals = self.shared_classes(space, logits)
        return {'soft': top_classes_cross_entropy(
            logits.float(), classes, probabilities.float() / PROBABILITY_UNITS, groups, weights,
            confidence, rivals)}

    def shared_classes(self, space: str, logits: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """
        Say how another space's classes correspond to the network's.

        :return: the network's classes of each, bool (G, C); their weights (G,); the classes that
            each sample is decided among, bool (B, C), or None for all.
        """
        if space not in self.groups:
            own = LabelSpace.load(space)
            self.groups[space] = torch.from_numpy(correspondence(own, self.space))
            self.candidates[space] = torch.from_numpy(candidates(own, self.space))
        groups = self.groups[space].to(logits.device)
        rivals = None
        if not self.candidates[space].all():
            rivals = self.candidates[space].to(logits.device).expand(len(logits), -1)
        weights = self.class_weights.to(logits.device)
        return groups, (groups * weights).sum(dim=1) / groups.sum(dim=1).clamp(min=1), rivals

    def consistency(self, output: DenseOutput, batch: dict[str, Any]) -> Tensor:
        """
        Ask the frozen contrastive model whether depth and labels belong together.

        It knows metres: depth is brought from the canonical camera to the crop's. Of a crop whose
        camera is not known, the canonical depth is taken.
        """
        depth = output.depth.float()
        if self.settings.canonical_focal is not None:
            zoom = batch['focal'] / self.settings.canonical_focal
            depth = depth * torch.where(torch.isfinite(zoom), zoom, 1)[:, None, None, None]
        return consistency_loss(self.contrastive, depth, output.logits.float().softmax(dim=1))


def chosen(
        kind: str, losses: dict[str, Callable[..., Tensor]], weights: dict[str, float]
        ) -> dict[str, Callable[..., Tensor]]:
    """
    Pick losses by name.

    :raises ValueError: if there is no such loss, or none is chosen.
    """
    unknown = sorted(set(weights) - set(losses))
    if unknown or not weights:
        raise ValueError(
            f'{kind}_losses: expected some of {", ".join(losses)}, got '
            f'{", ".join(unknown) or "none"}')
    return {name: losses[name] for name in weights}


def self_supervised_weights(settings: SelfSupervisionSettings) -> dict[str, float]:
    """Return the weights of the terms of self-supervision, by name."""
    weight = settings.get('weight', 1.0)
    return {
        'photometric': weight, 'smooth_disparity': weight * settings.get('smoothness', 1e-3),
        'camera_height': weight * settings.get('camera_height_weight', 0.1),
        'feature_distance': settings.get('feature_distance', 0.0)}


def mean_over_samples(loss: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """
    Average a loss over the samples of a batch.

    :param loss: of the maps of one sample; 0 where nothing is valid.
    :param maps: (B, ., h, w).
    """
    samples = zip(*(values.split(1) for values in maps))
    return torch.stack([loss(*sample) for sample in samples]).mean()


def smoothness(depth_b1hw: Tensor, image_bhw3: Tensor) -> Tensor:
    """Ask for disparity that is smooth where the photograph is: uint8 images of any size."""
    image = functional.interpolate(
        image_bhw3.permute(0, 3, 1, 2).float() / 255, size=depth_b1hw.shape[-2:], mode='area')
    return edge_aware_smoothness(1 / depth_b1hw, image)


def step_generator(device: torch.device) -> torch.Generator:
    """Make a generator on a device that follows the process's own."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**31, ())))
