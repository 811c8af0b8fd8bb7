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

"""What every network keeps: the forms of depth, normalisations, sizes."""

from __future__ import annotations

import pytest
from sync_perception.models.interface import DEPTH_FORMS, fit_to_image, Renormalise, to_depth
import torch


def test_every_form_of_depth_by_hand():
    """Sigmoid(0) is the middle: of the logarithm, of the inverse; metres stay metres."""
    raw = torch.zeros(1, 1, 1, 1)
    assert to_depth(raw, 'log', (1.0, 100.0)).item() == pytest.approx(10)
    assert to_depth(raw, 'disparity', (1.0, 100.0)).item() == pytest.approx(2 / 1.01)
    assert to_depth(raw + 7, 'metres', (1.0, 100.0)).item() == 7


def test_half_precision_ends_before_the_metres_begin():
    """A raw map of float16 gives float32 depth."""
    raw = torch.tensor([-9.0, 9.0], dtype=torch.float16)
    for form in DEPTH_FORMS:
        assert to_depth(raw, form, (2.0, 72.0)).dtype == torch.float32


@pytest.mark.parametrize('form', ['log', 'disparity'])
def test_bounded_forms_keep_to_the_range(form):
    """Whatever the network says."""
    depth = to_depth(torch.tensor([-1e4, -3.0, 0.0, 2.0, 1e4]).reshape(1, 1, 1, 5), form, (2, 50))
    assert depth.min().item() == pytest.approx(2, rel=1e-5)
    assert depth.max().item() == pytest.approx(50, rel=1e-5)


def test_an_unknown_form_is_named():
    """With those that there are."""
    with pytest.raises(ValueError, match="'inches'.*" + ', '.join(DEPTH_FORMS)):
        to_depth(torch.zeros(1, 1, 1, 1), 'inches', (1, 2))


def test_renormalising_is_undoing_one_normalisation_and_doing_the_other():
    """By hand, per channel."""
    image = torch.rand(2, 3, 4, 5)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    own_mean, own_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    layer = Renormalise(mean, std, own_mean, own_std)
    column = lambda values: torch.tensor(values)[:, None, None]  # noqa: E731
    torch.testing.assert_close(
        layer((image - column(mean)) / column(std)), (image - column(own_mean)) / column(own_std))


def test_the_same_normalisation_changes_no_bit():
    """Not even by rounding."""
    image = torch.randn(1, 3, 4, 4)
    assert Renormalise((0.1,) * 3, (0.3,) * 3, (0.1,) * 3, (0.3,) * 3)(image) is image


@pytest.mark.parametrize('map_size, fitted', [
    ((32, 48), (32, 48)), ((8, 12), (8, 12)), ((9, 12), (32, 48)), ((16, 12), (32, 48))])
def test_a_map_is_a_whole_fraction_of_the_image(map_size, fitted):
    """Others are enlarged to the image."""
    assert fit_to_image(torch.zeros(1, 2, *map_size), (32, 48)).shape[-2:] == fitted
