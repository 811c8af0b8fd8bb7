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


"""Smoothness: against kornia, by hand, gradients, bad input."""

from __future__ import annotations

import math

from kornia.losses import inverse_depth_smoothness_loss
import pytest
from sync_perception.training.losses.smoothness import edge_aware_smoothness
import torch


def random_case():
    """Return disparity (2, 1, 4, 6) and an image of three channels, float64."""
    rng = torch.Generator().manual_seed(0)
    disparity = torch.rand(2, 1, 4, 6, generator=rng, dtype=torch.float64) + 0.1
    return disparity, torch.rand(2, 3, 4, 6, generator=rng, dtype=torch.float64)


def test_it_is_kornias_of_disparity_by_its_mean():
    disparity, image = random_case()
    torch.testing.assert_close(
        edge_aware_smoothness(disparity, image),
        inverse_depth_smoothness_loss(disparity / disparity.mean((2, 3), keepdim=True), image))


def test_an_edge_of_the_image_excuses_a_step():
    # mean 2: d = (0.5, 1.5) in both rows; the step of 1 lies where the image's mean steps by 0.5
    disparity = torch.tensor([[1.0, 3], [1, 3]])[None, None]
    image = torch.tensor([[0.0, 1], [0, 1]]).expand(1, 2, 2, 2) * torch.tensor(
        [1.0, 0]).reshape(1, 2, 1, 1)
    assert edge_aware_smoothness(disparity, image).item() == pytest.approx(math.exp(-0.5))
    assert edge_aware_smoothness(disparity, image * 0).item() == pytest.approx(1)


def test_scale_does_not_count():
    disparity, image = random_case()
    torch.testing.assert_close(
        edge_aware_smoothness(disparity * 7, image), edge_aware_smoothness(disparity, image))
    assert edge_aware_smoothness(torch.ones_like(disparity), image).item() == 0


def test_gradients():
    disparity, image = random_case()
    assert torch.autograd.gradcheck(
        lambda d: edge_aware_smoothness(d, image), disparity.requires_grad_())


def test_bad_input():
    disparity, image = random_case()
    with pytest.raises(ValueError, match=r'\(2, 1, 4, 6\).*\(2, 3, 4, 5\)'):
        edge_aware_smoothness(disparity, image[..., :5])
    with pytest.raises(ValueError, match='expected disparity'):
        edge_aware_smoothness(image, image)
    with pytest.raises(ValueError, match='2 x 2 pixels, got 1 x 6'):
        edge_aware_smoothness(disparity[:, :, :1], image[:, :, :1])
    with pytest.raises(ValueError, match='positive mean'):
        edge_aware_smoothness(disparity * 0, image)


def test_what_is_not_finite_stays_so():
    """The trainer stops at losses that are not finite, and keeps the weights and the batch."""
    disparity, image = random_case()
    assert edge_aware_smoothness(disparity * math.nan, image).isnan()
