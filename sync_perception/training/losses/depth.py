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

"""Losses between predicted and true depth, in any common unit."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def silog(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor,
        variance_focus: float = 0.85) -> Tensor:
    """
    Scale-invariant logarithmic error (square root of Eigen et al., 2014, eq. 4).

    With e = ln p - ln g over all valid pixels: sqrt(mean(e^2) - variance_focus mean(e)^2).

    :param predicted_b1hw: positive (B, 1, h, w).
    :param true_b1hw: (B, 1, h, w), positive where valid.
    :param valid_b1hw: bool (B, 1, h, w).
    :param variance_focus: weight of the scale invariance: 0 gives the plain logarithmic RMSE, 1
        ignores the common scale.
    :return: scalar, 0 if nothing is valid.
    """
    error = log_error(predicted_b1hw, true_b1hw, valid_b1hw)
    if error.numel() == 0:
        return predicted_b1hw.sum() * 0
    variance = error.square().mean() - variance_focus * error.mean().square()
    return variance.clamp(min=1e-8).sqrt()


def log_l1(predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Mean absolute error of log depth, to first order the mean relative error.

    :return: scalar, 0 if nothing is valid.
    """
    error = log_error(predicted_b1hw, true_b1hw, valid_b1hw)
    return error.abs().mean() if error.numel() else predicted_b1hw.sum() * 0


def l1(predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Mean absolute error, in the unit of the maps.

    :param predicted_b1hw: (B, 1, h, w).
    :param true_b1hw: (B, 1, h, w), finite where valid.
    :param valid_b1hw: bool (B, 1, h, w).
    :return: scalar, 0 if nothing is valid.
    :raises ValueError: if the shapes differ or a valid true value is not finite.
    """
    predicted, true = valid_pairs(predicted_b1hw, true_b1hw, valid_b1hw)
    error = predicted - true
    return error.abs().mean() if error.numel() else predicted_b1hw.sum() * 0


def berhu(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor,
        share: float = 0.2) -> Tensor:
    """
    Reverse Huber loss with adaptive threshold (Laina et al., 2016, eq. 1-2).

    With e = p - g and c = share * max |e| over all valid pixels of the batch, the mean of
    `reverse_huber(e, c)`. The gradient treats c as a constant: otherwise a greater c would lower
    the loss of every pixel beyond it, and these pixels would push the worst one away from the
    truth.

    :param predicted_b1hw: (B, 1, h, w), in any unit, also disparity.
    :param true_b1hw: (B, 1, h, w), finite where valid.
    :param valid_b1hw: bool (B, 1, h, w).
    :param share: threshold as a share of the greatest error, above 0.
    :return: scalar, 0 if nothing is valid.
    :raises ValueError: if the shapes differ, a valid true value is not finite or the share is
        not positive.
    """
    if share <= 0:
        raise ValueError(f'expected a share above 0, got {share}')
    predicted, true = valid_pairs(predicted_b1hw, true_b1hw, valid_b1hw)
    error = predicted - true
    if error.numel() == 0:
        return predicted_b1hw.sum() * 0
    threshold = share * error.detach().abs().max()
    return reverse_huber(error, threshold.clamp(min=torch.finfo(error.dtype).eps)).mean()


def reverse_huber(error: Tensor, threshold: Tensor | float) -> Tensor:
    """
    Return |e| up to the threshold c, (e^2 + c^2) / (2 c) beyond it.

    Value and slope are continuous at c. The error may have any shape; the threshold is positive.
    """
    size = error.abs()
    return torch.where(size <= threshold, size, (size.square() + threshold ** 2) / (2 * threshold))


def log_gaussian_nll(
        predicted_b1hw: Tensor, true_b1hw: Tensor, valid_b1hw: Tensor,
        log_variance_b1hw: Tensor) -> Tensor:
    """
    Negative log-likelihood of ln g under a Gaussian of mean ln p and the predicted variance.

    With s the log-variance and e = ln p - ln g: mean((e^2 exp(-s) + s + ln 2 pi) / 2), which is
    minimal if exp(s) is the expected e^2 (Kendall and Gal, 2017, eq. 8, applied to log depth, in
    which a relative error has the same size near and far).

    :param log_variance_b1hw: (B, 1, h, w), any real numbers.
    :return: scalar, 0 if nothing is valid.
    :raises ValueError: if the shapes differ or a valid true depth is not positive.
    """
    if log_variance_b1hw.shape != predicted_b1hw.shape:
        raise ValueError(
            f'expected a log-variance of the shape of the depth {tuple(predicted_b1hw.shape)}, '
            f'got {tuple(log_variance_b1hw.shape)}')
    error = log_error(predicted_b1hw, true_b1hw, valid_b1hw)
    log_variance = log_variance_b1hw[valid_b1hw]
    if error.numel() == 0:
        return (predicted_b1hw.sum() + log_variance_b1hw.sum()) * 0
    exponent = error.square() * torch.exp(-log_variance) + log_variance
    return 0.5 * (exponent.mean() + math.log(2 * math.pi))


def log_error(predicted: Tensor, true: Tensor, valid: Tensor) -> Tensor:
    """
    Return ln p - ln g of the valid pixels, (N,).

    :raises ValueError: if the shapes differ or a valid true depth is not positive and finite.
    """
    prediction, target = valid_pairs(predicted, true, valid)
    if (target <= 0).any():
        raise ValueError(f'valid true depth must be positive, got {target.min().item()}')
    return torch.log(prediction) - torch.log(target)


def valid_pairs(predicted: Tensor, true: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the predicted and the true values of the valid pixels, (N,) each.

    :raises ValueError: if the shapes differ, the mask is not bool or a valid true value is not
        finite.
    """
    check_masked_maps(predicted, true, valid)
    target = true[valid]
    finite = torch.isfinite(target)
    if not finite.all():
        raise ValueError(f'valid true depth must be finite, got {target[~finite][0].item()}')
    return predicted[valid], target


def check_masked_maps(predicted: Tensor, true: Tensor, valid: Tensor) -> None:
    """Check that maps and mask have equal shapes, and that the mask is bool."""
    if not predicted.shape == true.shape == valid.shape:
        raise ValueError(
            'expected depth maps and mask of one shape, got '
            f'{tuple(predicted.shape)}, {tuple(true.shape)}, {tuple(valid.shape)}')
    if valid.dtype != torch.bool:
        raise ValueError(f'expected a mask of bool, got {valid.dtype}')
