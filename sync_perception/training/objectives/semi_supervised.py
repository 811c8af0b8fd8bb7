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
Semi-supervised learning: a student learns from its teacher's pseudo-labels of mixed images.

Olsson et al., "ClassMix", WACV 2021; Hoyer et al., "Three ways to improve semantic segmentation
with self-supervised depth estimation", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sync_perception.evaluation.predict_sample import enlarge
from sync_perception.files import checks
from sync_perception.labels import LabelSpace, VOID
from sync_perception.models import hub
from sync_perception.models.config import ModelConfig
from sync_perception.models.network_input import normalise
from sync_perception.resources import model_source
from sync_perception.training.losses.semantics import pixel_losses
from sync_perception.training.objectives.mean_teacher import MeanTeacher
from sync_perception.training.objectives.mixing import (
    class_mix,
    depth_mix,
    normalised_disparity,
    partners,
    strong_variation,
)
from sync_perception.training.objectives.objective import at_least_0, Objective, Setup, Step
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor

KEY = 'objectives.semi_supervised'
GIVEN, TEACHER = 'given', 'teacher'
DENSE = 0.5
"""Least share of valid given depth in a crop for DepthMix."""


@dataclass(frozen=True)
class SemiSupervisedConfig:
    """
    Settings of semi-supervised learning with a mean teacher.

    It adds one loss on mixed images, with true labels and the teacher's pseudo-labels. The other
    losses, including those on expert labels, apply to the original images.

    :param mixing: mixing of the student's input: `depth` (DepthMix), `class` (ClassMix) or `none`.
    :param depth: source of depth for DepthMix. `given`: the sample's, if it covers half of the
        crop or more, else the teacher's. `teacher`: always the teacher's. Otherwise the folder or
        hub id of a model that predicts it; `default` is the shipped one. Where true labels, or
        else the teacher's, are sky, predicted depth counts as farthest.
    :param confidence: least probability of confident pseudo-labels, in [0, 1]. The weight of an
        image's pseudo-labels is the share of its confident pixels.
    :param decay: greatest decay of the teacher's average, in [0, 1].
    :param weight: weight of the loss, 0 or more.
    """

    mixing: Literal['depth', 'class', 'none'] = 'depth'
    depth: str = GIVEN
    confidence: float = 0.968
    decay: float = 0.99
    weight: float = 1.0

    def __post_init__(self):
        """Check that all numbers are in range."""
        at_least_0(self, KEY, 'weight')
        for name in ('confidence', 'decay'):
            checks.number(0, 1)(getattr(self, name), f'{KEY}.{name}')


class SemiSupervised(Objective):
    """
    Student loss on true labels and the teacher's pseudo-labels of mixed images.

    The teacher, and a model that only predicts depth, are not submodules, and so not in the
    weights, averages and the optimiser; checkpoints store the teacher.

    :ivar mixed: the last mixed batch of `mix`, and `seen`, float (B, H, W, 3) in [0, 255], the
        student's augmented images; None before the first.
    """

    Config = SemiSupervisedConfig
    TASKS = {'unlabelled': 'semantics'}

    def __init__(self, config: SemiSupervisedConfig, setup: Setup):
        super().__init__(config, setup)
        self.classes = setup.classes
        self.weights = {'unlabelled': config.weight}
        self.variation = strong_variation()
        self.teacher: MeanTeacher | None = None
        self.depth_model: nn.Module | None = None
        self.mixed: dict[str, Any] | None = None

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """
        Create the teacher as a copy of the network; load the model that predicts depth.

        :raises FileNotFoundError: if the model does not exist.
        """
        self.teacher = MeanTeacher(model, self.config.decay)
        self.teacher.network.to(device)
        self.variation.to(device)
        name = self.config.depth
        if self.config.mixing == 'depth' and name not in (GIVEN, TEACHER):
            self.depth_model = hub.load(model_source(name), device).requires_grad_(False).eval()

    def state(self) -> dict[str, Any]:
        """Return the teacher's state."""
        return self.teacher.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's teacher."""
        self.teacher.load_state_dict(state)

    def terms(self, step: Step) -> dict[str, Tensor]:
        """
        Return the loss on a batch's mixed images, `unlabelled`.

        The teacher is first updated by the last step. This must be the first objective of a step,
        before the student processes the batch itself: with several processes, the student's batch
        norm statistics are equal in all of them only until then.
        """
        model = step.model
        self.teacher.follow(model, step.number)
        with torch.no_grad():
            self.mixed = self.mix(self.annotated(model.config, step.batch))
            images = self.mixed['image'].permute(0, 3, 1, 2).float() / 255
            seen = self.variation(images).float().clamp(0, 1).permute(0, 2, 3, 1) * 255
            self.mixed['seen'] = seen
        logits = model(step.normalised(seen)).logits
        logits = enlarge(logits, self.mixed['labels'].shape[-2:])
        return {'unlabelled': self.loss(logits, self.mixed)}

    def annotated(self, config: ModelConfig, batch: dict[str, Any]) -> dict[str, Any]:
        """
        Add the teacher's labels to images without true ones.

        In an image with true labels only these count; its void pixels are ignored.

        :return: image; labels, uint8 (B, h, w), true labels; guesses, uint8 (B, h, w),
            pseudo-labels, void in images with true labels; weight, float (B, h, w), 1 where labels
            are true; space, uint8 (B, h, w), the index in `spaces` of the label space; depth, (B,
            h, w), for mixing.
        :raises ValueError: if the network predicts no labels.
        """
        output = self.teacher(normalise(batch['image'], config.mean, config.std))
        if output.logits is None:
            raise ValueError(f'{KEY}: expected a network with labels, got one without')
        labels, spaces = batch['labels'].to(torch.uint8), sorted(set(batch['space']))
        size = labels.shape[-2:]
        logits = self.among_candidates(enlarge(output.logits, size), batch['space'])
        probability, guesses = logits.softmax(dim=1).max(dim=1)
        confident = (probability >= self.config.confidence).float().mean(dim=(1, 2))
        sky = self.sky(labels, guesses, batch['space'])
        true_b11 = (labels != VOID).flatten(1).any(dim=1)[:, None, None]
        space = torch.tensor([spaces.index(name) for name in batch['space']], dtype=torch.uint8)
        return {
            'image': batch['image'], 'labels': labels,
            'guesses': guesses.to(torch.uint8).masked_fill(true_b11, VOID),
            'weight': torch.where(true_b11, 1, confident[:, None, None]).expand(labels.shape),
            'space': space.to(labels.device)[:, None, None].expand(labels.shape),
            'depth': self.depth(output, batch, sky), 'spaces': spaces}

    def among_candidates(self, logits_bchw: Tensor, spaces: list[str]) -> Tensor:
        """Restrict each image's classes to those of its data set, for a head over several."""
        for number, space in enumerate(spaces):
            rivals = self.rivals(space, logits_bchw[number:number + 1])
            if rivals is not None:
                logits_bchw[number].masked_fill_(~rivals[0][:, None, None], float('-inf'))
        return logits_bchw

    def rivals(self, space: str, logits_bchw: Tensor) -> Tensor | None:
        """Return the candidate classes of a data set's labels; None for all."""
        return self.classes.match(space, logits_bchw)[2] if space else None

    def sky(self, labels_bhw: Tensor, guesses_bhw: Tensor, spaces: list[str]) -> Tensor:
        """Return where true labels, or else the teacher's, are sky: bool (B, h, w)."""
        sky = infinite(self.classes.space, guesses_bhw)
        for number, space in enumerate(spaces):
            if space:
                true = labels_bhw[number]
                sky[number] = torch.where(
                    true == VOID, sky[number], infinite(load_label_space(space), true))
        return sky

    def depth(self, output: DenseOutput, batch: dict[str, Any], sky_bhw: Tensor) -> Tensor:
        """
        Return the depth for mixing, (B, h, w), in an arbitrary unit per image.

        Predicted depth is removed in the sky, where networks trained on laser scans or true depth
        had no target and often predict near depth.

        :param output: the teacher's output.
        :param sky_bhw: bool (B, h, w).
        :raises ValueError: if the mixing needs depth and there is none.
        """
        given, kind = batch['depth'], self.config.depth
        if self.config.mixing != 'depth':
            return given
        if self.depth_model is not None:
            config = self.depth_model.config
            output = self.depth_model(normalise(batch['image'], config.mean, config.std))
        dense = given.isfinite().float().mean(dim=(1, 2), keepdim=True) >= DENSE
        if output.depth is None and (kind != GIVEN or not dense.any()):
            raise ValueError(
                f'{KEY}: no depth to mix by: expected depth of {kind!r}, got none. Set a model '
                'that gives depth, such as `default`, or mix by classes')
        predicted = torch.full_like(given, torch.nan)
        if output.depth is not None:
            predicted = enlarge(output.depth, given.shape[-2:])[:, 0]
        predicted = predicted.masked_fill(sky_bhw, torch.nan)
        return torch.where(dense, given, predicted) if kind == GIVEN else predicted

    def mix(self, annotated: dict[str, Any]) -> dict[str, Any]:
        """
        Mix each image with another one of the batch.

        :return: the mixed maps; `partner`, and for pictures `nearness`, the mixed disparities.
        """
        spaces, depth = annotated['spaces'], annotated['depth']
        maps = {**annotated, 'nearness': normalised_disparity(depth)}
        partner = partners(len(depth)).to(depth.device)
        if self.config.mixing == 'depth':
            maps = depth_mix(maps, depth, partner)
        elif self.config.mixing == 'class':
            known = torch.where(maps['labels'] == VOID, maps['guesses'], maps['labels'])
            maps = class_mix(maps, known, partner)
        return {**maps, 'partner': partner, 'spaces': spaces}

    def loss(self, logits_bchw: Tensor, mixed: dict[str, Any]) -> Tensor:
        """Return the mean cross-entropy over true labels and pseudo-labels."""
        total, normaliser = logits_bchw.sum() * 0, 0
        for labels, classes, rivals in self.targets(logits_bchw, mixed):
            groups, weights = classes
            losses, weight = pixel_losses(logits_bchw, labels, groups, weights, rivals)
            total = total + (losses * weight * mixed['weight']).sum()
            normaliser = normaliser + weight.sum()
        return total / torch.where(normaliser > 0, normaliser, 1)

    def targets(
            self, logits_bchw: Tensor, mixed: dict[str, Any]
            ) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor], Tensor | None]]:
        """
        Yield the mixed labels of each label space.

        :return: labels, 255 elsewhere; the network's classes of each and their weights; the
            candidate classes, or None for all.
        """
        own = (torch.eye(logits_bchw.shape[1], dtype=torch.bool, device=logits_bchw.device),
               self.classes.weights.to(logits_bchw.device))
        for number, space in enumerate(mixed['spaces']):
            here = mixed['space'] == number
            labels, guesses = (
                mixed[name].masked_fill(~here, VOID) for name in ('labels', 'guesses'))
            if space == self.classes.space.name:
                yield torch.where(labels == VOID, guesses, labels), own, None
                continue
            rivals = None
            if space:
                *classes, rivals = self.classes.match(space, logits_bchw)
                yield labels, tuple(classes), rivals
            yield guesses, own, rivals


@lru_cache
def load_label_space(name: str) -> LabelSpace:
    """Read a label space's file, once."""
    return LabelSpace.load(name)


def infinite(space: LabelSpace, labels: Tensor) -> Tensor:
    """Return where integer labels of a space have classes without depth, such as sky."""
    return torch.isin(labels, torch.from_numpy(space.infinite).nonzero()[:, 0].to(labels))
