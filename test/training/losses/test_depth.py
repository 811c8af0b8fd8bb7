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

"""Depth losses: hand-computed values, gradients, bad input."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.depth import (
    berhu,
    l1,
    log_gaussian_nll,
    log_l1,
    reverse_huber,
    silog,
)
import torch

E = math.e


def maps(*values):
    """Return a (1, 1, 1, N) map."""
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def test_silog_by_hand():
    # e = (1, 3): mean square 5, mean 2.
    predicted, true = maps(E, E ** 3, 7.0), maps(1.0, 1.0, 1.0)
    valid = torch.tensor([True, True, False]).reshape(1, 1, 1, 3)
    assert silog(predicted, true, valid).item() == pytest.approx(math.sqrt(5 - 0.85 * 4))
    assert silog(predicted, true, valid, variance_focus=1.0).item() == pytest.approx(1.0)
    assert log_l1(predicted, true, valid).item() == pytest.approx(2.0)


def test_silog_with_full_focus_ignores_scale():
    rng = torch.Generator().manual_seed(0)
    true = torch.rand(2, 1, 5, 6, generator=rng) * 50 + 1
    predicted = torch.rand(2, 1, 5, 6, generator=rng) * 50 + 1
    valid = torch.ones_like(true, dtype=torch.bool)
    torch.testing.assert_close(
        silog(predicted, true, valid, 1.0), silog(predicted * 3, true, valid, 1.0))


@pytest.mark.parametrize('loss', [silog, log_l1, l1])
def test_gradients(loss):
    rng = torch.Generator().manual_seed(1)
    shape = (2, 1, 3, 4)
    predicted = (torch.rand(shape, generator=rng, dtype=torch.float64) + 0.5).requires_grad_()
    true = torch.rand(shape, generator=rng, dtype=torch.float64) + 0.5
    valid = torch.rand(shape, generator=rng) > 0.3
    assert torch.autograd.gradcheck(lambda p: loss(p, true, valid), predicted)
    loss(predicted, true, valid).backward()
    assert (predicted.grad[~valid] == 0).all()


@pytest.mark.parametrize('loss', [silog, log_l1, l1, berhu])
def test_nothing_valid_costs_nothing(loss):
    predicted = maps(1.0, 2.0).requires_grad_()
    value = loss(predicted, maps(float('nan'), 1.0), torch.zeros(1, 1, 1, 2, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and (predicted.grad == 0).all()


@pytest.mark.parametrize('loss', [silog, log_l1, l1, berhu])
def test_bad_input(loss):
    valid = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match='one shape'):
        loss(maps(1.0), maps(1.0, 2.0), valid)
    with pytest.raises(ValueError, match='torch.uint8'):
        loss(maps(1.0, 1.0), maps(1.0, 2.0), valid.byte())
    for unknown in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f'{unknown}'):
            loss(maps(1.0, 1.0), maps(unknown, 2.0), valid)


@pytest.mark.parametrize('loss', [silog, log_l1])
def test_logarithms_need_positive_depth(loss):
    valid = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match='positive'):
        loss(maps(1.0, 1.0), maps(0.0, 2.0), valid)


def test_l1_is_torchs():
    predicted, true, valid, _ = random_case()
    torch.testing.assert_close(
        l1(predicted, true, valid), torch.nn.functional.l1_loss(predicted[valid], true[valid]))


def test_berhu_by_hand():
    # e = (0, 1, -5): c = 1, so |e| twice, then (25 + 1) / 2; the unknown pixel has no say in c.
    predicted, true = maps(2.0, 4.0, 1.0, 9.0), maps(2.0, 3.0, 6.0, math.nan)
    valid = torch.tensor([True, True, True, False]).reshape(1, 1, 1, 4)
    assert berhu(predicted, true, valid).item() == pytest.approx((0 + 1 + 13) / 3)
    assert berhu(predicted, true, valid, share=1.0).item() == pytest.approx((0 + 1 + 5) / 3)


def test_berhu_gradient_takes_the_threshold_as_given():
    """dL/de = sign(e) up to c, e / c beyond, each by 1 / N."""
    predicted = maps(2.0, 4.0, 1.0, 6.0).requires_grad_()
    true = maps(2.0, 3.5, 6.0, 3.0)
    valid = torch.ones(1, 1, 1, 4, dtype=torch.bool)
    berhu(predicted, true, valid).backward()
    torch.testing.assert_close(predicted.grad, maps(0.0, 1.0, -5.0, 3.0) / 4)


def test_reverse_huber_gradients_and_its_smooth_joint():
    rng = torch.Generator().manual_seed(3)
    error = torch.randn(12, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: reverse_huber(e, 0.7), error)
    joint = torch.tensor([0.7, 0.7 + 1e-9], dtype=torch.float64, requires_grad=True)
    values = reverse_huber(joint, 0.7)
    values.sum().backward()
    assert values.tolist() == pytest.approx([0.7, 0.7]) and joint.grad.tolist() == pytest.approx(
        [1, 1])


def test_berhu_of_a_perfect_prediction():
    predicted = maps(1.0, 2.0).requires_grad_()
    loss = berhu(predicted, maps(1.0, 2.0), torch.ones(1, 1, 1, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and (predicted.grad == 0).all()
    with pytest.raises(ValueError, match='share above 0, got 0'):
        berhu(predicted, predicted, torch.ones(1, 1, 1, 2, dtype=torch.bool), share=0)


def random_case():
    """Return depth, true depth, their mask and a log-variance, (2, 1, 3, 4), float64."""
    rng = torch.Generator().manual_seed(2)
    shape = (2, 1, 3, 4)
    predicted, true = (torch.rand(2, *shape, generator=rng, dtype=torch.float64) + 0.5).unbind()
    valid = torch.rand(shape, generator=rng) > 0.3
    return predicted, true, valid, torch.randn(shape, generator=rng, dtype=torch.float64)


def test_likelihood_is_torchs():
    predicted, true, valid, log_variance = random_case()
    normal = torch.distributions.Normal(predicted.log(), (log_variance / 2).exp())
    expected = -normal.log_prob(true.log())[valid].mean()
    torch.testing.assert_close(
        log_gaussian_nll(predicted, true, valid, log_variance), expected)


def test_likelihood_is_greatest_at_the_errors_variance():
    predicted, true, valid, _ = random_case()
    variance = (predicted.log() - true.log())[valid].square().mean()
    log_variance = torch.full_like(true, variance.log().item()).requires_grad_()
    log_gaussian_nll(predicted, true, valid, log_variance).backward()
    assert log_variance.grad.sum().item() == pytest.approx(0, abs=1e-12)


def test_likelihood_gradients():
    predicted, true, valid, log_variance = random_case()
    predicted.requires_grad_()
    log_variance.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, s: log_gaussian_nll(p, true, valid, s), (predicted, log_variance))
    log_gaussian_nll(predicted, true, valid, log_variance).backward()
    assert (log_variance.grad[~valid] == 0).all() and (log_variance.grad[valid] != 0).all()


def test_likelihood_of_nothing_and_of_bad_input():
    predicted, true, valid, log_variance = random_case()
    log_variance.requires_grad_()
    nothing = log_gaussian_nll(
        predicted, true * float('nan'), torch.zeros_like(valid), log_variance)
    nothing.backward()
    assert nothing.item() == 0 and (log_variance.grad == 0).all()
    with pytest.raises(ValueError, match=r'\(2, 1, 3, 4\).*\(2, 1, 3, 3\)'):
        log_gaussian_nll(predicted, true, valid, log_variance[..., :3])
    with pytest.raises(ValueError, match='positive'):
        log_gaussian_nll(predicted, true * 0, valid, log_variance)
