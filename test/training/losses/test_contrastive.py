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

"""Contrastive losses: against formulas written out, transformers' CLIP, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive.dense_clip import ContrastiveConfig, ContrastiveModel
from sync_perception.training.losses.contrastive import consistency_loss, symmetric_info_nce
import torch
from torch import nn
from torch.nn import functional

TOWER = {
    'image_size': 8, 'patch_size': 4, 'hidden_size': 8, 'intermediate_size': 8,
    'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 4}


@pytest.fixture
def similarity():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5)) * 3)


def small_model(**settings) -> ContrastiveModel:
    """Build a model of eight channels in float64."""
    pytest.importorskip('transformers')
    torch.manual_seed(0)
    return ContrastiveModel(ContrastiveConfig(
        LabelSpace.load('kitti6').to_dict(), TOWER, **settings)).double()


def small_maps(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw depth within the range and soft labels, smaller than the tower's input."""
    torch.manual_seed(1)
    depth = torch.rand(batch, 1, 4, 3, dtype=torch.float64) * 60 + 5
    probabilities = torch.randn(batch, 6, 4, 3, dtype=torch.float64).softmax(dim=1)
    return depth.requires_grad_(), probabilities.requires_grad_()


def test_info_nce_by_its_formula(similarity):
    s = similarity.numpy()
    each = [-2 * s[i, i] + np.log(np.exp(s[i]).sum()) + np.log(np.exp(s[:, i]).sum())
            for i in range(5)]
    assert symmetric_info_nce(similarity).item() == pytest.approx(np.mean(each) / 2)


def test_info_nce_is_the_mean_of_two_cross_entropies(similarity):
    partners = torch.arange(5)
    expected = 0.5 * (functional.cross_entropy(similarity, partners)
                      + functional.cross_entropy(similarity.T, partners))
    torch.testing.assert_close(symmetric_info_nce(similarity), expected)


def test_info_nce_is_clips_own(similarity):
    clip = pytest.importorskip('transformers.models.clip.modeling_clip')
    loss = getattr(clip, 'image_text_contrastive_loss', None) or clip.clip_loss
    torch.testing.assert_close(symmetric_info_nce(similarity), loss(similarity))


def test_info_nce_at_chance_and_when_all_is_known():
    assert symmetric_info_nce(torch.zeros(32, 32)).item() == pytest.approx(math.log(32))
    assert symmetric_info_nce(100 * torch.eye(32)).item() < 1e-6


def test_info_nce_gradient(similarity):
    torch.autograd.gradcheck(symmetric_info_nce, similarity.requires_grad_())


@pytest.mark.parametrize('shape', [(3, 4), (3,), (2, 3, 3)])
def test_info_nce_needs_a_square(shape):
    with pytest.raises(ValueError, match='square'):
        symmetric_info_nce(torch.zeros(shape))


@pytest.mark.parametrize('cosines, expected', [([1, 1], 0), ([-1, -1], 2), ([0.5, 0], 0.75)])
def test_consistency_is_one_minus_the_mean_cosine(cosines, expected):
    class Known(nn.Module):

        def forward(self, depth, probabilities):
            return torch.tensor(cosines, dtype=torch.float64)

    assert consistency_loss(Known(), *small_maps()).item() == expected


@pytest.mark.parametrize('settings', [{}, {'shared': False, 'depth_form': 'disparity'}])
def test_consistency_gradient(settings):
    """Through the encodings, the resize, the tower and the norm, at both predictions."""
    model = small_model(**settings)
    assert torch.autograd.gradcheck(
        lambda depth, probabilities: consistency_loss(model, depth, probabilities), small_maps(),
        fast_mode=True)


@pytest.mark.parametrize('frozen', [True, False])
def test_consistency_never_teaches_the_model(frozen):
    model = small_model(encoding='one_hot').requires_grad_(not frozen)
    depth, probabilities = small_maps()
    consistency_loss(model, depth, probabilities).backward()
    assert all(weight.grad is None for weight in model.parameters())
    assert (depth.grad != 0).all()
    assert (probabilities.grad != 0).all()


def test_consistency_draws_predictions_together():
    model = small_model()
    depth, probabilities = small_maps()
    log_depth = depth.detach().log().requires_grad_()
    logits = probabilities.detach().log().requires_grad_()
    optimizer = torch.optim.Adam([log_depth, logits], 0.1)
    losses = []
    for _ in range(20):
        loss = consistency_loss(model, log_depth.exp(), logits.softmax(dim=1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_consistency_of_maps_that_do_not_belong_together():
    model = small_model()
    depth, probabilities = small_maps()
    with pytest.raises(ValueError, match='2 and 1'):
        consistency_loss(model, depth, probabilities[:1])
    with pytest.raises(ValueError, match=r'\(B, 6, H, W\).*got.*\(2, 5, 4, 3\)'):
        consistency_loss(model, depth, probabilities[:, :5])
    with pytest.raises(ValueError, match=r'\(B, 1, H, W\)'):
        consistency_loss(model, depth[:, 0], probabilities)
