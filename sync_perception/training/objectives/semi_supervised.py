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
Learning without labels: what a student loses by what its teacher says of mixed images.

Olsson et al., "ClassMix", WACV 2021; Hoyer et al., "Three ways to improve semantic segmentation
with self-supervised depth estimation", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypedDict

from sync_perception.evaluation.predict_sample import enlarge
from sync_perception.labels import LabelSpace, VOID
from sync_perception.models import hub
from sync_perception.models.config import ModelConfig
from sync_perception.resources import default_model_folder
from sync_perception.runtime.preprocess import normalise
from sync_perception.training.loop.pretrained_parts import DEFAULT
from sync_perception.training.losses.semantics import pixel_losses
from sync_perception.training.objectives.mean_teacher import MeanTeacher
from sync_perception.training.objectives.mixing import (
    class_mix,
    depth_mix,
    normalised_disparity,
    partners,
    strong_variation,
)
from sync_perception.training.objectives.supervised import Objective
from sync_perception.training.recipes import check_known
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor

MIXES = ('depth', 'class', 'none')
GIVEN, TEACHER = 'given', 'teacher'
DENSE = 0.5
"""Share of a crop from which on its given depth tells of its things' edges."""


class SemiSupervision(TypedDict, total=False):
    """
    How a training learns from what a teacher says of images.

    It is one loss more, on mixed images. On the images themselves all other losses stay, those on
    an expert's labels, too; in mixed images true labels and the teacher's count alone.

    :ivar mixing: what becomes the student's input: `depth` (DepthMix, the default), `class`
        (ClassMix) or `none`, the images themselves.
    :ivar depth: of DepthMix. `given` (the default): the sample's, where it covers half of the crop
        or more, else the teacher's. `teacher`: always the teacher's. Otherwise the folder or hub
        id of a model that is asked for it; `default` is the shipped one. Where true labels, or
        else the teacher's, say sky, predicted depth counts as farthest.
    :ivar confidence: the teacher's probability from which on it is confident of a pixel: 0.968. An
        image's pixels weigh as much as the share of them of which it is.
    :ivar decay: greatest share of the teacher that stays at a step: 0.99.
    :ivar weight: of the loss: 1.
    """

    mixing: str
    depth: str
    confidence: float
    decay: float
    weight: float


DEFAULTS = SemiSupervision(
    mixing='depth', depth=GIVEN, confidence=0.968, decay=0.99, weight=1.0)


class SemiSupervisedLoss:
    """
    The component that a training step asks for its loss on mixed images.

    The teacher, and a model that only gives depth, stay out of the module, and so out of its
    weights, averages and the optimiser; the module's checkpoints carry the teacher.

    :param settings: what differs from DEFAULTS.
    :param objective: the training's, which knows classes and label spaces.
    :ivar mixed: the last mixed batch, as `mix` gives it, and `seen`, float (B, H, W, 3) in
        [0, 255], its images as the student saw them; None before the first.
    :raises ValueError: if a setting is unknown or out of range.
    """

    def __init__(self, settings: SemiSupervision, objective: Objective):
        self.settings = checked(settings)
        self.objective = objective
        self.variation = strong_variation()
        self.teacher: MeanTeacher | None = None
        self.depth_model: nn.Module | None = None
        self.mixed: dict[str, Any] | None = None

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """
        Make the teacher from the network as it is; load the model that gives depth.

        :raises FileNotFoundError: if there is no such model.
        """
        self.teacher = MeanTeacher(model, self.settings['decay'])
        self.teacher.network.to(device)
        self.variation.to(device)
        name = self.settings['depth']
        if self.settings['mixing'] == 'depth' and name not in (GIVEN, TEACHER):
            folder = default_model_folder() if name == DEFAULT else name
            self.depth_model = hub.load(folder, device).requires_grad_(False).eval()

    def state_dict(self) -> dict[str, Any]:
        """Return the teacher's state."""
        return self.teacher.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a checkpoint's teacher."""
        self.teacher.load_state_dict(state)

    def __call__(
            self, model: nn.Module, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """
        Return the loss on a batch's mixed images, by its name, `unlabelled`.

        The teacher first learns from the step before. To be asked for before the student sees the
        batch itself: under several processes, its batch norms are the same in all of them until
        each has normalised by images of its own.

        :param model: the student, with its `config`.
        :param batch: of `sync_perception.training.feeding.mixture`.
        :param step: steps that the student has made.
        """
        self.teacher.follow(model, step)
        with torch.no_grad():
            self.mixed = self.mix(self.annotated(model.config, batch))
            images = self.mixed['image'].permute(0, 3, 1, 2).float() / 255
            seen = self.variation(images).float().clamp(0, 1).permute(0, 2, 3, 1) * 255
            self.mixed['seen'] = seen
        logits = model(normalise(seen, model.config.mean, model.config.std)).logits
        logits = enlarge(logits, self.mixed['labels'].shape[-2:])
        return {'unlabelled': self.loss(logits, self.mixed)}

    def annotated(self, config: ModelConfig, batch: dict[str, Any]) -> dict[str, Any]:
        """
        Let the teacher say what is not labelled.

        In an image with true labels, those alone count, and where it is void, nothing.

        :return: image; labels, uint8 (B, h, w), true ones; guesses, likewise, the teacher's, void
            in images with true ones; weight, float (B, h, w), 1 where labels are true; space,
            uint8 (B, h, w), the index in `spaces` of the label space; depth, (B, h, w), for
            mixing.
        :raises ValueError: if the network gives no labels.
        """
        output = self.teacher(normalise(batch['image'], config.mean, config.std))
        if output.logits is None:
            raise ValueError('semi_supervision: the network gives no labels, so no teacher does')
        labels, spaces = batch['labels'].to(torch.uint8), sorted(set(batch['space']))
        size = labels.shape[-2:]
        logits = self.among_candidates(enlarge(output.logits, size), batch['space'])
        probability, guesses = logits.softmax(dim=1).max(dim=1)
        confident = (probability >= self.settings['confidence']).float().mean(dim=(1, 2))
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
        """Keep each image's classes to those of its data set, in a head over several."""
        for number, space in enumerate(spaces):
            rivals = self.rivals(space, logits_bchw[number:number + 1])
            if rivals is not None:
                logits_bchw[number].masked_fill_(~rivals[0][:, None, None], float('-inf'))
        return logits_bchw

    def rivals(self, space: str, logits_bchw: Tensor) -> Tensor | None:
        """Return the classes among which a data set's labels are decided; None for all."""
        return self.objective.shared_classes(space, logits_bchw)[2] if space else None

    def sky(self, labels_bhw: Tensor, guesses_bhw: Tensor, spaces: list[str]) -> Tensor:
        """Say where true labels, or else the teacher's, see what has no depth: bool (B, h, w)."""
        sky = infinite(self.objective.space, guesses_bhw)
        for number, space in enumerate(spaces):
            if space:
                true = labels_bhw[number]
                sky[number] = torch.where(
                    true == VOID, sky[number], infinite(label_space(space), true))
        return sky

    def depth(self, output: DenseOutput, batch: dict[str, Any], sky_bhw: Tensor) -> Tensor:
        """
        Return what tells near from far, (B, h, w); its unit is each image's own.

        Predicted depth has none in the sky, where networks that learned from laser scans or true
        depth never learned any, and often see something near.

        :param output: the teacher's.
        :param sky_bhw: bool (B, h, w).
        :raises ValueError: if there is none to be had, but the mixing needs it.
        """
        given, kind = batch['depth'], self.settings['depth']
        if self.settings['mixing'] != 'depth':
            return given
        if self.depth_model is not None:
            config = self.depth_model.config
            output = self.depth_model(normalise(batch['image'], config.mean, config.std))
        dense = given.isfinite().float().mean(dim=(1, 2), keepdim=True) >= DENSE
        if output.depth is None and (kind != GIVEN or not dense.any()):
            raise ValueError(
                f'semi_supervision: no depth to mix by: expected depth of {kind!r}, got none. '
                'Name a model that gives it, such as `default`, or mix by classes')
        predicted = torch.full_like(given, torch.nan)
        if output.depth is not None:
            predicted = enlarge(output.depth, given.shape[-2:])[:, 0]
        predicted = predicted.masked_fill(sky_bhw, torch.nan)
        return torch.where(dense, given, predicted) if kind == GIVEN else predicted

    def mix(self, annotated: dict[str, Any]) -> dict[str, Any]:
        """
        Mix each image with another one of the batch, in the way that was chosen.

        :return: the maps, mixed; `partner`, and for pictures `nearness`, the mixed disparities.
        """
        spaces, depth = annotated['spaces'], annotated['depth']
        maps = {**annotated, 'nearness': normalised_disparity(depth)}
        partner = partners(len(depth)).to(depth.device)
        if self.settings['mixing'] == 'depth':
            maps = depth_mix(maps, depth, partner)
        elif self.settings['mixing'] == 'class':
            known = torch.where(maps['labels'] == VOID, maps['guesses'], maps['labels'])
            maps = class_mix(maps, known, partner)
        return {**maps, 'partner': partner, 'spaces': spaces}

    def loss(self, logits_bchw: Tensor, mixed: dict[str, Any]) -> Tensor:
        """Return the cross-entropy to true labels and guesses, the mean over all of them."""
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
        Take mixed labels apart by the label spaces that they speak.

        :return: labels, 255 elsewhere; the network's classes of each and their weights; the
            classes that they are decided among, or None for all.
        """
        own = (torch.eye(logits_bchw.shape[1], dtype=torch.bool, device=logits_bchw.device),
               self.objective.class_weights.to(logits_bchw.device))
        for number, space in enumerate(mixed['spaces']):
            here = mixed['space'] == number
            labels, guesses = (
                mixed[name].masked_fill(~here, VOID) for name in ('labels', 'guesses'))
            if space == self.objective.space.name:
                yield torch.where(labels == VOID, guesses, labels), own, None
                continue
            rivals = None
            if space:
                *classes, rivals = self.objective.shared_classes(space, logits_bchw)
                yield labels, tuple(classes), rivals
            yield guesses, own, rivals


@lru_cache
def label_space(name: str) -> LabelSpace:
    """Read a label space's file, once."""
    return LabelSpace.load(name)


def infinite(space: LabelSpace, labels: Tensor) -> Tensor:
    """Say where integer labels of a space are of classes without a depth; void is of none."""
    return torch.isin(labels, torch.from_numpy(space.infinite).nonzero()[:, 0].to(labels))


def checked(settings: SemiSupervision) -> SemiSupervision:
    """
    Return all settings.

    :param settings: what differs from DEFAULTS.
    :raises ValueError: if one is unknown or out of range.
    """
    check_known('semi_supervision', settings, DEFAULTS)
    whole = SemiSupervision(**{**DEFAULTS, **settings})
    if whole['mixing'] not in MIXES:
        raise ValueError(
            f'semi_supervision: expected a mixing of {", ".join(MIXES)}, got {whole["mixing"]!r}')
    for name, greatest in (('confidence', 1.0), ('decay', 1.0), ('weight', float('inf'))):
        if not 0 <= whole[name] <= greatest:
            raise ValueError(
                f'semi_supervision: expected a {name} from 0 to {greatest}, got {whole[name]}')
    return whole
