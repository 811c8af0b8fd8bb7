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
from sync_perception.training.losses.distillation import (
    soft_cross_entropy,
    top_classes_cross_entropy,
)
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


def top_classes(expert, valid, count):
    """Return the most probable classes, 255 in the mask, and their probabilities."""
    top, classes = expert.softmax(dim=1).topk(count, dim=1)
    return classes.masked_fill(~valid[:, None], 255), top


def every_class(groups=5):
    """Return the groups of an expert that speaks the network's own label space."""
    return torch.eye(groups, dtype=torch.bool)


def test_all_classes_stored_are_torchs_cross_entropy():
    logits, expert, valid = random_case()
    every = functional.cross_entropy(logits, expert.softmax(dim=1), reduction='none')
    classes, top = top_classes(expert, valid, 5)
    torch.testing.assert_close(
        top_classes_cross_entropy(logits, classes, top, every_class()), every[valid].mean())


@pytest.mark.parametrize('count', [2, 3])
def test_the_rest_is_one_class(count):
    """Torch's cross-entropy over K + 1 classes, of which the last is whatever else there is."""
    logits, expert, valid = random_case()
    classes, top = top_classes(expert, valid, count)
    kept = classes.clamp(max=4)
    rest = logits.scatter(1, kept, -math.inf).logsumexp(dim=1, keepdim=True)
    coarse = torch.cat([logits.gather(1, kept), rest], dim=1)
    soft = torch.cat([top, 1 - top.sum(dim=1, keepdim=True)], dim=1)
    every = functional.cross_entropy(coarse, soft, reduction='none')
    torch.testing.assert_close(
        top_classes_cross_entropy(logits, classes, top, every_class()), every[valid].mean())


def test_it_is_least_at_the_experts_own_probabilities():
    """Who agrees with the expert learns nothing; scaled up to 1, the two would pull further."""
    _, expert, valid = random_case()
    logits = expert.clone().requires_grad_()
    classes, top = top_classes(expert, valid, 2)
    top_classes_cross_entropy(logits, classes, top, every_class()).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))
    logits.grad = None
    scaled = top / top.sum(dim=1, keepdim=True)
    top_classes_cross_entropy(logits, classes, scaled, every_class()).backward()
    assert (logits.grad.gather(1, classes.clamp(max=4)).movedim(1, -1)[valid] < 0).all()


def test_one_sure_class_is_a_label():
    """With coarse classes, one unknown here, weights, confidence and candidates at once."""
    logits, _, valid = random_case()
    groups = torch.tensor([[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0] * 5]).bool()
    rng = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 3, valid.shape, generator=rng).masked_fill(~valid, 255)
    classes = torch.stack([labels, torch.full_like(labels, 255)], dim=1).to(torch.uint8)
    sure = torch.ones(classes.shape).masked_fill(classes == 255, math.nan)
    weights, confidence = torch.tensor([0.5, 2.0, 7.0]), torch.rand(valid.shape, generator=rng)
    candidates = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]).bool()
    torch.testing.assert_close(
        top_classes_cross_entropy(
            logits, classes, sure, groups, weights, confidence, candidates),
        grouped_cross_entropy(logits, labels, groups, weights, confidence, candidates))


def test_an_expert_of_another_label_space_by_hand():
    """Of 0.5 + 0.2 named, 0.2 means nothing here; the rest of 0.3 means the last class."""
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0]).reshape(1, 4, 1, 1)
    groups = torch.tensor([[1, 1, 0, 0], [0] * 4, [0, 0, 1, 0]]).bool()
    classes = torch.tensor([0, 1]).reshape(1, 2, 1, 1)
    soft = torch.tensor([0.5, 0.2]).reshape(1, 2, 1, 1)
    p = torch.softmax(logits.flatten(), dim=0)
    expected = -(0.5 * (p[0] + p[1]).log() + 0.3 * p[2].log()) / 0.8
    torch.testing.assert_close(
        top_classes_cross_entropy(logits, classes, soft, groups), expected)
    weighted = -(0.5 * 3 * (p[0] + p[1]).log() + 0.3 * 2 * p[2].log()) / (0.5 * 3 + 0.3 * 2)
    torch.testing.assert_close(
        top_classes_cross_entropy(
            logits, classes, soft, groups, torch.tensor([3.0, 9.0, 2.0])), weighted)


def test_finer_stored_classes_are_summed():
    """Two stored classes with one counterpart weigh as one with their sum."""
    logits, _, _ = random_case()
    classes = torch.tensor([0, 1, 3]).reshape(1, 3, 1, 1).expand(2, 3, 3, 4)
    soft = torch.tensor([0.4, 0.3, 0.2], dtype=torch.float64).reshape(1, 3, 1, 1)
    fine = every_class()[[0, 0, 1, 2, 3, 4]]
    summed = torch.tensor([0.7, 0.2], dtype=torch.float64).reshape(1, 2, 1, 1)
    torch.testing.assert_close(
        top_classes_cross_entropy(logits, classes, soft.expand(2, 3, 3, 4), fine),
        top_classes_cross_entropy(
            logits, classes[:, 1:] - 1, summed.expand(2, 2, 3, 4), every_class()))


@pytest.mark.parametrize('groups', [
    every_class(),
    torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0] * 5, [0, 0, 0, 1, 0]]).bool(),
    torch.tensor([[1, 1, 1, 1, 1], [0] * 5, [0] * 5, [0] * 5]).bool()])
def test_gradients_of_the_stored_classes(groups):
    """Also where the expert can mean nothing but what it named, and the rest has no class."""
    logits, expert, valid = random_case(len(groups))
    logits.requires_grad_()
    classes, top = top_classes(expert, valid, 2)
    top.requires_grad_()

    weights = torch.arange(1.0, len(groups) + 1)

    def loss(scores):
        return top_classes_cross_entropy(scores, classes, top, groups, weights)

    assert torch.autograd.gradcheck(loss, logits)
    loss(logits).backward()
    assert top.grad is None and torch.isfinite(logits.grad).all()
    assert (logits.grad.movedim(1, -1)[~valid] == 0).all()


def test_no_stored_class_costs_nothing():
    logits, expert, valid = random_case()
    logits.requires_grad_()
    classes, top = top_classes(expert, torch.zeros_like(valid), 3)
    loss = top_classes_cross_entropy(logits, classes, top * math.nan, every_class())
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()
    classes, top = top_classes(expert, valid, 3)
    unknown = torch.zeros(5, 5).bool()
    assert top_classes_cross_entropy(logits, classes, top, unknown).item() == 0


def test_bad_stored_classes():
    logits, expert, valid = random_case()
    classes, top = top_classes(expert, valid, 3)
    groups = every_class()
    for wrong in ((classes[:, :2], top, groups), (classes[:, 0], top[:, 0], groups),
                  (classes[..., :2], top[..., :2], groups), (classes, top, groups[:, :4])):
        with pytest.raises(ValueError, match=r'expected groups \(G, 5\), classes'):
            top_classes_cross_entropy(logits, *wrong)
    with pytest.raises(ValueError, match='classes must be from 0 to 2 or 255, got 0 to 4'):
        top_classes_cross_entropy(logits, classes, top, groups[:3])
    for wrong in (-top, top * 3, top * math.nan):
        with pytest.raises(ValueError, match='at least 0 and sum to at most 1'):
            top_classes_cross_entropy(logits, classes, wrong, groups)
    candidates = torch.ones(2, 5).bool()
    candidates[1, 3] = False
    with pytest.raises(ValueError, match='sample 1: the expert can mean class 3'):
        top_classes_cross_entropy(logits, classes, top, groups, candidates_bc=candidates)
