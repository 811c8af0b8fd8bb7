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

"""The loss of normals: hand-computed values, gradients, bad input."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.normals import cosine_distance
import torch
from torch.nn import functional


def maps(*vectors):
    """Return a (1, 3, 1, N) map."""
    return torch.tensor(vectors, dtype=torch.float64).T[None, :, None]


def random_case():
    """Return predicted normals, true ones and their mask, 3 x 4 pixels, float64."""
    rng = torch.Generator().manual_seed(0)
    predicted, true = torch.randn(2, 2, 3, 3, 4, generator=rng, dtype=torch.float64).unbind()
    return predicted, functional.normalize(true, dim=1), torch.rand(2, 1, 3, 4, generator=rng) > .3


def test_by_hand():
    # equal, 60 degrees apart, opposite and of another length, unknown
    predicted = maps([0, 0, -1.0], [0, 1, 0], [0, 0, 3], [1, 0, 0])
    angle = math.radians(60)
    true = maps([0, 0, -1.0], [0, math.cos(angle), math.sin(angle)], [0, 0, -1], [math.nan] * 3)
    valid = torch.tensor([True, True, True, False])[None, None, None]
    assert cosine_distance(predicted, true, valid).item() == pytest.approx((0 + 0.5 + 2) / 3)


def test_it_is_half_the_squared_distance_of_unit_vectors():
    predicted, true, valid = random_case()
    squares = (functional.normalize(predicted, dim=1) - true).square().sum(dim=1, keepdim=True)
    torch.testing.assert_close(
        cosine_distance(predicted, true, valid), squares[valid].mean() / 2)


def test_gradients():
    predicted, true, valid = random_case()
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: cosine_distance(p, true, valid), predicted)
    cosine_distance(predicted, true, valid).backward()
    learns = (predicted.grad != 0).any(dim=1, keepdim=True)
    assert torch.equal(learns, valid)
    agreed = true.clone().requires_grad_()
    cosine_distance(agreed, true, valid).backward()
    torch.testing.assert_close(agreed.grad, torch.zeros_like(true))


def test_nothing_valid_costs_nothing():
    predicted, true, valid = random_case()
    predicted.requires_grad_()
    loss = cosine_distance(predicted, true * math.nan, torch.zeros_like(valid))
    loss.backward()
    assert loss.item() == 0 and (predicted.grad == 0).all()


def test_bad_input():
    predicted, true, valid = random_case()
    with pytest.raises(ValueError, match=r'mask \(B, 1, h, w\), got.*\(2, 3, 3, 2\)'):
        cosine_distance(predicted[..., :2], true, valid)
    with pytest.raises(ValueError, match='mask'):
        cosine_distance(predicted, true, valid[:, 0])
    for wrong in (true * 2, true * math.nan):
        with pytest.raises(ValueError, match='length 1'):
            cosine_distance(predicted, wrong, valid)
