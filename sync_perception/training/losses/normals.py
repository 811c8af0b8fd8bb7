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

"""Losses between predicted and true surface normals."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

UNIT_TOLERANCE = 0.01


def cosine_distance(predicted_b3hw: Tensor, true_b3hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Mean of 1 - cos(angle) between predicted and true normals: 0 if equal, 2 if opposite.

    Unlike the angle itself it has a finite gradient everywhere, which vanishes where the two
    agree.

    :param predicted_b3hw: (B, 3, h, w), of any non-zero length.
    :param true_b3hw: (B, 3, h, w), unit vectors where valid.
    :param valid_b1hw: bool (B, 1, h, w).
    :return: scalar, 0 if nothing is valid.
    :raises ValueError: if the shapes differ or a valid true normal has not length 1.
    """
    predicted, true = valid_normals(predicted_b3hw, true_b3hw, valid_b1hw)
    if len(true) == 0:
        return predicted_b3hw.sum() * 0
    return (1 - functional.cosine_similarity(predicted, true, dim=-1)).mean()


def angular_distance(predicted_b3hw: Tensor, true_b3hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Mean angle between predicted and true normals, radians.

    Computed as atan2(|p x g|, p . g), which is exact for small angles, unlike the arc cosine. Its
    gradient has the same magnitude for any angle (an L1 loss of the angle), and is finite where
    the two are equal or opposite.

    :param predicted_b3hw: (B, 3, h, w), of any non-zero length.
    :param true_b3hw: (B, 3, h, w), unit vectors where valid.
    :param valid_b1hw: bool (B, 1, h, w).
    :return: scalar in [0, pi], 0 if nothing is valid.
    :raises ValueError: if the shapes differ or a valid true normal has not length 1.
    """
    predicted, true = valid_normals(predicted_b3hw, true_b3hw, valid_b1hw)
    if len(true) == 0:
        return predicted_b3hw.sum() * 0
    sine = torch.linalg.cross(predicted, true, dim=-1).norm(dim=-1)
    return torch.atan2(sine, (predicted * true).sum(dim=-1)).mean()


def valid_normals(
        predicted_b3hw: Tensor, true_b3hw: Tensor, valid_b1hw: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the predicted and the true normals of the valid pixels, (N, 3) each.

    :raises ValueError: if the shapes differ or a valid true normal has not length 1.
    """
    batch, _, *size = true_b3hw.shape
    if predicted_b3hw.shape != (batch, 3, *size) or valid_b1hw.shape != (batch, 1, *size):
        raise ValueError(
            'expected normals (B, 3, h, w) and a mask (B, 1, h, w), got '
            f'{tuple(predicted_b3hw.shape)}, {tuple(true_b3hw.shape)}, {tuple(valid_b1hw.shape)}')
    mask = valid_b1hw[:, 0]
    predicted, true = predicted_b3hw.movedim(1, -1)[mask], true_b3hw.movedim(1, -1)[mask]
    lengths = true.norm(dim=-1)
    if not ((lengths - 1).abs() < UNIT_TOLERANCE).all():
        raise ValueError(
            'valid true normals must have length 1, got lengths from '
            f'{lengths.min().item()} to {lengths.max().item()}')
    return predicted, true
