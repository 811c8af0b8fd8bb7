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


"""Mixing: pairs made by hand, and what stays whole."""

from __future__ import annotations

from kornia.augmentation import ColorJitter, RandomGaussianBlur
import pytest
from small_batches import annotated_batch
from sync_perception.training.objectives.mixing import (
    class_mask,
    class_mix,
    depth_mask,
    depth_mix,
    mix_maps,
    normalised_disparity,
    partners,
    strong_variation,
)
import torch

NAN = float('nan')
SWAP = torch.tensor([1, 0])
DEVICES = ['cpu'] + (['cuda'] if torch.cuda.is_available() else [])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_a_pair_made_by_hand():
    """Disparities (1, 0.5, 0.25, 0.1) and (1, 0.2, 0.25, 0.125), by their own ranges."""
    depth = torch.tensor([[[1.0, 2, 4, 10]], [[1.0, 5, 4, 8]]])
    expected = torch.tensor([
        [1, 4 / 9, 1 / 6, 0],       # (d - 0.1) / 0.9
        [1, 3 / 35, 1 / 7, 0]])     # (d - 0.125) / 0.875
    torch.testing.assert_close(normalised_disparity(depth)[:, 0], expected)
    # second image: 0.086 < 0.444 - 0.03 loses; 0.143 >= 0.167 - 0.03 is near enough
    assert depth_mask(depth, SWAP)[:, 0].tolist() == [[True] * 4, [True, False, True, True]]
    image = torch.tensor([10, 20, 30, 40, 50, 60, 70, 80], dtype=torch.uint8)
    batch = {
        'image': image.view(2, 1, 4, 1).expand(2, 1, 4, 3), 'labels': torch.tensor(
            [[[0, 1, 2, 255]], [[3, 4, 5, 6]]], dtype=torch.uint8),
        'depth': depth, 'weight': torch.tensor([[[1.0] * 4], [[0.25] * 4]]),
        'normals': torch.arange(24.0).view(2, 3, 1, 4),
        'focal': torch.tensor([1.0, 2.0]), 'id': ['a', 'b'], 'K': torch.eye(3).expand(2, 3, 3)}
    mixed = depth_mix(batch, depth, SWAP)
    assert set(mixed) == {'image', 'labels', 'depth', 'weight', 'normals'}
    assert mixed['image'][..., 0].tolist() == [[[10, 20, 30, 40]], [[50, 20, 70, 80]]]
    assert mixed['labels'].tolist() == [[[0, 1, 2, 255]], [[3, 1, 5, 6]]]
    assert mixed['labels'].dtype == mixed['image'].dtype == torch.uint8
    assert mixed['depth'].tolist() == [[[1, 2, 4, 10]], [[1, 2, 4, 8]]]
    assert mixed['weight'][1].tolist() == [[0.25, 1, 0.25, 0.25]]
    assert mixed['normals'][1].tolist() == [[[12, 1, 14, 15]], [[16, 5, 18, 19]],
                                            [[20, 9, 22, 23]]]


def test_nearer_things_hide_farther_ones_whatever_the_unit():
    """A post at 5 m in one street and a car at 8 m in another, the horizon at 100 m."""
    depth = torch.full((2, 6, 8), 100.0)
    depth[0, :, 2], depth[1, 2:, 2:6] = 5, 8
    mask = depth_mask(depth, SWAP)
    assert mask[0, :, 2].all() and not mask[0, 2:, 3:6].any() and mask[0, :2].all()
    assert torch.equal(depth_mask(depth * torch.tensor([7.0, 1])[:, None, None], SWAP), mask)


def test_pixels_without_depth_are_farthest_and_images_without_depth_stay_whole():
    depth = torch.tensor([[[NAN, 2.0, 4.0]], [[1.0, NAN, float('inf')]]])
    assert normalised_disparity(depth).tolist() == [[[0, 1, 0]], [[1, 0, 0]]]
    assert depth_mask(depth, SWAP)[:, 0].tolist() == [[False, True, True], [True, False, True]]
    depth[1] = NAN
    assert depth_mask(depth, SWAP).all()
    assert depth_mask(torch.full((2, 3, 3), 7.0), SWAP).all()  # all are as far as each other


@pytest.mark.parametrize('device', DEVICES)
def test_the_formula_on_a_larger_batch_pair_by_pair(device):
    depth = torch.rand(5, 7, 9) * 80 + 1
    partner = partners(5)
    disparity = (1 / depth).double()
    for i, j in enumerate(partner.tolist()):
        first, second = (
            (disparity[k] - disparity[k].min()) / (disparity[k].max() - disparity[k].min())
            for k in (i, j))
        expected = first >= second - 0.03
        found = depth_mask(depth.to(device), partner.to(device))[i]
        assert torch.equal(found.cpu(), expected) and 0 < expected.sum() < 63


@pytest.mark.parametrize('size', [1, 2, 3, 8])
def test_everybody_has_a_partner_and_is_one(size):
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        partner = partners(size)
        assert sorted(partner.tolist()) == list(range(size))
        assert size == 1 or all(partner != torch.arange(size))
        torch.manual_seed(seed)
        assert torch.equal(partner, partners(size))
        seen.add(tuple(partner.tolist()))
    assert len(seen) > 1 or size < 3


def test_images_are_mixed_in_whole_cells_and_every_map_by_the_same_mask():
    batch = annotated_batch()
    mask = torch.rand(2, 32, 48) > 0.5
    mixed = mix_maps(batch, mask, SWAP)
    assert set(mixed) == {
        'image', 'depth', 'labels', 'expert_labels', 'expert_confidence', 'expert_classes',
        'expert_probabilities', 'normals'}
    for name, values in mixed.items():
        assert values.shape == batch[name].shape and values.dtype == batch[name].dtype
    row, column = 11, 30
    for sample in range(2):
        source = sample if mask[sample, row, column] else 1 - sample
        cell = slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)
        assert torch.equal(mixed['image'][sample][cell], batch['image'][source][cell])
        assert torch.equal(
            mixed['normals'][sample, :, row, column], batch['normals'][source, :, row, column])
    with pytest.raises(ValueError, match='whole number'):
        mix_maps(batch, mask[..., :40], SWAP)


@pytest.mark.parametrize('device', DEVICES)
def test_half_of_the_classes_are_pasted(device):
    labels = torch.tensor([[[0, 0, 3, 3], [7, 7, 9, 255]], [[5, 5, 5, 255], [6, 6, 2, 255]],
                           [[4, 4, 4, 4], [4, 4, 4, 255]]], dtype=torch.uint8)
    chosen = set()
    for _ in range(30):
        mask = class_mask(labels.to(device)).cpu()
        pasted = [set(values[own].tolist()) for values, own in zip(labels, mask)]
        assert [len(classes) for classes in pasted] == [2, 1, 0]  # of 4, of 3, of 1
        assert not mask[labels == 255].any()
        for classes, values, own in zip(pasted, labels, mask):
            assert torch.equal(own, torch.isin(values, torch.tensor([*classes, 254])))
        chosen.add((frozenset(pasted[0]), frozenset(pasted[1])))
    assert len({first for first, _ in chosen}) == 6 and len({one for _, one in chosen}) == 3


def test_classes_land_on_the_partner():
    batch = {'image': torch.arange(2, dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 4, 4, 3)}
    labels = torch.tensor([[[0, 1], [2, 3]]] * 2)
    mixed = class_mix({**batch, 'labels': labels}, labels, SWAP)
    torch.manual_seed(0)
    mask = class_mask(labels)
    assert torch.equal(mixed['image'][0, ::2, ::2, 0] == 0, mask[0])
    assert torch.equal(mixed['image'][1, ::2, ::2, 0] == 1, mask[1])


def test_the_variation_is_the_papers():
    """Strengths as kornia names them; each image its own; nothing leaves [0, 1]."""
    jitter, blur = strong_variation().children()
    assert isinstance(jitter, ColorJitter) and isinstance(blur, RandomGaussianBlur)
    assert (jitter.p, blur.p) == (0.8, 0.5)
    factors = {'brightness': [0.75, 1.25], 'contrast': [0.75, 1.25],
               'saturation': [0.75, 1.25], 'hue': [-0.25, 0.25]}
    torch.manual_seed(0)
    drawn = jitter.forward_parameters(torch.Size([500, 3, 8, 8]))
    for name, (low, high) in factors.items():
        values = drawn[f'{name}_factor']
        assert low <= values.min() < low + 0.02 and high - 0.02 < values.max() <= high
    sigma = blur.forward_parameters(torch.Size([500, 3, 8, 8]))['sigma']
    assert 0.15 <= sigma.min() < 0.17 and 1.13 < sigma.max() <= 1.15
    image = torch.rand(1, 3, 32, 32).expand(40, 3, 32, 32)
    varied = strong_variation()(image)
    changed = (varied - image).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert 30 <= changed.sum() < 40  # 1 - 0.2 * 0.5 of them
    assert varied.min() >= 0 and varied.max() <= 1
