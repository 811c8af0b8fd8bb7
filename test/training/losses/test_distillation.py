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


"""Learning from an expert's probabilities: against torch, the hard loss, gradients, bad input."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.distillation import soft_cross_entropy
from sync_perception.training.losses.semantics import grouped_cross_entropy
import torch
from torch.nn import functional


def random_case(groups=5):
    """Return logits (2, 5, 3, 4), an expert's logits over so many classes, and a mask."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, generator=rng, dtype=torch.float64)
    expert = torch.randn(2, groups, 3, 4, generator=rng, dtype=torch.float64) * 2
    return logits, expert, torch.rand(2, 3, 4, generator=rng) > 0.3


def test_at_temperature_1_it_is_torchs():
    logits, expert, valid = random_case()
    probabilities = expert.softmax(dim=1)
    every = functional.cross_entropy(logits, probabilities, reduction='none')
    torch.testing.assert_close(
        soft_cross_entropy(logits, probabilities, valid), every[valid].mean())


@pytest.mark.parametrize('temperature', [0.5, 2.0, 4.0])
def test_its_gradient_is_that_of_the_tempered_divergence(temperature):
    """T^2 KL(q || p) of both softmaxes at T, from the expert's scores instead of probabilities."""
    logits, expert, valid = random_case()
    logits.requires_grad_()
    loss = soft_cross_entropy(
        logits, expert.softmax(dim=1), valid, temperature=temperature)
    divergence = temperature ** 2 * functional.kl_div(
        (logits / temperature).log_softmax(dim=1).movedim(1, -1)[valid],
        (expert / temperature).log_softmax(dim=1).movedim(1, -1)[valid],
        log_target=True, reduction='batchmean')
    gradients = [torch.autograd.grad(value, logits)[0] for value in (loss, divergence)]
    torch.testing.assert_close(*gradients)
    soft = (expert / temperature).softmax(dim=1).movedim(1, -1)[valid]
    entropy = torch.distributions.Categorical(probs=soft).entropy().mean()
    torch.testing.assert_close(loss, divergence + temperature ** 2 * entropy)


def test_a_sure_expert_is_a_label():
    """With coarse classes, one unknown here, confidence and candidates at once."""
    logits, _, valid = random_case()
    groups = torch.tensor([[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0] * 5, [0, 1, 1, 0, 0]]).bool()
    labels = torch.randint(0, 4, valid.shape, generator=torch.Generator().manual_seed(1))
    sure = functional.one_hot(labels, 4).permute(0, 3, 1, 2).double()
    sure = sure.masked_fill(~valid[:, None], math.nan)
    confidence = torch.rand(valid.shape, generator=torch.Generator().manual_seed(2)).double()
    candidates = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]).bool()
    torch.testing.assert_close(
        soft_cross_entropy(
            logits, sure, valid, groups, confidence_bhw=confidence, candidates_bc=candidates),
        grouped_cross_entropy(
            logits, labels.masked_fill(~valid, 255), groups, confidence_bhw=confidence,
            candidates_bc=candidates))


def test_finer_classes_of_the_expert_are_summed():
    """An expert with two classes for the network's first is one with their sum for it."""
    logits, expert, valid = random_case(6)
    fine = expert.softmax(dim=1)
    groups = torch.eye(5).bool()[[0, 0, 1, 2, 3, 4]]
    summed = torch.cat([fine[:, :2].sum(dim=1, keepdim=True), fine[:, 2:]], dim=1)
    torch.testing.assert_close(
        soft_cross_entropy(logits, fine, valid, groups),
        soft_cross_entropy(logits, summed, valid))


def test_what_the_expert_alone_knows_takes_weight_from_the_pixel():
    logits = torch.tensor([[1.0, 0], [0, 2]]).T.reshape(1, 2, 1, 2)
    groups = torch.tensor([[1, 0], [0, 1], [0, 0]]).bool()
    expert = torch.tensor([[0.2, 0.0, 0.8], [0.5, 0.5, 0]]).T.reshape(1, 3, 1, 2)
    loss = soft_cross_entropy(logits, expert, torch.ones(1, 1, 2).bool(), groups)
    first, second = torch.log_softmax(logits, dim=1)[0, :, 0].T.tolist()
    expected = -(0.2 * first[0] + 0.5 * second[0] + 0.5 * second[1]) / 1.2
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize('groups', [
    None, torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0] * 5], dtype=torch.bool)])
def test_gradients(groups):
    logits, expert, valid = random_case(5 if groups is None else 3)
    logits.requires_grad_()
    expert.requires_grad_()

    def loss(scores):
        return soft_cross_entropy(
            scores, expert.softmax(dim=1), valid, groups, temperature=2.0)

    assert torch.autograd.gradcheck(loss, logits)
    loss(logits).backward()
    assert expert.grad is None
    assert torch.equal((logits.grad != 0).any(dim=1), valid)


def test_an_absolutely_sure_expert_at_high_temperature():
    logits, _, valid = random_case()
    logits.requires_grad_()
    sure = torch.zeros(2, 5, 3, 4, dtype=torch.float64)
    sure[:, 1] = 1
    loss = soft_cross_entropy(logits, sure, valid, temperature=3.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_nothing_valid_costs_nothing():
    logits, expert, valid = random_case()
    logits.requires_grad_()
    unknown = [(expert * math.nan, torch.zeros_like(valid), None),
               (expert.softmax(dim=1), valid, torch.zeros(5, 5).bool())]
    for case in unknown:
        loss = soft_cross_entropy(logits, *case)
        assert loss.item() == 0
    soft_cross_entropy(logits, *unknown[0]).backward()
    assert (logits.grad == 0).all()


def test_bad_input():
    logits, expert, valid = random_case()
    soft = expert.softmax(dim=1)
    with pytest.raises(ValueError, match='temperature above 0, got 0'):
        soft_cross_entropy(logits, soft, valid, temperature=0)
    with pytest.raises(ValueError, match=r'expected groups \(G, 5\).*got.*\(2, 4, 3, 4\)'):
        soft_cross_entropy(logits, soft[:, :4], valid)
    with pytest.raises(ValueError, match='expected groups'):
        soft_cross_entropy(logits, soft, valid, torch.ones(5, 4).bool())
    with pytest.raises(ValueError, match='mask of bool'):
        soft_cross_entropy(logits, soft, valid.float())
    for wrong in (expert, soft * 2, soft * math.nan):
        with pytest.raises(ValueError, match='at least 0 and sum to 1'):
            soft_cross_entropy(logits, wrong, valid)
    with pytest.raises(ValueError, match=r'candidates of shape \(2, 5\), one row a sample'):
        soft_cross_entropy(logits, soft, valid, candidates_bc=torch.ones(5).bool())
    candidates = torch.ones(2, 5).bool()
    candidates[1, 3] = False
    with pytest.raises(ValueError, match='sample 1: the expert can mean class 3'):
        soft_cross_entropy(logits, soft, valid, candidates_bc=candidates)
