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

"""Teacher network that annotates samples: labels, confidence, depth and its deviation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import logging

import numpy as np
from sync_perception.datasets.derived.pseudo_labelled import encode_maps
from sync_perception.datasets.sample import MAX_CLASSES, Sample
from sync_perception.evaluation.geometric_agreement import AgreementLimits, find_contradictions
from sync_perception.evaluation.predict_sample import (
    average_probabilities,
    dense_output,
    enlarge,
)
from sync_perception.models.network_input import camera_scale
from sync_perception.types import DenseOutput
import torch
from torch import nn

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherOptions:
    """
    Options of a teacher.

    :param min_confidence: labels of a lower probability become void.
    :param agreement: whether to remove labels and depth that contradict each other.
    :param near_sky: with agreement, depth below which sky is a contradiction, metres; None if the
        depth of sky is undefined.
    :param soft: number of most probable classes stored with their probabilities, from 2 to
        MAX_CLASSES; 0 for labels only.
    :param scales: image scales, relative to the input size of the model, whose class probabilities
        are averaged.
    :param flip: whether to average with the mirrored image, too.
    :raises ValueError: if an option is out of range.
    """

    min_confidence: float = 0.0
    agreement: bool = False
    near_sky: float | None = None
    soft: int = 0
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self):
        """Check the options."""
        if not 0 <= self.min_confidence < 1:
            raise ValueError(
                f'min_confidence must be from 0 to below 1, got {self.min_confidence}')
        if self.soft and not 2 <= self.soft <= MAX_CLASSES:
            raise ValueError(
                f'soft must be 0, or from 2 to {MAX_CLASSES} classes, got {self.soft}')
        if not self.scales or not all(0.1 <= scale <= 4 for scale in self.scales):
            raise ValueError(f'scales must be from 0.1 to 4, got {list(self.scales)}')


class Teacher:
    """
    Teacher that annotates samples with a model.

    :param model: module from a normalised image batch to a DenseOutput, with `config`, `labels`,
        `device`.
    :param options: options of the annotations.
    :ivar counts: number of pixels and of labelled pixels, and of images without depth for lack of
        intrinsics.
    """

    def __init__(self, model: nn.Module, options: TeacherOptions = TeacherOptions()):
        self.model, self.options = model, options
        self.averaged = options.flip or tuple(options.scales) != (1.0,)
        self.limits = AgreementLimits(sky=options.near_sky)
        self.infinite = np.flatnonzero(model.labels.infinite)
        self.counts: Counter[str] = Counter()

    def annotate(self, sample: Sample) -> dict[str, np.ndarray]:
        """
        Return the maps to store, by kind, at the size of the image.

        Depth is metric in the sample's camera; without its intrinsics, a model with a canonical
        camera gives no depth. Sky has no depth.
        """
        output = dense_output(self.model, sample.image)
        size = sample.image.shape[:2]
        labels = confidence = depth = deviation = classes = probabilities = None
        if output.logits is not None:
            classes, probabilities = self.ranked(
                average_probabilities(
                    self.model, sample.image, self.options.scales, self.options.flip)[0]
                if self.averaged else enlarge(output.logits.float().softmax(dim=1), size)[0])
            labels, confidence = classes[0], probabilities[0]
        if output.depth is not None:
            depth, deviation = self.depth_of(output, sample)
        if depth is not None and labels is not None:
            self.compare(labels, depth, sample)
        if labels is not None:
            labels[confidence < self.options.min_confidence] = self.model.labels.void
            self.counts.update(
                pixels=labels.size, labelled=int((labels != self.model.labels.void).sum()))
        soft = (classes[1:], probabilities[1:]) if self.options.soft else ()
        return encode_maps(labels, confidence, depth, deviation, *soft)

    def ranked(self, probability_chw: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the most probable classes, uint8 (K, H, W), and their probabilities; K >= 1."""
        # the maximum alone takes a fifth of the time
        best, index = (
            probability_chw.topk(self.options.soft, dim=0) if self.options.soft
            else probability_chw.max(dim=0, keepdim=True))
        return index.to(torch.uint8).cpu().numpy(), best.clamp(0, 1).cpu().numpy()

    def depth_of(
            self, output: DenseOutput, sample: Sample
            ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return depth in metres, NaN out of range, and its standard deviation; or None."""
        config, size = self.model.config, sample.image.shape[:2]
        if config.canonical_focal is not None and sample.K is None:
            if not self.counts['without_intrinsics']:
                LOG.warning(
                    '%s has no intrinsics: depth is skipped, since its metric scale is '
                    'unknown', sample.id)
            self.counts['without_intrinsics'] += 1
            return None, None
        canonical = enlarge(output.depth, size)[0, 0].cpu().numpy()
        depth = canonical * np.float32(camera_scale(config, sample.K, size))
        depth[~(canonical < config.depth_range[1])] = np.nan
        if output.log_variance is None:
            return depth, None
        return depth, enlarge(output.log_variance, size)[0, 0].mul(0.5).exp().cpu().numpy()

    def compare(self, labels: np.ndarray, depth: np.ndarray, sample: Sample) -> None:
        """Remove contradictions, if requested, and the depth of the sky, in place."""
        sky = np.isin(labels, self.infinite)
        if self.options.agreement and sample.K is not None:
            found = find_contradictions(labels, depth, sample.K, self.model.labels, self.limits)
            self.counts['contradictions'] += int((~found.agrees).sum())
            self.counts['checked'] += 1
            self.counts['without_ground'] += found.plane is None
            labels[~found.agrees] = self.model.labels.void
            depth[~found.agrees] = np.nan
        depth[sky] = np.nan
