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

"""Photometric losses: against kornia and by hand, gradients, bad input."""

from __future__ import annotations

from kornia.losses import ssim_loss
import pytest
from sync_perception.training.losses.photometric import (
    least_error,
    moving,
    photometric_error,
    photometric_loss,
)
import torch


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_its_mean_is_kornias_ssim_and_l1():
    first, second = images(2, 3, 6, 8), images(2, 3, 6, 8, seed=1)
    expected = 0.85 * ssim_loss(first, second, 3) + 0.15 * (first - second).abs().mean()
    torch.testing.assert_close(photometric_error(first, second).mean(), expected)


def test_flat_images_differ_by_their_means_alone():
    """Without variance SSIM = (2ab + c1) / (a^2 + b^2 + c1), c1 = 1e-4."""
    a, b = 0.2, 0.6
    expected = 0.85 * (1 - (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)) / 2 + 0.15 * (b - a)
    error = photometric_error(torch.full((1, 3, 5, 5), a), torch.full((1, 3, 5, 5), b))
    assert error.shape == (1, 1, 5, 5)
    torch.testing.assert_close(error, torch.full((1, 1, 5, 5), expected))


def test_the_same_image_has_no_error_and_it_is_symmetric():
    first, second = images(1, 3, 6, 8), images(1, 3, 6, 8, seed=1)
    assert photometric_error(first, first).abs().max() < 1e-6
    torch.testing.assert_close(photometric_error(first, second), photometric_error(second, first))


def test_gradients():
    first, second = images(1, 2, 4, 5), images(1, 2, 4, 5, seed=1)
    assert torch.autograd.gradcheck(lambda x: photometric_error(x, second), first.requires_grad_())


def maps(*rows: list[float]) -> torch.Tensor:
    """Return one sample's maps of one row, one for each neighbour: (1, N, 1, W)."""
    return torch.tensor(rows, dtype=torch.float64)[None, :, None]


def test_the_least_error_is_taken_among_those_that_see_the_pixel():
    errors = maps([0.1, 0.5, 0.3, 0.2], [0.4, 0.2, 0.1, 0.2])
    valid = maps([1, 1, 1, 0], [1, 1, 0, 0]).bool()
    expected = torch.tensor([0.1, 0.2, 0.3, torch.inf], dtype=torch.float64)
    torch.testing.assert_close(least_error(errors, valid)[0, 0, 0], expected)


def test_a_tie_is_no_motion():
    still = maps([0.2, 0.2, 0.2, 0.2])
    warped = maps([0.1, 0.2, 0.2 - 1e-7, 0.3])
    assert moving(warped, still)[0, 0, 0].tolist() == [True, False, False, False]


def test_the_loss_by_hand():
    """One pixel moves, one does not, nobody sees the third; a second sample has no neighbour."""
    warped = torch.cat([maps([0.1, 0.5, 0.0], [0.3, 0.4, 0.0]), maps([9, 9, 9], [9, 9, 9])])
    still = torch.cat([maps([0.4, 0.2, 0.6], [0.5, 0.3, 0.3]), maps([9, 9, 9], [9, 9, 9])])
    valid = torch.cat([maps([1, 1, 0], [1, 1, 0]), maps([1, 1, 1], [1, 1, 1])]).bool()
    there = torch.tensor([[True, True], [False, False]])
    warped.requires_grad_()
    still.requires_grad_()
    loss = photometric_loss(warped, valid, still, there)
    loss.backward()
    assert loss.item() == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert still.grad is None
    expected = torch.zeros_like(warped)
    expected[0, 0, 0, 0] = 1 / 3
    torch.testing.assert_close(warped.grad, expected)
    # without the mask what does not move counts, too
    loss = photometric_loss(warped, valid, still, there, masked=False)
    assert loss.item() == pytest.approx((0.1 + 0.4 + 0.3) / 3)


def test_a_neighbour_that_is_not_there_counts_for_nothing():
    warped, still = maps([0.3], [0.0]), maps([0.5], [0.0])
    valid = torch.ones_like(warped).bool()
    one = photometric_loss(warped, valid, still, torch.tensor([[True, False]]))
    assert one.item() == pytest.approx(0.3)
    none = photometric_loss(warped, valid, still, torch.tensor([[False, False]]))
    assert none.item() == 0


def test_loss_gradients():
    warped, still = images(2, 2, 3, 4), images(2, 2, 3, 4, seed=1)
    valid = images(2, 2, 3, 4, seed=2) > 0.2
    there = torch.tensor([[True, True], [True, False]])
    assert torch.autograd.gradcheck(
        lambda x: photometric_loss(x, valid, still, there), warped.requires_grad_())


def test_bad_input():
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 4\).*\(1, 3, 4, 5\)'):
        photometric_error(images(1, 3, 4, 4), images(1, 3, 4, 5))
    with pytest.raises(ValueError, match='2 x 2 pixels'):
        photometric_error(images(1, 3, 1, 4), images(1, 3, 1, 4))
    with pytest.raises(ValueError, match='N at least 1'):
        least_error(images(1, 0, 4, 4), images(1, 0, 4, 4) > 0)
    error, valid = images(1, 2, 4, 4), images(1, 2, 4, 4) > 0
    with pytest.raises(ValueError, match=r'\(1, 2\).*\(1, 3\)'):
        photometric_loss(error, valid, error, torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match='validity'):
        photometric_loss(error, valid, error[..., :3], torch.ones(1, 2, dtype=torch.bool))
