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

"""The losses of normals: hand-computed values, gradients, bad input."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.normals import angular_distance, cosine_distance
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


def test_angles_by_hand_and_by_the_arc_cosine():
    angles = torch.deg2rad(torch.tensor([0.0, 90, 150, 180], dtype=torch.float64))
    predicted = torch.stack([torch.zeros(4), angles.sin(), angles.cos()])[None, :, None] * 3
    true = maps(*[[0, 0, 1.0]] * 4)
    valid = torch.ones(1, 1, 1, 4, dtype=torch.bool)
    assert angular_distance(predicted, true, valid).item() == pytest.approx(
        math.radians(420 / 4))
    predicted, true, valid = random_case()
    cosine = (functional.normalize(predicted, dim=1) * true).sum(dim=1, keepdim=True)
    torch.testing.assert_close(
        angular_distance(predicted, true, valid), cosine[valid].acos().mean())


def test_small_angles_keep_their_size():
    """In single precision, where the arc cosine of the product would say 0."""
    predicted = torch.tensor([0.0, 1e-5, 1]).reshape(1, 3, 1, 1)
    true = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    valid = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert angular_distance(predicted, true, valid).item() == pytest.approx(1e-5)


@pytest.mark.parametrize('loss', [cosine_distance, angular_distance])
def test_gradients(loss):
    predicted, true, valid = random_case()
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: loss(p, true, valid), predicted, fast_mode=True)
    loss(predicted, true, valid).backward()
    learns = (predicted.grad != 0).any(dim=1, keepdim=True)
    assert torch.equal(learns, valid)


@pytest.mark.parametrize('sign', [1, -1])
def test_gradients_where_the_normals_agree_or_oppose(sign):
    _, true, valid = random_case()
    parallel = (sign * true).requires_grad_()
    cosine_distance(parallel, true, valid).backward()
    torch.testing.assert_close(parallel.grad, torch.zeros_like(true))
    parallel.grad = None
    angular_distance(parallel, true, valid).backward()
    assert torch.isfinite(parallel.grad).all()
    assert (parallel.grad.norm(dim=1).max() * valid.sum()).item() <= 1 + 1e-9


@pytest.mark.parametrize('loss', [cosine_distance, angular_distance])
def test_nothing_valid_costs_nothing(loss):
    predicted, true, valid = random_case()
    predicted.requires_grad_()
    nothing = loss(predicted, true * math.nan, torch.zeros_like(valid))
    nothing.backward()
    assert nothing.item() == 0 and (predicted.grad == 0).all()


@pytest.mark.parametrize('loss', [cosine_distance, angular_distance])
def test_bad_input(loss):
    predicted, true, valid = random_case()
    with pytest.raises(ValueError, match=r'\(B, 1, h, w\).*\(2, 3, 3, 2\)'):
        loss(predicted[..., :2], true, valid)
    with pytest.raises(ValueError, match='mask'):
        loss(predicted, true, valid[:, 0])
    for wrong in (true * 2, true * math.nan):
        with pytest.raises(ValueError, match='length 1'):
            loss(predicted, wrong, valid)
