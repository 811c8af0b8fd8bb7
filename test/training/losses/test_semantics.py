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

"""Cross-entropy on groups of classes: against torch, by hand, gradients, bad input."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.semantics import (
    grouped_cross_entropy,
    grouped_ohem_cross_entropy,
)
import torch
from torch.nn import functional


def random_case(groups):
    """Return logits (2, 5, 4, 6) and labels of so many groups, some void."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 4, 6, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, groups, (2, 4, 6), generator=rng)
    labels[0, :2, :3] = 255
    return logits, labels


def test_with_one_class_a_group_it_is_torchs():
    logits, labels = random_case(5)
    weights = torch.tensor([1.0, 2, 0.5, 3, 1], dtype=torch.float64)
    loss = grouped_cross_entropy(logits, labels, torch.eye(5, dtype=torch.bool), weights)
    expected = functional.cross_entropy(logits, labels, weights, ignore_index=255)
    torch.testing.assert_close(loss, expected)


def test_coarse_labels_score_the_sum_of_probabilities():
    logits, labels = random_case(2)
    groups = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
    probability = logits.softmax(dim=1)
    coarse = torch.stack([probability[:, :2].sum(1), probability[:, 2:].sum(1)], dim=1)
    expected = functional.nll_loss(coarse.log(), labels, ignore_index=255)
    torch.testing.assert_close(grouped_cross_entropy(logits, labels, groups), expected)


def test_labels_without_a_class_are_left_out():
    groups = torch.tensor([[1, 0], [0, 0]], dtype=torch.bool)
    logits = torch.tensor([[2.0, 0.0], [5.0, 1.0]]).reshape(1, 2, 1, 2)
    loss = grouped_cross_entropy(logits, torch.tensor([[[0, 1]]]), groups)
    assert loss.item() == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + math.exp(5))))


def test_confidence_scales_a_pixels_part():
    logits, labels = random_case(5)
    groups = torch.eye(5, dtype=torch.bool)
    full = grouped_cross_entropy(logits, labels, groups)
    confidence = torch.full(labels.shape, 0.25, dtype=torch.float64)
    half = grouped_cross_entropy(logits, labels, groups, confidence_bhw=confidence)
    torch.testing.assert_close(half, full * 0.25)


@pytest.mark.parametrize('groups', [
    torch.eye(5, dtype=torch.bool),
    torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0] * 5], dtype=torch.bool)])
def test_gradients(groups):
    logits, labels = random_case(len(groups))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: grouped_cross_entropy(x, labels, groups), logits)
    assert torch.isfinite(torch.autograd.grad(
        grouped_cross_entropy(logits, labels, groups), logits)[0]).all()


def union_case():
    """Return logits of two samples over 2 + 3 classes, labels in each one's part, candidates."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 4, 6, generator=rng, dtype=torch.float64)
    labels = torch.stack([
        torch.randint(0, 2, (4, 6), generator=rng), torch.randint(2, 5, (4, 6), generator=rng)])
    labels[:, :2, :3] = 255
    candidates = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
    return logits, labels, candidates


def test_each_sample_is_scored_among_its_candidates_alone():
    """As if each had a head of its own; the other classes get no gradient at all."""
    logits, labels, candidates = union_case()
    logits.requires_grad_()
    loss = grouped_cross_entropy(
        logits, labels, torch.eye(5, dtype=torch.bool), candidates_bc=candidates)
    own = [functional.cross_entropy(logits[:1, :2], labels[:1], ignore_index=255),
           functional.cross_entropy(
               logits[1:, 2:], (labels[1:] - 2).where(labels[1:] < 255, 255), ignore_index=255)]
    torch.testing.assert_close(loss, sum(own) / 2)
    loss.backward()
    assert (logits.grad[0, 2:] == 0).all() and (logits.grad[1, :2] == 0).all()
    assert (logits.grad[0, :2, 2:] != 0).all()


def test_candidates_that_rival_greatly_do_no_harm():
    """A score of 1e4 in the other data set's part changes nothing."""
    logits, labels, candidates = union_case()
    groups = torch.eye(5, dtype=torch.bool)
    loss = grouped_cross_entropy(logits, labels, groups, candidates_bc=candidates)
    shouting = logits.masked_fill(~candidates[:, :, None, None], 1e4)
    torch.testing.assert_close(
        grouped_cross_entropy(shouting, labels, groups, candidates_bc=candidates), loss)


def test_gradients_among_candidates():
    """With coarse labels too, and in a sample that has neither labels nor candidates."""
    logits, labels, candidates = union_case()
    labels[1], candidates[1] = 255, False
    groups = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], dtype=torch.bool)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: grouped_cross_entropy(x, labels, groups, candidates_bc=candidates), logits)


def test_all_candidates_are_the_ordinary_loss():
    logits, labels = random_case(5)
    groups = torch.eye(5, dtype=torch.bool)
    everything = torch.ones(2, 5, dtype=torch.bool)
    torch.testing.assert_close(
        grouped_cross_entropy(logits, labels, groups, candidates_bc=everything),
        grouped_cross_entropy(logits, labels, groups))


def test_labels_outside_the_candidates_are_refused():
    logits, labels, candidates = union_case()
    groups = torch.eye(5, dtype=torch.bool)
    labels[1, 3, 3] = 0
    with pytest.raises(ValueError, match=r'1:.*\[0\]'):
        grouped_cross_entropy(logits, labels, groups, candidates_bc=candidates)
    with pytest.raises(ValueError, match=r'\(2, 5\).*\(5,\)'):
        grouped_cross_entropy(logits, labels, groups, candidates_bc=candidates[0])


def test_nothing_labelled_costs_nothing():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = grouped_cross_entropy(
        logits, torch.full((1, 2, 2), 255), torch.eye(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match='3.*255.*7'):
        grouped_cross_entropy(
            torch.zeros(1, 3, 1, 1), torch.full((1, 1, 1), 7), torch.eye(3, dtype=torch.bool))


def every_loss(logits, labels):
    """Return torch's loss of each labelled pixel, (N,)."""
    losses = functional.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    return losses[labels != 255]


def test_hard_pixels_are_those_of_low_probability():
    logits, labels = random_case(5)
    losses = every_loss(logits, labels)
    for threshold in (0.1, 0.3, 0.7):
        hard = torch.exp(-losses) < threshold
        assert 4 < hard.sum() < len(losses)
        torch.testing.assert_close(
            grouped_ohem_cross_entropy(
                logits, labels, torch.eye(5, dtype=torch.bool), threshold=threshold, min_kept=4),
            losses[hard].mean())


@pytest.mark.parametrize('min_kept, kept', [(1, 1), (7, 7), (10 ** 6, 42), (None, 3)])
def test_the_hardest_are_kept_where_few_are_hard(min_kept, kept):
    """Of 42 labelled pixels a sixteenth, rounded up, is 3."""
    logits, labels = random_case(5)
    losses = every_loss(logits, labels).sort(descending=True).values
    assert len(losses) == 42
    torch.testing.assert_close(
        grouped_ohem_cross_entropy(
            logits, labels, torch.eye(5, dtype=torch.bool), threshold=1e-9, min_kept=min_kept),
        losses[:kept].mean())


def test_ohem_of_all_pixels_is_the_grouped_loss():
    """With coarse labels, weights, confidence and candidates at once."""
    logits, labels, candidates = union_case()
    labels = torch.where(labels == 1, 0, labels)
    groups = torch.tensor(
        [[1, 1, 0, 0, 0], [0] * 5, [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]],
        dtype=torch.bool)
    weights = torch.tensor([1.0, 2, 0.5, 3, 1], dtype=torch.float64)
    confidence = torch.rand(labels.shape, generator=torch.Generator().manual_seed(2)) + 0.1
    everything = (logits, labels, groups, weights, confidence, candidates)
    torch.testing.assert_close(
        grouped_ohem_cross_entropy(*everything, min_kept=10 ** 6),
        grouped_cross_entropy(*everything))


def test_hard_pixels_of_coarse_labels():
    """A pixel is hard by the summed probability, however it is split among the classes."""
    logits = torch.tensor([[2.0, 2, 0], [0, 0, 2]], dtype=torch.float64).T.reshape(1, 3, 1, 2)
    groups = torch.tensor([[1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    expected = -math.log(2 / (2 + math.exp(2)))
    loss = grouped_ohem_cross_entropy(logits, labels, groups, threshold=0.5, min_kept=1)
    assert loss.item() == pytest.approx(expected)


def test_unsure_labels_are_never_hard_examples():
    logits, labels = random_case(5)
    groups = torch.eye(5, dtype=torch.bool)
    confidence = (torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) > 0.5)
    sure = labels.masked_fill(~confidence, 255)
    torch.testing.assert_close(
        grouped_ohem_cross_entropy(logits, labels, groups, confidence_bhw=confidence.double()),
        grouped_ohem_cross_entropy(logits, sure, groups))


def test_ohem_gradients():
    logits, labels, candidates = union_case()
    groups = torch.eye(5, dtype=torch.bool)
    logits.requires_grad_()

    def loss(x):
        return grouped_ohem_cross_entropy(
            x, labels, groups, candidates_bc=candidates, threshold=0.4)

    assert torch.autograd.gradcheck(loss, logits, fast_mode=True)
    loss(logits).backward()
    own = torch.where(candidates[:, :, None, None], logits.detach(), -math.inf).softmax(dim=1)
    right = own.gather(1, labels.where(labels < 255, 0)[:, None])[:, 0]
    learns = (logits.grad != 0).any(dim=1)
    assert torch.equal(learns, (labels < 255) & (right < 0.4)) and learns.any()


def test_ohem_of_nothing_and_of_bad_input():
    logits, labels = random_case(5)
    groups = torch.eye(5, dtype=torch.bool)
    logits.requires_grad_()
    nothing = grouped_ohem_cross_entropy(logits, torch.full_like(labels, 255), groups)
    nothing.backward()
    assert nothing.item() == 0 and (logits.grad == 0).all()
    with pytest.raises(ValueError, match='5.*255.*9'):
        grouped_ohem_cross_entropy(logits, torch.full_like(labels, 9), groups)
    for threshold in (0, 1.5):
        with pytest.raises(ValueError, match=f'0.*1.*{threshold}'):
            grouped_ohem_cross_entropy(logits, labels, groups, threshold=threshold)
    with pytest.raises(ValueError, match='min_kept.*1.*0'):
        grouped_ohem_cross_entropy(logits, labels, groups, min_kept=0)


def test_weights_of_zero_cost_nothing():
    logits, labels = random_case(5)
    zero = torch.zeros(5, dtype=torch.float64)
    for loss in (grouped_cross_entropy, grouped_ohem_cross_entropy):
        assert loss(logits, labels, torch.eye(5, dtype=torch.bool), zero).item() == 0
