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


"""Self-ranking loss: aligns steps of predicted depth with semantic borders, without truth."""

from __future__ import annotations

import math
from typing import NamedTuple

from sync_perception.labels import VOID
from sync_perception.training.losses.ranking import border_places
import torch
from torch import Tensor
from torch.nn import functional


class Steps(NamedTuple):
    """
    Steps of depth at semantic borders, measured inside the regions on both sides.

    :param pixels_2bp: int64 (2, B, P), index y w + x of a pixel on either side of a border.
    :param inside_2bp: float (2, B, P), log depth inside those pixels' regions.
    :param least_bp: float (B, P), lower bound of its difference at the border.
    :param valid_bp: bool (B, P), whether the step is certain.
    """

    pixels_2bp: Tensor
    inside_2bp: Tensor
    least_bp: Tensor
    valid_bp: Tensor


def self_ranking(
        predicted_b1hw: Tensor, labels_bhw: Tensor, generator: torch.Generator,
        borders: int = 512, reach: int = 4, ratio: float = 1.1) -> Tensor:
    """
    Ranking loss of depth at semantic borders, ordered by the same depth inside the regions.

    For self-supervised depth from motion, in which the depth of a near object bleeds a few pixels
    into its background. Where `border_steps` finds a certain step, a pixel at most `reach` from
    the border is ranked against the depth inside the *other* region: ln(1 + exp(-l (d_i - d_j))),
    with d = ln(depth), l = 1 if i should be farther, -1 if j. The depth inside gets no gradient.
    The loss of a pixel is zero if it already differs from the other region by the step, up to
    `ratio`; so only the side of a border with the wrong depth moves, and no further than the step.

    Source: Li et al., 2021, rank pairs of pixels at semantic borders in self-supervised learning
    by this function, and guard against errors of labels and of depth. The source of the order and
    the test of certainty are our own. Moving depth steps to the labels' border is the idea of Zhu
    et al., "The Edge of Depth", 2020.

    :param predicted_b1hw: positive (B, 1, h, w), of any scale.
    :param labels_bhw: integer (B, h, w), 255 void; may be predicted.
    :param generator: random generator of the positions.
    :param borders: border positions drawn per sample; each gives two pairs.
    :param reach: number of ranked pixels on each side of a border; the same number beyond them is
        measured.
    :param ratio: depths within this factor are no step.
    :return: scalar, the mean over all pairs at certain steps; 0 if there are none.
    :raises ValueError: if shapes differ or a parameter is out of range.
    """
    if labels_bhw.shape != predicted_b1hw[:, 0].shape or predicted_b1hw.shape[1] != 1:
        raise ValueError(
            'expected depth (B, 1, h, w) and labels (B, h, w), got '
            f'{tuple(predicted_b1hw.shape)} and {tuple(labels_bhw.shape)}')
    values = predicted_b1hw.log()
    steps = border_steps(predicted_b1hw.detach(), labels_bhw, generator, borders, reach, ratio)
    if not steps.valid_bp.any():
        return predicted_b1hw.sum() * 0
    near = values.flatten(1).expand(2, -1, -1).gather(2, steps.pixels_2bp)
    upward = (steps.inside_2bp[1] - steps.inside_2bp[0]).sign()
    apart = upward * torch.stack([steps.inside_2bp[1] - near[0], near[1] - steps.inside_2bp[0]])
    apart = apart[:, steps.valid_bp]
    enough = apart >= steps.least_bp[steps.valid_bp] - math.log(ratio)
    return functional.softplus(-apart).masked_fill(enough, 0).mean()


def border_steps(
        depth_b1hw: Tensor, labels_bhw: Tensor, generator: torch.Generator,
        borders: int = 512, reach: int = 4, ratio: float = 1.1) -> Steps:
    """
    Find steps of depth at semantic borders, on lines across them.

    The depth inside a region is the median of inverse depth over `reach` pixels of the line, at a
    distance of `reach` or more from the border. The inverse depth of a plane is linear along a
    line, so its variation over these pixels bounds its difference to the median at the border. A
    step is certain if the regions still differ by more than `ratio`, all 4 `reach` pixels are in
    the image, and each half of them has one label. So the foot of a wall is no step, although the
    ground in front of it is nearer.

    :param depth_b1hw: positive (B, 1, h, w).
    :param labels_bhw: integer (B, h, w), 255 void.
    :param generator: random generator, used on its own device.
    :param borders: border positions drawn per sample, with replacement.
    :param reach: pixels, at least 2.
    :param ratio: above 1.
    :return: one step per drawn position; none is valid in a sample without a border.
    :raises ValueError: if a parameter is out of range.
    """
    if borders < 1 or reach < 2 or ratio <= 1:
        raise ValueError(
            'expected at least 1 border, a reach of at least 2 and a ratio above 1, got '
            f'{borders}, {reach} and {ratio}')
    found = zip(*(
        steps_of_image(1 / depth, labels, generator, borders, reach, math.log(ratio))
        for depth, labels in zip(depth_b1hw[:, 0], labels_bhw)))
    pixels, inside, least, valid = found
    return Steps(torch.stack(pixels, dim=1), torch.stack(inside, dim=1),
                 torch.stack(least), torch.stack(valid))


def steps_of_image(
        inverse_hw: Tensor, labels_hw: Tensor, generator: torch.Generator, borders: int,
        reach: int, difference: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the fields of `border_steps` for one image: (2, P) twice, then (P,) twice."""
    device = inverse_hw.device
    draws = torch.rand(3, borders, generator=generator, device=generator.device).to(device)
    places = border_places(labels_hw)
    if len(places) == 0:
        nowhere = torch.zeros(2, borders, device=device)
        return nowhere.long(), nowhere, nowhere[0], nowhere[0].bool()
    y, x, downward = places[(draws[0] * len(places)).long()].unbind(dim=1)
    distances = torch.arange(2 * reach, device=device)
    away = torch.stack([-distances, distances + 1])[..., None]  # on either side of the border
    ys, xs = y + away * downward, x + away * (1 - downward)
    height, width = inverse_hw.shape
    there = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
    pixels = ys.clamp(0, height - 1) * width + xs.clamp(0, width - 1)
    labels = labels_hw.flatten()[pixels]
    same = (there & (labels == labels[:, :1])).all(dim=1).all(dim=0)
    inverse = inverse_hw.flatten()[pixels[:, reach:]]
    inside = inverse.quantile(0.5, dim=1)
    # distance from the measured pixels' centre to the border over their extent
    doubt = 1.5 * reach / (reach - 1) * (inverse.amax(dim=1) - inverse.amin(dim=1))
    nearer = (inside - doubt).gather(0, inside.argmax(dim=0, keepdim=True))[0]
    farther = (inside + doubt).gather(0, inside.argmin(dim=0, keepdim=True))[0]
    least = (nearer / farther).clamp(min=1e-6).log()
    near = pixels.gather(1, (draws[1:] * reach).long()[:, None]).squeeze(1)
    return near, -inside.log(), least, same & (least > difference)


def border_labels(
        labels_bhw: Tensor, expert_bhw: Tensor, sure_bhw: Tensor,
        logits_bchw: Tensor | None = None, probability: float = 1.0) -> Tensor:
    """
    Return the best available labels of each sample for its semantic borders.

    These are the true labels if a sample has any, else an expert's where it is certain, else the
    network's own where they are probable. They are never mixed in one sample: their label spaces
    may differ, and the limit of one kind is not a semantic border.

    :param labels_bhw: integer (B, h, w), true labels, 255 void.
    :param expert_bhw: integer (B, h, w), expert labels, 255 void.
    :param sure_bhw: bool (B, h, w), where the expert is certain.
    :param logits_bchw: (B, C, h, w), the network's logits; None to exclude its labels.
    :param probability: least probability of the network's own labels.
    :return: integer (B, h, w), 255 void.
    """
    candidates = [labels_bhw, expert_bhw.masked_fill(~sure_bhw, VOID)]
    if logits_bchw is not None:
        probable, classes = logits_bchw.detach().float().softmax(dim=1).max(dim=1)
        candidates.append(classes.masked_fill(probable < probability, VOID))
    best = candidates.pop()
    while candidates:
        better = candidates.pop()
        some = (better != VOID).flatten(1).any(dim=1)[:, None, None]
        best = torch.where(some, better, best)
    return best
