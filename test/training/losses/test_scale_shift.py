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


"""The loss without scale and shift: by hand, against numpy, invariances, gradients, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sync_perception.training.losses.scale_shift import (
    gradient_matching,
    log_gradient,
    scale_shift_invariant,
    scale_shift_invariant_depth,
    trimmed_l1,
    without_scale_and_shift,
)
import torch


def row(*values):
    """Return a (1, 1, 1, N) map."""
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def random_case(size=(9, 11)):
    """Return two maps and a mask of two unlike samples, float64."""
    rng = torch.Generator().manual_seed(0)
    predicted, true = torch.rand(
        2, 2, 1, *size, generator=rng, dtype=torch.float64).add(0.1).unbind()
    return predicted, true, torch.rand(2, 1, *size, generator=rng) > 0.3


def reference(predicted, true, valid, trimmed=0.2, weight=0.5, scales=4):
    """Compute one sample's loss pixel by pixel, from numpy arrays (h, w)."""
    def normalised(values):
        chosen = np.sort(values[valid])
        centred = values - chosen[(len(chosen) - 1) // 2]
        return centred / np.abs(centred[valid]).mean()

    residual = normalised(predicted) - normalised(true)
    sizes = np.sort(np.abs(residual[valid]))
    loss = sizes[:int(len(sizes) * (1 - trimmed))].sum() / (2 * len(sizes))
    for scale in range(scales):
        step = 2 ** scale
        difference, known = residual[::step, ::step], valid[::step, ::step]
        total = 0.0
        for y, x in np.argwhere(known):
            for v, u in ((y, x + 1), (y + 1, x)):
                if v < known.shape[0] and u < known.shape[1] and known[v, u]:
                    total += abs(difference[v, u] - difference[y, x])
        loss += weight * total / max(known.sum(), 1)
    return loss


def test_normalised_values_by_hand():
    # median 3, mean deviation (2 + 1 + 0 + 1 + 7) / 5 = 2.2; the unknown value has no say
    values, valid = row(1, 2, 3, 4, 10, math.nan), row(1, 1, 1, 1, 1, 0).bool()
    torch.testing.assert_close(
        without_scale_and_shift(values, valid), row(-2, -1, 0, 1, 7, 0) / 2.2)


def test_the_largest_fifth_is_left_out():
    residual, valid = row(-1, 2, 100, 0.5, 3, 999), row(1, 1, 1, 1, 1, 0).bool()
    assert trimmed_l1(residual, valid).tolist() == pytest.approx([(1 + 2 + 0.5 + 3) / 10])
    assert trimmed_l1(residual, valid, 0.4).tolist() == pytest.approx([(1 + 2 + 0.5) / 10])
    assert trimmed_l1(residual, valid, 0.0).tolist() == pytest.approx([106.5 / 10])


def test_gradients_of_a_ramp_by_hand():
    """Of 8 x 8 pixels that rise by 1 to the right, with steps of 1, 2, 4 and 8 pixels."""
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    scales = [7 * 8 / 64, 3 * 4 * 2 / 16, 1 * 2 * 4 / 4, 0]
    for count in range(1, 5):
        assert gradient_matching(ramp, valid, count).item() == pytest.approx(sum(scales[:count]))
    torch.testing.assert_close(
        gradient_matching(ramp.mT.contiguous(), valid), gradient_matching(ramp, valid))


def test_each_sample_as_numpy_has_it():
    predicted, true, valid = random_case()
    expected = [
        reference(*(maps[sample, 0].numpy() for maps in (predicted, true, valid)))
        for sample in range(2)]
    for sample in range(2):
        one = (maps[sample:sample + 1] for maps in (predicted, true, valid))
        assert scale_shift_invariant(*one).item() == pytest.approx(expected[sample])
    assert scale_shift_invariant(predicted, true, valid).item() == pytest.approx(
        np.mean(expected))


def test_neither_scale_nor_shift_counts():
    predicted, true, valid = random_case()
    scale = torch.tensor([3.0, 0.2], dtype=torch.float64).reshape(2, 1, 1, 1)
    loss = scale_shift_invariant(predicted, true, valid)
    torch.testing.assert_close(scale_shift_invariant(predicted * scale + 5, true, valid), loss)
    torch.testing.assert_close(scale_shift_invariant(predicted, true * scale - 2, valid), loss)
    assert scale_shift_invariant(true * scale + 1, true, valid).item() == pytest.approx(0)
    assert scale_shift_invariant(-true, true, valid).item() > 0.5


def test_depth_is_compared_inversely():
    """Where the sky's inverse depth is 0, and the unknown may be anything."""
    predicted, true, valid = random_case()
    far = true.clone()
    far[0, 0, 0] = 0
    unknown = (1 / far).masked_fill(~valid, math.nan)
    torch.testing.assert_close(
        scale_shift_invariant_depth(1 / predicted, unknown, valid),
        scale_shift_invariant(predicted, far, valid))


@pytest.mark.parametrize('loss', [scale_shift_invariant, scale_shift_invariant_depth])
def test_gradients(loss):
    """Also through the median and the deviation; unknown pixels learn nothing."""
    predicted, true, valid = random_case((4, 5))
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, true, valid), predicted)
    loss(predicted, true.masked_fill(~valid, math.nan), valid).backward()
    assert (predicted.grad[~valid] == 0).all()
    assert (predicted.grad[valid] != 0).all()


@pytest.mark.parametrize('loss', [scale_shift_invariant, scale_shift_invariant_depth])
def test_samples_without_anything_valid_do_not_count(loss):
    predicted, true, valid = random_case()
    predicted.requires_grad_()
    valid[1] = False
    torch.testing.assert_close(
        loss(predicted, true, valid), loss(predicted[:1], true[:1], valid[:1]))
    nothing = loss(predicted, true * math.nan, torch.zeros_like(valid))
    nothing.backward()
    assert nothing.item() == 0 and (predicted.grad == 0).all()


def test_a_flat_prediction_has_finite_gradients():
    _, true, valid = random_case()
    flat = torch.full_like(true, 2.0).requires_grad_()
    loss = scale_shift_invariant(flat, true, valid)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(flat.grad).all()


def test_bad_input():
    predicted, true, valid = random_case()
    for loss in (scale_shift_invariant, scale_shift_invariant_depth):
        with pytest.raises(ValueError, match='one shape'):
            loss(predicted[..., 1:], true, valid)
        with pytest.raises(ValueError, match='mask of bool'):
            loss(predicted, true, valid.float())
    with pytest.raises(ValueError, match='finite'):
        scale_shift_invariant(predicted, true * math.inf, valid)
    with pytest.raises(ValueError, match='positive, got -'):
        scale_shift_invariant_depth(predicted, -true, valid)
    with pytest.raises(ValueError, match='positive, got nan'):
        scale_shift_invariant_depth(predicted, true * math.nan, valid)
    with pytest.raises(ValueError, match=r'\[0, 1\).*1'):
        scale_shift_invariant(predicted, true, valid, trimmed=1)


def test_log_gradient_by_hand():
    """At one scale: |dR| between neighbours over the pixels, whatever the common factor."""
    true = torch.tensor([[1.0, 1, 8, 8]] * 2, dtype=torch.float64)[None, None]
    soft = torch.tensor([[1.0, 2, 4, 8]] * 2, dtype=torch.float64)[None, None]
    valid = torch.ones_like(true, dtype=torch.bool)
    # R in a row: 0, ln 2, -ln 2, 0; its steps: ln 2, 2 ln 2, ln 2
    expected = 2 * (1 + 2 + 1) * math.log(2) / 8
    assert log_gradient(soft, true, valid, scales=1).item() == pytest.approx(expected)
    assert log_gradient(3 * soft, true, valid, scales=1).item() == pytest.approx(expected)
    assert log_gradient(5 * true, true, valid).item() == pytest.approx(0, abs=1e-12)


def test_log_gradient_leaves_sparse_depth_out():
    predicted, true, _ = random_case()
    valid = torch.zeros_like(true, dtype=torch.bool)
    valid[0] = True
    valid[1, 0, :2] = True  # 2 of 9 rows
    predicted.requires_grad_()
    log_gradient(predicted, true, valid).backward()
    assert predicted.grad[0].abs().sum() > 0
    assert predicted.grad[1].abs().sum() == 0
    assert log_gradient(predicted[1:], true[1:], valid[1:]).item() == 0


def test_log_gradient_refuses_depth_that_is_not_positive():
    predicted, true, valid = random_case()
    true[0, 0, 0, 0] = -1.0
    with pytest.raises(ValueError, match='-1'):
        log_gradient(predicted, true, torch.ones_like(valid))
