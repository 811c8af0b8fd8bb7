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


"""Semantic ranking loss: the order of depth across semantic borders."""

from __future__ import annotations

from typing import NamedTuple

from sync_perception.labels import VOID
from sync_perception.training.losses.depth import check_masked_maps
import torch
from torch import Tensor
from torch.nn import functional


class PixelPairs(NamedTuple):
    """
    Pairs of pixels of a batch of images.

    :param first_bp: int64 (B, P), index y w + x of the first pixel.
    :param second_bp: int64 (B, P), of the second one.
    :param valid_bp: bool (B, P), whether the pair is valid.
    """

    first_bp: Tensor
    second_bp: Tensor
    valid_bp: Tensor


def semantic_ranking(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor, labels_bhw: Tensor,
        generator: torch.Generator, borders: int = 512, reach: int = 8,
        ratio: float = 1.03) -> Tensor:
    """
    Ranking loss of depth near semantic borders, ordered by true depth (Li et al., 2021).

    It is `ranking_loss` of log depth at `border_pairs`, with the order of `depth_order`.

    :param predicted_b1hw: positive (B, 1, h, w), metres.
    :param true_b1hw: (B, 1, h, w), positive where valid; may be infinite (sky).
    :param valid_b1hw: bool (B, 1, h, w).
    :param labels_bhw: integer (B, h, w), 255 void; true or predicted labels.
    :param generator: random generator of the pairs.
    :param borders: border positions drawn per sample; each gives three pairs.
    :param reach: greatest distance from the border, pixels.
    :param ratio: depths within this factor count as equal.
    :return: scalar, 0 if no pair has a known order.
    :raises ValueError: if shapes differ or a parameter is out of range.
    """
    check_masked_maps(predicted_b1hw, true_b1hw, valid_b1hw)
    if labels_bhw.shape != predicted_b1hw[:, 0].shape:
        raise ValueError(
            f'expected labels of shape {tuple(predicted_b1hw[:, 0].shape)}, got '
            f'{tuple(labels_bhw.shape)}')
    pairs = border_pairs(labels_bhw, generator, borders, reach)
    order_bp, pairs = depth_order(true_b1hw, valid_b1hw, pairs, ratio)
    return ranking_loss(predicted_b1hw.log(), order_bp, pairs)


def border_pairs(
        labels_bhw: Tensor, generator: torch.Generator, borders: int = 512, reach: int = 8
        ) -> PixelPairs:
    """
    Draw pairs of pixels on a line across a semantic border.

    A border lies between two neighbouring pixels of different labels, neither void. For each drawn
    border, two pixels on either side are drawn at different distances up to `reach`, a < b <
    border < c < d. The pairs are (a, b), (b, c) and (c, d), so that they cover the step at the
    border and its absence beside it (Xian et al., 2020, sec. 3.2). Pairs that leave the image or
    contain void are invalid, as are pairs across the border with equal labels, and pairs on one
    side with different labels.

    :param labels_bhw: integer (B, h, w), 255 void.
    :param generator: random generator, used on its own device.
    :param borders: border positions drawn per sample, with replacement.
    :param reach: pixels, at least 2.
    :return: 3 * borders pairs per sample, ordered (a, b), (b, c), (c, d); none is valid in a
        sample without a border.
    :raises ValueError: if borders or reach is too small or the labels are not (B, h, w).
    """
    if labels_bhw.ndim != 3:
        raise ValueError(f'expected labels (B, h, w), got {tuple(labels_bhw.shape)}')
    if borders < 1 or reach < 2:
        raise ValueError(
            f'expected at least 1 border and a reach of at least 2, got {borders} and {reach}')
    first, second, valid = zip(*(
        pairs_of_image(labels, generator, borders, reach) for labels in labels_bhw))
    return PixelPairs(torch.stack(first), torch.stack(second), torch.stack(valid))


def pairs_of_image(
        labels_hw: Tensor, generator: torch.Generator, borders: int, reach: int
        ) -> tuple[Tensor, Tensor, Tensor]:
    """Return first, second and valid of `border_pairs` for one image, (P,) each."""
    device = labels_hw.device
    height, width = labels_hw.shape
    draws = torch.rand(5, borders, generator=generator, device=generator.device).to(device)
    places = border_places(labels_hw)
    if len(places) == 0:
        nowhere = torch.zeros(3 * borders, dtype=torch.int64, device=device)
        return nowhere, nowhere, nowhere.bool()
    y, x, downward = places[(draws[0] * len(places)).long()].unbind(dim=1)
    before = two_distances(draws[1:3], reach)
    after = two_distances(draws[3:5], reach)
    steps = torch.stack([-before[1], -before[0], after[0] + 1, after[1] + 1])
    ys, xs = y + steps * downward, x + steps * (1 - downward)
    inside = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
    pixels = (ys.clamp(0, height - 1) * width + xs.clamp(0, width - 1))
    labels = labels_hw.flatten()[pixels]
    known = inside & (labels != VOID)
    same = labels[:-1] == labels[1:]
    expected = same.new_tensor([True, False, True])[:, None]
    valid = known[:-1] & known[1:] & (same == expected)
    return pixels[:-1].flatten(), pixels[1:].flatten(), valid.flatten()


def border_places(labels_hw: Tensor) -> Tensor:
    """Return int64 (N, 3): y, x, and 1 for a border below that pixel, 0 for one to its right."""
    known = labels_hw != VOID
    right = (labels_hw.diff(dim=1) != 0) & known[:, 1:] & known[:, :-1]
    below = (labels_hw.diff(dim=0) != 0) & known[1:] & known[:-1]
    return torch.cat([
        functional.pad(border.nonzero(), (0, 1), value=downward)
        for downward, border in enumerate((right, below))])


def two_distances(draws_2n: Tensor, reach: int) -> Tensor:
    """Convert uniform numbers in [0, 1) to 0 <= near < far < reach, int64 (2, N)."""
    near = (draws_2n[0] * reach).long()
    other = (draws_2n[1] * (reach - 1)).long()
    other = other + (other >= near)
    return torch.stack([torch.minimum(near, other), torch.maximum(near, other)])


def depth_order(
        true_b1hw: Tensor, valid_b1hw: Tensor, pairs: PixelPairs, ratio: float = 1.03
        ) -> tuple[Tensor, PixelPairs]:
    """
    Return the order of pairs by true depth.

    :param true_b1hw: (B, 1, h, w), positive where valid; two infinite depths have no order.
    :param valid_b1hw: bool (B, 1, h, w).
    :param pairs: pairs of the same images.
    :param ratio: depths within this factor count as equal; above 1.
    :return: float (B, P), 1 where the first is farther by more than the ratio, -1 where the second
        is, otherwise 0; and the pairs, valid only where both depths are known.
    :raises ValueError: if a valid true depth is not positive or the ratio not above 1.
    """
    if ratio <= 1:
        raise ValueError(f'expected a ratio above 1, got {ratio}')
    wrong = valid_b1hw & ~(true_b1hw > 0)
    if wrong.any():
        raise ValueError(f'valid true depth must be positive, got {true_b1hw[wrong][0].item()}')
    true, known = true_b1hw.flatten(1), valid_b1hw.flatten(1)
    first, second = (true.gather(1, pixels) for pixels in pairs[:2])
    known = known.gather(1, pairs.first_bp) & known.gather(1, pairs.second_bp)
    known = known & (torch.isfinite(first) | torch.isfinite(second))
    order = (first > ratio * second).to(true.dtype) - (second > ratio * first).to(true.dtype)
    return order, pairs._replace(valid_bp=pairs.valid_bp & known)


def ranking_loss(values_b1hw: Tensor, order_bp: Tensor, pairs: PixelPairs) -> Tensor:
    """
    Mean over pairs of ln(1 + exp(-l (d_i - d_j))), or (d_i - d_j)^2 where the order l is 0.

    Source: Chen et al., 2016, eq. 2; Li et al., 2021, at semantic borders.

    :param values_b1hw: (B, 1, h, w), ranked values; only differences count, so that log depth is
        ranked independently of scale.
    :param order_bp: (B, P): 1 if the first should be greater, -1 if the second, 0 if equal.
    :param pairs: pairs of pixels; invalid ones do not count.
    :return: scalar, 0 if no pair is valid.
    :raises ValueError: if the order has another shape than the pairs, or other values.
    """
    if order_bp.shape != pairs.first_bp.shape or len(order_bp) != len(values_b1hw):
        raise ValueError(
            f'expected orders of shape ({len(values_b1hw)}, {pairs.first_bp.shape[-1]}), got '
            f'{tuple(order_bp.shape)}')
    order = order_bp[pairs.valid_bp]
    if not ((order == 0) | (order.abs() == 1)).all():
        raise ValueError(f'expected orders 1, 0 or -1, got {order.unique().tolist()}')
    if order.numel() == 0:
        return values_b1hw.sum() * 0
    values = values_b1hw.flatten(1)
    difference = (values.gather(1, pairs.first_bp) - values.gather(1, pairs.second_bp))[
        pairs.valid_bp]
    ranked = functional.softplus(-order * difference)
    return torch.where(order == 0, difference.square(), ranked).mean()
