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

"""Cross-entropy losses of logits and labels, also for labels of coarser spaces."""

from __future__ import annotations

import math

from sync_perception.labels import VOID
import torch
from torch import Tensor
from torch.nn import functional


def grouped_cross_entropy(
        logits_bchw: Tensor, labels_bhw: Tensor, groups_gc: Tensor,
        weights_g: Tensor | None = None, confidence_bhw: Tensor | None = None,
        candidates_bc: Tensor | None = None) -> Tensor:
    """
    Cross-entropy on the summed probability of a label's classes: -ln sum_{c in group} p_c.

    A label of a coarse space (such as IDD-lite's "vehicles") accepts any of its classes. With one
    class per group, this is the ordinary cross-entropy. If one head has the classes of several
    data sets, `candidates_bc` restricts each sample to its own: their probabilities sum to 1, and
    the other classes get no gradient.

    :param logits_bchw: (B, C, h, w).
    :param labels_bhw: integer (B, h, w), ids of the coarse space, 255 void.
    :param groups_gc: bool (G, C), the classes of each coarse label. Pixels whose label has no
        class are ignored.
    :param weights_g: (G,), weight of each label; default 1.
    :param confidence_bhw: (B, h, w), weight of each pixel; default 1.
    :param candidates_bc: bool (B, C), candidate classes of each sample; default all.
    :return: scalar, the weighted mean (by label weight, as in torch), scaled by confidence; 0 if
        no pixel is labelled.
    :raises ValueError: if a label is neither a row of groups_gc nor void, if candidates_bc has
        another shape, or if a sample has a label with a class that is not among its candidates.
    """
    losses, weight = pixel_losses(logits_bchw, labels_bhw, groups_gc, weights_g, candidates_bc)
    return weighted_mean(losses, weight, confidence_bhw)


def grouped_ohem_cross_entropy(
        logits_bchw: Tensor, labels_bhw: Tensor, groups_gc: Tensor,
        weights_g: Tensor | None = None, confidence_bhw: Tensor | None = None,
        candidates_bc: Tensor | None = None, threshold: float = 0.7,
        min_kept: int | None = None) -> Tensor:
    """
    Cross-entropy over the hard pixels: online hard example mining (OHEM).

    It keeps the pixels whose label has a probability below the threshold, that is, whose loss
    exceeds -ln(threshold); if these are fewer than min_kept, the min_kept hardest of the batch
    (Shrivastava et al., 2016, for pixels). Weights and confidence do not affect the choice, except
    that pixels with zero weight or confidence are never kept: an expert's uncertain label would be
    among the hardest. The other parameters are those of `grouped_cross_entropy`.

    :param threshold: probability in (0, 1].
    :param min_kept: least number of pixels of the batch, at least 1; default a sixteenth of the
        labelled ones.
    :return: scalar, the weighted mean over the pixels kept; 0 if no pixel is labelled.
    :raises ValueError: as `grouped_cross_entropy`, or if threshold or min_kept is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f'expected a threshold above 0 and at most 1, got {threshold}')
    if min_kept is not None and min_kept < 1:
        raise ValueError(f'expected a min_kept of at least 1, got {min_kept}')
    losses, weight = pixel_losses(logits_bchw, labels_bhw, groups_gc, weights_g, candidates_bc)
    eligible = weight > 0
    if confidence_bhw is not None:
        eligible = eligible & (confidence_bhw > 0)
    found = losses.detach()[eligible]
    if found.numel() == 0:
        return logits_bchw.sum() * 0
    least = min(min_kept or math.ceil(found.numel() / 16), found.numel())
    hard = losses.detach() > -math.log(threshold)
    kept = eligible & (hard | (losses.detach() >= found.topk(least).values[-1]))
    return weighted_mean(losses, weight * kept, confidence_bhw)


def pixel_losses(
        logits_bchw: Tensor, labels_bhw: Tensor, groups_gc: Tensor, weights_g: Tensor | None,
        candidates_bc: Tensor | None) -> tuple[Tensor, Tensor]:
    """
    Return each pixel's cross-entropy and weight, (B, h, w); the weight is 0 without a class.

    :raises ValueError: as `grouped_cross_entropy`.
    """
    labels = labels_bhw.long()
    labelled = labels != VOID
    groups = len(groups_gc)
    if labelled.any() and int(labels[labelled].max()) >= groups:
        raise ValueError(
            f'labels must be below {groups} or {VOID}, got {int(labels[labelled].max())}')
    known = functional.pad(groups_gc.any(dim=1), (0, 1))
    labels = labels.masked_fill(~labelled, groups)
    mask = known[labels]
    if not mask.any():
        losses = logits_bchw.sum(dim=1) * 0
        return losses, torch.zeros_like(losses)
    safe = labels.masked_fill(~mask, int(groups_gc.any(dim=1).int().argmax()))
    if candidates_bc is not None:
        check_candidates(candidates_bc, logits_bchw, safe, mask, groups_gc)
    losses = -group_log_probability(logits_bchw, safe, groups_gc, candidates_bc)
    weight = mask.to(losses.dtype)
    if weights_g is not None:
        weight = weight * weights_g.to(losses.dtype)[safe]
    return losses, weight


def weighted_mean(losses: Tensor, weight: Tensor, confidence: Tensor | None = None) -> Tensor:
    """Return sum(losses * weight * confidence) / sum(weight), or 0 if all weights are 0."""
    scaled = weight if confidence is None else weight * confidence
    normaliser = weight.sum()
    return (losses * scaled).sum() / torch.where(normaliser > 0, normaliser, 1)


def check_candidates(
        candidates_bc: Tensor, logits_bchw: Tensor, labels_bhw: Tensor, mask_bhw: Tensor,
        groups_gc: Tensor) -> None:
    """Check that candidates include all classes of the labels in the same sample."""
    if candidates_bc.shape != logits_bchw.shape[:2]:
        raise ValueError(
            f'expected candidates of shape {tuple(logits_bchw.shape[:2])}, one row a sample, got '
            f'{tuple(candidates_bc.shape)}')
    outside_bg = (groups_gc & ~candidates_bc[:, None]).any(dim=2)
    wrong = outside_bg.gather(1, labels_bhw.flatten(1)).view_as(mask_bhw) & mask_bhw
    if wrong.any():
        sample = int(wrong.flatten(1).any(dim=1).int().argmax())
        found = labels_bhw[sample][wrong[sample]].unique().tolist()
        raise ValueError(f'sample {sample}: labels {found} have classes outside its candidates')


def group_log_probability(
        logits_bchw: Tensor, labels_bhw: Tensor, groups_gc: Tensor,
        candidates_bc: Tensor | None = None) -> Tensor:
    """
    Return the log of the summed probability of each pixel's label's classes, (B, h, w).

    :param labels_bhw: int64, rows of groups_gc.
    :param candidates_bc: bool (B, C), classes whose probabilities sum to 1; default all, also for
        rows without any.
    """
    log_total = log_normaliser(logits_bchw, candidates_bc)
    sizes = groups_gc.sum(dim=1)
    if bool((sizes <= 1).all()):
        member = groups_gc.int().argmax(dim=1)[labels_bhw]
        return logits_bchw.gather(1, member[:, None])[:, 0] - log_total
    member_bchw = groups_gc[labels_bhw].permute(0, 3, 1, 2)
    inside = torch.logsumexp(logits_bchw.masked_fill(~member_bchw, float('-inf')), dim=1)
    return inside - log_total


def log_normaliser(logits_bchw: Tensor, candidates_bc: Tensor | None = None) -> Tensor:
    """Return the log-sum-exp over the candidates, (B, h, w)."""
    if candidates_bc is None:
        return torch.logsumexp(logits_bchw, dim=1)
    out = ~candidates_bc & candidates_bc.any(dim=1, keepdim=True)
    return torch.logsumexp(logits_bchw.masked_fill(out[:, :, None, None], float('-inf')), dim=1)
