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


"""Scale- and shift-invariant depth losses, for data sets of relative depth."""

from __future__ import annotations

from sync_perception.training.losses.depth import check_masked_maps
import torch
from torch import Tensor

LEAST_DEVIATION = 1e-6
DENSE_SHARE = 0.5


def scale_shift_invariant_depth(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Return `scale_shift_invariant` of inverse depth.

    :param predicted_b1hw: positive (B, 1, h, w), metres or any other unit.
    :param true_b1hw: (B, 1, h, w), positive where valid; may be infinite (sky).
    :param valid_b1hw: bool (B, 1, h, w).
    :return: scalar, 0 if nothing is valid.
    :raises ValueError: if the shapes differ or a valid true depth is not positive.
    """
    check_masked_maps(predicted_b1hw, true_b1hw, valid_b1hw)
    wrong = valid_b1hw & ~(true_b1hw > 0)
    if wrong.any():
        raise ValueError(f'valid true depth must be positive, got {true_b1hw[wrong][0].item()}')
    return scale_shift_invariant(
        1 / predicted_b1hw, 1 / true_b1hw.masked_fill(~valid_b1hw, 1), valid_b1hw)


def log_gradient(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor, scales: int = 4) -> Tensor:
    """
    Multi-scale gradient matching of ln(depth), for sharp boundaries; needs dense true depth.

    `gradient_matching` of R = ln p - ln g (Li and Snavely, 2018, eq. 3), averaged over the samples
    with dense depth, and divided by the number of scales. Samples of which less than half of the
    pixels are valid contribute 0: neighbouring points of a laser scan often lie on different
    surfaces.

    :param predicted_b1hw: positive (B, 1, h, w).
    :param true_b1hw: (B, 1, h, w), positive where valid.
    :param valid_b1hw: bool (B, 1, h, w).
    :param scales: number of scales, each at half the resolution of the one before.
    :return: scalar, 0 if no sample is dense.
    :raises ValueError: if the shapes differ or a valid true depth is not positive.
    """
    check_masked_maps(predicted_b1hw, true_b1hw, valid_b1hw)
    dense = valid_b1hw.float().mean(dim=(1, 2, 3)) >= DENSE_SHARE
    if not dense.any():
        return predicted_b1hw.sum() * 0
    valid, true = valid_b1hw[dense], true_b1hw[dense]
    if not (true[valid] > 0).all():
        raise ValueError(f'valid true depth must be positive, got {true[valid].min().item()}')
    residual = predicted_b1hw[dense].log() - true.masked_fill(~valid, 1).log()
    return gradient_matching(residual, valid, scales).sum() / (scales * len(predicted_b1hw))


def scale_shift_invariant(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor,
        trimmed: float = 0.2, gradient_weight: float = 0.5, scales: int = 4) -> Tensor:
    """
    Trimmed L1 and gradient matching after normalising scale and shift per sample, as in MiDaS.

    With d' = (d - median d) / mean |d - median d| of both maps and R = p' - g', the average over
    the samples of sum |R| / (2 M), without the largest fifth, plus gradient_weight times
    `gradient_matching` of R (Ranftl et al., 2020, eq. 4-7 and 10-12).

    :param predicted_b1hw: (B, 1, h, w), inverse depth.
    :param true_b1hw: (B, 1, h, w), inverse depth up to scale and shift, finite where valid.
    :param valid_b1hw: bool (B, 1, h, w); M of a sample's pixels are valid.
    :param trimmed: share of a sample's pixels, those of the largest |R|, that is omitted.
    :param gradient_weight: weight of the gradient matching.
    :param scales: number of scales of the gradient matching, each at half the resolution of the
        one before.
    :return: scalar, the average over the samples with a valid pixel; 0 if there is none.
    :raises ValueError: if the shapes differ, a valid true value is not finite or `trimmed` is not
        in [0, 1).
    """
    check_masked_maps(predicted_b1hw, true_b1hw, valid_b1hw)
    if not torch.isfinite(true_b1hw[valid_b1hw]).all():
        raise ValueError('valid true inverse depth must be finite')
    if not 0 <= trimmed < 1:
        raise ValueError(f'expected a share trimmed in [0, 1), got {trimmed}')
    used = valid_b1hw.flatten(1).any(dim=1)
    if not used.any():
        return predicted_b1hw.sum() * 0
    valid = valid_b1hw[used]
    residual = (without_scale_and_shift(predicted_b1hw[used], valid)
                - without_scale_and_shift(true_b1hw[used], valid))
    loss_b = trimmed_l1(residual, valid, trimmed)
    if gradient_weight:
        loss_b = loss_b + gradient_weight * gradient_matching(residual, valid, scales)
    return loss_b.mean()


def without_scale_and_shift(values_b1hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Return (d - median d) / mean |d - median d| of each sample; 0 where not valid.

    The median of an even number of values is the lower middle one, as in `torch.median`. Each
    sample needs a valid pixel. The deviation is at least 1e-6.
    """
    values = values_b1hw.masked_fill(~valid_b1hw, float('nan')).flatten(1)
    shift = values.nanmedian(dim=1).values[:, None, None, None]
    centred = (values_b1hw - shift).masked_fill(~valid_b1hw, 0)
    count = valid_b1hw.sum(dim=(1, 2, 3), keepdim=True)
    deviation = centred.abs().sum(dim=(1, 2, 3), keepdim=True) / count
    return centred / deviation.clamp(min=LEAST_DEVIATION)


def trimmed_l1(residual_b1hw: Tensor, valid_b1hw: Tensor, trimmed: float = 0.2) -> Tensor:
    """
    Return the trimmed sum of |R| / (2 M) of each sample, (B,).

    Of M valid pixels, the floor((1 - trimmed) M) with the smallest |R| count.
    """
    sizes = residual_b1hw.abs().masked_fill(~valid_b1hw, float('inf')).flatten(1)
    ordered = sizes.sort(dim=1).values
    count = valid_b1hw.flatten(1).sum(dim=1, keepdim=True)
    kept = torch.arange(ordered.shape[1], device=ordered.device) < (
        (1 - trimmed) * count + 1e-4).floor()
    return ordered.masked_fill(~kept, 0).sum(dim=1) / (2 * count[:, 0])


def gradient_matching(residual_b1hw: Tensor, valid_b1hw: Tensor, scales: int = 4) -> Tensor:
    """
    Return the sum over scales of the mean |dR/dx| + |dR/dy| of each sample, (B,).

    Only differences between valid neighbours count; the sum of a scale is divided by its number of
    valid pixels. Each scale takes every second pixel of the one before.
    """
    total = residual_b1hw.new_zeros(len(residual_b1hw))
    for scale in range(scales):
        residual = residual_b1hw[..., ::2 ** scale, ::2 ** scale]
        valid = valid_b1hw[..., ::2 ** scale, ::2 ** scale]
        across = residual.diff(dim=3).abs() * (valid[..., 1:] & valid[..., :-1])
        down = residual.diff(dim=2).abs() * (valid[..., 1:, :] & valid[..., :-1, :])
        count = valid.sum(dim=(1, 2, 3)).clamp(min=1)
        total = total + (across.sum(dim=(1, 2, 3)) + down.sum(dim=(1, 2, 3))) / count
    return total
