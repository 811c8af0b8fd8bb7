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


"""Distillation losses: an expert's class probabilities, and reference features."""

from __future__ import annotations

from sync_perception.labels import VOID
from sync_perception.training.losses.semantics import log_normaliser
import torch
from torch import Tensor

SUM_TOLERANCE = 0.02


def top_classes_cross_entropy(
        logits_bchw: Tensor, classes_bkhw: Tensor, probabilities_bkhw: Tensor, groups_gc: Tensor,
        weights_g: Tensor | None = None, confidence_bhw: Tensor | None = None,
        candidates_bc: Tensor | None = None) -> Tensor:
    """
    Cross-entropy with an expert's K most probable classes as soft targets, at temperature 1.

    -sum_k q_k ln p_k - r ln p_r, where p_k is the summed probability of the classes that
    correspond to the expert's k-th class, r = 1 - sum_k q_k the expert's remaining probability,
    and p_r the summed probability of the classes that correspond to all its other classes, treated
    as one class "other". The loss is minimal if the network gives the K classes the expert's
    probabilities (Hinton et al., 2015, for the known part of the distribution); the distribution
    within "other" is free. Normalising the K probabilities to a sum of 1 instead would teach that
    no other class is possible, most of all where the expert is uncertain. If all classes are
    stored, this is the cross-entropy with the expert's probabilities; with one certain class,
    `grouped_cross_entropy`.

    Stored classes without counterpart are omitted, as is the rest if no other class corresponds to
    it; the pixel's weight is the remaining probability. The expert gets no gradient.

    :param logits_bchw: (B, C, h, w).
    :param classes_bkhw: integer (B, K, h, w), the expert's classes, all different, 255 for none;
        pixels whose first is 255 are ignored.
    :param probabilities_bkhw: (B, K, h, w), probabilities of these classes, with a sum of at most
        1 up to rounding.
    :param groups_gc: bool (G, C), the classes that correspond to each of the expert's.
    :param weights_g: (G,), weight of each of the expert's classes; default 1. The weight of the
        rest is the mean over the classes not stored.
    :param confidence_bhw: (B, h, w), weight of each pixel; default 1.
    :param candidates_bc: bool (B, C), candidate classes of each sample; default all.
    :return: scalar, the weighted mean, scaled by confidence; 0 if no pixel has a class.
    :raises ValueError: if shapes are inconsistent, a class is neither a row of groups_gc nor 255,
        the expert's numbers are not probabilities, or a corresponding class is not a candidate.
    """
    check_top_classes(logits_bchw, classes_bkhw, probabilities_bkhw, groups_gc)
    if candidates_bc is not None:
        check_expert_candidates(candidates_bc, logits_bchw, groups_gc)
    stored_bkhw = (classes_bkhw != VOID) & (classes_bkhw[:, :1] != VOID)
    if not stored_bkhw.any():
        return logits_bchw.sum() * 0
    classes_bkhw = classes_bkhw.long().masked_fill(~stored_bkhw, 0)
    known_bkhw = stored_bkhw & groups_gc.any(dim=1)[classes_bkhw]
    others_bchw = other_classes(classes_bkhw, known_bkhw, groups_gc)
    shares_bkhw = probabilities_bkhw.detach().to(logits_bchw.dtype).masked_fill(~stored_bkhw, 0)
    rest_bhw = (1 - shares_bkhw.sum(dim=1)).clamp(min=0) * stored_bkhw[:, 0]
    rest_bhw = rest_bhw * others_bchw.any(dim=1)
    shares_bkhw = shares_bkhw * known_bkhw
    if weights_g is not None:
        weights_g = weights_g.to(logits_bchw.dtype)
        shares_bkhw = shares_bkhw * weights_g[classes_bkhw]
        rest_bhw = rest_bhw * rest_weight(classes_bkhw, known_bkhw, groups_gc, weights_g)
    log_total = log_normaliser(logits_bchw, candidates_bc)
    scores_bkhw = class_scores(logits_bchw, classes_bkhw, groups_gc)
    losses = (shares_bkhw * (log_total[:, None] - scores_bkhw)).sum(dim=1)
    losses = losses + rest_bhw * (log_total - masked_score(logits_bchw, others_bchw))
    if confidence_bhw is not None:
        losses = losses * confidence_bhw
    normaliser = shares_bkhw.sum() + rest_bhw.sum()
    return losses.sum() / torch.where(normaliser > 0, normaliser, 1)


def other_classes(classes_bkhw: Tensor, known_bkhw: Tensor, groups_gc: Tensor) -> Tensor:
    """
    Return the network's classes that correspond only to expert classes not stored.

    :param classes_bkhw: int64, rows of groups_gc.
    :param known_bkhw: bool, which of them are stored and have a counterpart.
    :return: bool (B, C, h, w).
    """
    batch, _, height, width = classes_bkhw.shape
    single = bool((groups_gc.sum(dim=1) <= 1).all())
    index = groups_gc.int().argmax(dim=1)[classes_bkhw] if single else classes_bkhw
    count = groups_gc.shape[1] if single else len(groups_gc)
    named = torch.zeros(
        batch, count + 1, height, width, dtype=torch.bool, device=classes_bkhw.device)
    named = named.scatter_(1, index.masked_fill(~known_bkhw, count), True)[:, :count]
    if not single:
        named = torch.einsum('bghw,gc->bchw', named.float(), groups_gc.float()) > 0
    return ~named & groups_gc.any(dim=0)[:, None, None]


def rest_weight(
        classes_bkhw: Tensor, known_bkhw: Tensor, groups_gc: Tensor, weights_g: Tensor) -> Tensor:
    """Return the mean weight of the expert's classes not stored, (B, h, w)."""
    known_g = groups_gc.any(dim=1)
    named = (weights_g[classes_bkhw] * known_bkhw).sum(dim=1)
    count = (known_g.sum() - known_bkhw.sum(dim=1)).clamp(min=1)
    return ((weights_g * known_g).sum() - named).clamp(min=0) / count


def class_scores(logits_bchw: Tensor, classes_bkhw: Tensor, groups_gc: Tensor) -> Tensor:
    """Return the log-sum-exp over the group of each stored class, (B, K, h, w)."""
    if bool((groups_gc.sum(dim=1) <= 1).all()):
        return logits_bchw.gather(1, groups_gc.int().argmax(dim=1)[classes_bkhw])
    return group_scores(logits_bchw, groups_gc).gather(1, classes_bkhw)


def masked_score(scores_bchw: Tensor, mask_bchw: Tensor) -> Tensor:
    """Return the log-sum-exp over the masked classes, (B, h, w); over all if there are none."""
    hidden = ~mask_bchw & mask_bchw.any(dim=1, keepdim=True)
    return torch.logsumexp(scores_bchw.masked_fill(hidden, float('-inf')), dim=1)


def group_scores(scores_bchw: Tensor, groups_gc: Tensor) -> Tensor:
    """Return the log-sum-exp over each group, (B, G, h, w); arbitrary for empty groups."""
    if bool((groups_gc.sum(dim=1) <= 1).all()):
        return scores_bchw[:, groups_gc.int().argmax(dim=1)]
    return torch.stack([
        torch.logsumexp(scores_bchw[:, group], dim=1) if group.any() else scores_bchw[:, 0]
        for group in groups_gc], dim=1)


def check_top_classes(
        logits_bchw: Tensor, classes_bkhw: Tensor, probabilities_bkhw: Tensor, groups_gc: Tensor
        ) -> None:
    """Check sizes, class ids and probabilities."""
    batch, channels, *size = logits_bchw.shape
    if (groups_gc.shape[1:] != (channels,) or classes_bkhw.ndim != 4
            or classes_bkhw.shape != probabilities_bkhw.shape
            or (classes_bkhw.shape[0], *classes_bkhw.shape[2:]) != (batch, *size)):
        raise ValueError(
            f'expected groups (G, {channels}), classes and probabilities ({batch}, K, {size[0]}, '
            f'{size[1]}), got {tuple(groups_gc.shape)}, {tuple(classes_bkhw.shape)}, '
            f'{tuple(probabilities_bkhw.shape)}')
    stored = (classes_bkhw != VOID) & (classes_bkhw[:, :1] != VOID)
    found = classes_bkhw.masked_fill(~stored, 0)
    if found.min() < 0 or found.max() >= len(groups_gc):
        raise ValueError(
            f'classes must be from 0 to {len(groups_gc) - 1} or {VOID}, got '
            f'{int(found.min())} to {int(found.max())}')
    shares = probabilities_bkhw.masked_fill(~stored, 0)
    least, most = shares.min(), shares.sum(dim=1).max()
    if not (least >= 0 and most <= 1 + SUM_TOLERANCE):
        raise ValueError(
            "an expert's probabilities must be at least 0 and sum to at most 1, got "
            f'{least.item()} at least and a sum of {most.item()}')


def check_expert_candidates(
        candidates_bc: Tensor, logits_bchw: Tensor, groups_gc: Tensor) -> None:
    """Check that candidates include all classes of the expert; no candidates means all."""
    if candidates_bc.shape != logits_bchw.shape[:2]:
        raise ValueError(
            f'expected candidates of shape {tuple(logits_bchw.shape[:2])}, one row a sample, got '
            f'{tuple(candidates_bc.shape)}')
    outside_bc = groups_gc.any(dim=0) & ~candidates_bc & candidates_bc.any(dim=1, keepdim=True)
    if outside_bc.any():
        sample, channel = outside_bc.nonzero()[0].tolist()
        raise ValueError(
            f'sample {sample}: the expert allows class {channel}, which is not a candidate')


def feature_distance(features_bchw: Tensor, reference_bchw: Tensor) -> Tensor:
    """
    Mean over positions of |f - f_reference|_2, the norm over channels.

    Hoyer et al., "Three Ways to Improve Semantic Segmentation with Self-Supervised Depth
    Estimation", CVPR 2021: an encoder trained on depth from video forgets its ImageNet features;
    this loss, weighted by 1e-2, preserves them.

    :param features_bchw: float (B, C, h, w), features of the trained encoder.
    :param reference_bchw: float (B, C, h, w), features of the reference encoder; gets no gradient.
    :return: scalar.
    :raises ValueError: if the shapes differ.
    """
    if features_bchw.shape != reference_bchw.shape or features_bchw.ndim != 4:
        raise ValueError(
            'expected two batches of features (B, C, h, w) of one shape, got '
            f'{tuple(features_bchw.shape)} and {tuple(reference_bchw.shape)}')
    difference = features_bchw.float() - reference_bchw.detach().float()
    return torch.linalg.vector_norm(difference, dim=1).mean()
