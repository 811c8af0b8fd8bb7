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


"""Ranking at semantic borders: where pairs lie, their order, torch's margin loss, bad input."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.ranking import (
    border_pairs,
    depth_order,
    PixelPairs,
    ranking_loss,
    semantic_ranking,
)
import torch
from torch.nn import functional


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def halves(height=12, width=20, border=9):
    """Return labels (1, h, w): class 3 left of the border, 5 from there on."""
    labels = torch.full((1, height, width), 3, dtype=torch.uint8)
    labels[:, :, border:] = 5
    return labels


def pairs_of(*pairs, valid=None):
    """Return pairs of one image from tuples of indices."""
    first, second = torch.tensor(pairs).T
    valid = torch.ones(len(pairs)) if valid is None else torch.tensor(valid)
    return PixelPairs(first[None], second[None], valid.bool()[None])


def test_pairs_lie_across_the_border_and_beside_it():
    pairs = border_pairs(halves(), seeded(), borders=200, reach=6)
    assert all(part.shape == (1, 600) for part in pairs)
    assert pairs.valid_bp.float().mean() == 1
    first, second = (pixels.reshape(3, 200) for pixels in pairs[:2])
    assert torch.equal(first // 20, second // 20)
    a, b, c, d = first[0] % 20, second[0] % 20, second[1] % 20, second[2] % 20
    assert torch.equal(first[1], second[0]) and torch.equal(first[2], second[1])
    for near, far, edge, side in ((b, a, 8, -1), (c, d, 9, 1)):
        assert torch.equal((side * (near - edge)).unique(), torch.arange(5))
        assert torch.equal((side * (far - edge)).unique(), torch.arange(1, 6))
        assert (side * (far - near) > 0).all()
    assert len((first // 20).unique()) == 12


def test_borders_in_both_directions():
    """Above one another the pairs lie in one column, as far apart as beside one another."""
    lying = halves().mT.contiguous()
    pairs = border_pairs(lying, seeded(), borders=200, reach=6)
    assert pairs.valid_bp.all()
    assert torch.equal(pairs.first_bp % 12, pairs.second_bp % 12)
    first, second = (pixels.reshape(3, 200) // 12 for pixels in pairs[:2])
    assert torch.equal(first[1].unique(), torch.arange(4, 9))
    assert torch.equal(second[1].unique(), torch.arange(9, 14))
    cross = torch.zeros(1, 9, 9, dtype=torch.uint8)
    cross[:, :4, :4] = 1
    pairs = border_pairs(cross, seeded(), borders=200, reach=3)
    upright = (pairs.first_bp % 9 == pairs.second_bp % 9)[pairs.valid_bp]
    assert 0.3 < upright.float().mean() < 0.7


def test_pairs_avoid_void_the_rim_and_other_borders():
    labels = halves()
    labels[:, :6, 7] = 255      # void beside the upper half of the border
    labels[:, 6:, 12:] = 3      # a narrow class 5 in the lower half
    pairs = border_pairs(labels, seeded(1), borders=400, reach=12)
    flat = labels[0].flatten()
    first, second = flat[pairs.first_bp[0]], flat[pairs.second_bp[0]]
    valid = pairs.valid_bp[0]
    assert 100 < valid.sum() < 1000
    assert not (first[valid] == 255).any() and not (second[valid] == 255).any()
    across = torch.arange(3).repeat_interleave(400) == 1
    assert torch.equal((first != second)[valid], across[valid])


def test_the_generator_alone_decides():
    labels = torch.randint(0, 3, (2, 8, 8), generator=seeded())
    one, same, other = (border_pairs(labels, seeded(seed)) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one, same))
    assert not torch.equal(one.first_bp, other.first_bp)


def test_images_without_a_border_have_no_pairs():
    labels = torch.cat([halves(), torch.full_like(halves(), 3), torch.full_like(halves(), 255)])
    assert border_pairs(labels, seeded()).valid_bp.any(dim=1).tolist() == [True, False, False]


def test_order_by_hand():
    true = torch.tensor([10.0, 20, 10.2, math.inf, math.inf, math.nan]).reshape(1, 1, 1, 6)
    valid = torch.isfinite(true) | torch.isinf(true)
    pairs = pairs_of((0, 1), (1, 0), (0, 2), (3, 0), (3, 4), (0, 5), (1, 2),
                     valid=[1, 1, 1, 1, 1, 1, 0])
    order, known = depth_order(true, valid, pairs)
    assert order[0, :4].tolist() == [-1, 1, 0, 1]
    assert known.valid_bp[0].tolist() == [True, True, True, True, False, False, False]
    order, _ = depth_order(true, valid, pairs, ratio=1.01)
    assert order[0, 2].item() == -1


def test_ranked_pairs_are_torchs_soft_margin():
    values = torch.randn(2, 1, 3, 4, generator=seeded(), dtype=torch.float64)
    first, second = torch.randint(0, 12, (2, 2, 9), generator=seeded(1))
    order = torch.randint(0, 2, (2, 9), generator=seeded(2)).double() * 2 - 1
    valid = torch.rand(2, 9, generator=seeded(3)) > 0.3
    pairs = PixelPairs(first, second, valid)
    flat = values.flatten(1)
    difference = flat.gather(1, first) - flat.gather(1, second)
    torch.testing.assert_close(
        ranking_loss(values, order, pairs),
        functional.soft_margin_loss(difference[valid], order[valid]))
    torch.testing.assert_close(
        ranking_loss(values, order * 0, pairs), difference[valid].square().mean())


def test_by_hand():
    """One pair in order, one out of order, one that should be equal, one that does not count."""
    values = torch.tensor([0.0, 2, 5]).reshape(1, 1, 1, 3)
    pairs = pairs_of((1, 0), (0, 2), (1, 2), (0, 1), valid=[1, 1, 1, 0])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(5)) + 9) / 3
    assert ranking_loss(values, torch.tensor([[1.0, 1, 0, 1]]), pairs).item() == pytest.approx(
        expected)


def random_case():
    """Return predicted and true depth, a mask and labels of two images, float64."""
    predicted, true = (torch.rand(
        2, 2, 1, 6, 7, generator=seeded(), dtype=torch.float64) * 20 + 1).unbind()
    valid = torch.rand(2, 1, 6, 7, generator=seeded(1)) > 0.2
    return predicted, true, valid, torch.randint(0, 2, (2, 6, 7), generator=seeded(2))


def test_gradients():
    predicted, true, valid, labels = random_case()
    predicted.requires_grad_()

    def loss(values):
        return semantic_ranking(values, true, valid, labels, seeded(3), 32, 4)

    assert torch.autograd.gradcheck(loss, predicted, fast_mode=True)
    loss(predicted).backward()
    assert (predicted.grad[~valid] == 0).all() and (predicted.grad != 0).sum() > 20


def test_scale_of_depth_does_not_count():
    predicted, true, valid, labels = random_case()
    torch.testing.assert_close(
        semantic_ranking(predicted * 9, true, valid, labels, seeded()),
        semantic_ranking(predicted, true * 3, valid, labels, seeded()))


def test_depth_learns_the_step_at_the_border():
    labels = halves()
    true = torch.where(labels == 3, 10.0, 30.0)[:, None]
    valid = torch.ones_like(true, dtype=torch.bool)
    log_depth = (torch.randn(true.shape, generator=seeded()) * 0.3).requires_grad_()
    optimizer = torch.optim.Adam([log_depth], 0.1)
    generator = seeded(1)
    for _ in range(40):
        optimizer.zero_grad()
        semantic_ranking(log_depth.exp(), true, valid, labels, generator, 64, 4).backward()
        optimizer.step()
    near, far = log_depth.detach()[..., 5:9], log_depth.detach()[..., 9:13]
    assert (far.mean() - near.mean()).item() > 1
    assert max(near.std(dim=-1).max(), far.std(dim=-1).max()).item() < 0.1


def test_nothing_known_costs_nothing():
    predicted, true, valid, labels = random_case()
    predicted.requires_grad_()
    for case in ((true * math.nan, valid & False, labels), (true, valid, labels * 0)):
        loss = semantic_ranking(predicted, *case, seeded())
        loss.backward()
        assert loss.item() == 0 and (predicted.grad == 0).all()


def test_bad_input():
    predicted, true, valid, labels = random_case()
    with pytest.raises(ValueError, match='one shape'):
        semantic_ranking(predicted[:1], true, valid, labels, seeded())
    with pytest.raises(ValueError, match=r'\(2, 6, 7\).*\(2, 6, 6\)'):
        semantic_ranking(predicted, true, valid, labels[..., :6], seeded())
    with pytest.raises(ValueError, match='positive, got -'):
        semantic_ranking(predicted, -true, valid, labels, seeded())
    with pytest.raises(ValueError, match='ratio above 1, got 1'):
        semantic_ranking(predicted, true, valid, labels, seeded(), ratio=1)
    with pytest.raises(ValueError, match='reach.*5 and 1'):
        border_pairs(labels, seeded(), borders=5, reach=1)
    with pytest.raises(ValueError, match=r'\(B, h, w\), got \(6, 7\)'):
        border_pairs(labels[0], seeded())
    pairs = pairs_of((0, 1), (1, 2))
    with pytest.raises(ValueError, match=r'\(1, 2\).*\(1, 1\)'):
        ranking_loss(predicted[:1], torch.ones(1, 1), pairs)
    with pytest.raises(ValueError, match='1, 0.*-1'):
        ranking_loss(predicted[:1], torch.tensor([[0.5, 1]]), pairs)
