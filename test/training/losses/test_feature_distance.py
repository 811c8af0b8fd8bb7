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

"""The distance between features: by hand, gradients, bad input."""

from __future__ import annotations

import pytest
from sync_perception.training.losses.distillation import feature_distance
import torch


def test_by_hand():
    """Two places: a difference of (3, 4), whose norm is 5, and none."""
    reference = torch.ones(1, 2, 1, 2)
    features = reference + torch.tensor([[3.0, 0], [4, 0]])[None, :, None]
    assert feature_distance(features, reference).item() == pytest.approx(2.5)


def test_the_same_features_have_no_distance_and_a_finite_gradient():
    features = torch.rand(2, 3, 4, 5, requires_grad=True)
    loss = feature_distance(features, features.detach().clone())
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(features.grad).all()


def test_gradients():
    torch.manual_seed(0)
    features, reference = torch.rand(2, 2, 3, 3, 2, dtype=torch.float64)
    # the loss is computed in float32, whatever comes in
    assert torch.autograd.gradcheck(
        lambda x: feature_distance(x, reference).double(), features.requires_grad_(),
        eps=1e-2, atol=1e-3)


def test_the_reference_does_not_learn():
    features, reference = torch.rand(2, 1, 3, 2, 2, requires_grad=True).unbind()
    reference.retain_grad()
    feature_distance(features, reference).backward()
    assert reference.grad is None


def test_bad_input():
    with pytest.raises(ValueError, match=r'\(1, 3, 2, 2\).*\(1, 4, 2, 2\)'):
        feature_distance(torch.rand(1, 3, 2, 2), torch.rand(1, 4, 2, 2))
