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
from sync_perception.training.losses.distillation import top_classes_cross_entropy
from sync_perception.training.losses.semantics import grouped_cross_entropy
import torch
from torch.nn import functional


def random_case(groups=5):
    """Return logits (2, 5, 3, 4), an expert's logits over so many classes, and a mask."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, generator=rng, dtype=torch.float64)
    expert = torch.randn(2, groups, 3, 4, generator=rng, dtype=torch.float64) * 2
    return logits, expert, torch.rand(2, 3, 4, generator=rng) > 0.3


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

    assert torch.autograd.gradcheck(loss, logits, fast_mode=True)
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
        with pytest.raises(ValueError, match=r'\(G, 5\)'):
            top_classes_cross_entropy(logits, *wrong)
    with pytest.raises(ValueError, match='0.*2.*255.*0.*4'):
        top_classes_cross_entropy(logits, classes, top, groups[:3])
    for wrong in (-top, top * 3, top * math.nan):
        with pytest.raises(ValueError, match='at most 1'):
            top_classes_cross_entropy(logits, classes, wrong, groups)
    candidates = torch.ones(2, 5).bool()
    candidates[1, 3] = False
    with pytest.raises(ValueError, match='sample 1: .*class 3'):
        top_classes_cross_entropy(logits, classes, top, groups, candidates_bc=candidates)
