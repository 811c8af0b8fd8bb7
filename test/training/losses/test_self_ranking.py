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


"""Ranking without truth: hand-made regions whose order is known, who moves where, and how far."""

from __future__ import annotations

import math

import pytest
from sync_perception.training.losses.self_ranking import border_labels, border_steps, self_ranking
import torch

WIDTH, BORDER = 40, 20
SURE = torch.ones(1, 12, WIDTH, dtype=torch.bool)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def halves(left=3, right=5):
    """Return labels (1, 12, 40): a class left of column 20, another from there on."""
    labels = torch.full((1, 12, WIDTH), left, dtype=torch.uint8)
    labels[:, :, BORDER:] = right
    return labels


def scene(left=10.0, right=30.0, step=BORDER):
    """Return depth (1, 1, 12, 40) that steps at a column, which need not be the labels' border."""
    depth = torch.full((1, 1, 12, WIDTH), float(left))
    depth[..., step:] = right
    return depth


def steps(depth, labels, **settings):
    return border_steps(depth, labels, seeded(), borders=200, **settings)


def gradient(depth, labels, **settings):
    """Return the loss and its gradient by depth, summed over each column: (40,)."""
    depth = depth.clone().requires_grad_()
    loss = self_ranking(depth, labels, seeded(), **settings)
    loss.backward()
    return loss.item(), depth.grad[0, 0].sum(dim=0)


def test_a_step_is_read_inside_of_both_regions():
    depth = scene(10, 30)
    depth[..., BORDER - 3:BORDER + 3] = 17  # neither one's, within the reach
    found = steps(depth, halves())
    assert found.valid_bp.all()
    torch.testing.assert_close(found.inside_2bp[0], torch.full((1, 200), math.log(10)))
    torch.testing.assert_close(found.inside_2bp[1], torch.full((1, 200), math.log(30)))
    torch.testing.assert_close(found.least_bp, torch.full((1, 200), math.log(3)))
    columns = found.pixels_2bp[:, 0] % WIDTH
    assert columns[0].unique().tolist() == [16, 17, 18, 19]
    assert columns[1].unique().tolist() == [20, 21, 22, 23]
    assert torch.equal(found.pixels_2bp[0] // WIDTH, found.pixels_2bp[1] // WIDTH)
    lying = steps(depth.mT.contiguous(), halves().mT.contiguous())
    assert lying.valid_bp.all()
    assert (lying.pixels_2bp[0, 0] // 12).unique().tolist() == [16, 17, 18, 19]
    assert (lying.pixels_2bp[1, 0] // 12).unique().tolist() == [20, 21, 22, 23]


@pytest.mark.parametrize('left, right', [(10.0, 30.0), (30.0, 10.0)])
def test_where_depth_does_not_step_at_the_border_both_sides_move_apart(left, right):
    """Descent makes the near region's side nearer and the far region's farther, nothing else."""
    depth = scene(left, right)
    depth[..., BORDER - 4:BORDER + 4] = math.sqrt(left * right)
    loss, slope = gradient(depth, halves())
    # half of the way is done: each pixel is ranked with the other region, ln(3) / 2 from it
    assert loss == pytest.approx(math.log1p(math.exp(-math.log(3) / 2)))
    farther = -slope.sign()
    expected = torch.zeros(WIDTH)
    expected[BORDER - 4:BORDER], expected[BORDER:BORDER + 4] = -1, 1
    assert torch.equal(farther, expected * (1 if left < right else -1))


def test_of_a_near_things_halo_only_the_halo_moves():
    """The near thing's depth spreads 3 pixels over what is behind: they move back, it stays."""
    loss, slope = gradient(scene(10, 30, step=BORDER + 3), halves())
    assert (slope[BORDER:BORDER + 3] < 0).all()
    assert slope[:BORDER].abs().max() == 0 and slope[BORDER + 3:].abs().max() == 0
    # 3 of 4 pixels behind the border, and none of those before it: each loses ln 2
    assert loss == pytest.approx(3 / 8 * math.log(2), rel=0.1)


def test_the_step_wanders_to_the_border_and_no_further():
    values = scene(10, 30, step=BORDER + 3).log().requires_grad_()
    optimizer = torch.optim.SGD([values], 10.0)
    generator = seeded(1)
    for _ in range(60):
        optimizer.zero_grad()
        self_ranking(values.exp(), halves(), generator).backward()
        optimizer.step()
    reached = values.detach()[0, 0, :, BORDER:BORDER + 3].exp()
    assert 30 / 1.1 < reached.min() and reached.max() < 40
    kept = [slice(BORDER), slice(BORDER + 3, None)]
    for part in kept:
        assert torch.equal(values.detach()[..., part],
                           scene(10, 30, step=BORDER + 3).log()[..., part])
    assert gradient(values.detach().exp(), halves())[0] == 0


def test_the_foot_of_a_wall_is_no_step():
    """Ground that reaches the wall's depth at its foot, in inverse depth linear: a plane."""
    labels = halves()
    behind = torch.arange(1, WIDTH - BORDER + 1) - 0.5
    depth = scene()
    for slope in (0.01, 0.03, 0.1):
        depth[..., BORDER:] = 1 / (1 / 10 + slope / 10 * behind)
        assert not steps(depth, labels).valid_bp.any()
    depth[..., BORDER:] *= 3  # the same ground much farther: it ends before the wall
    depth[..., BORDER:] += 20
    assert steps(depth, labels).valid_bp.all()


def test_depth_that_knows_nothing_yet_teaches_nothing():
    flat = torch.full((1, 1, 12, WIDTH), 5.0)
    assert gradient(flat, halves()) == (0, pytest.approx(torch.zeros(WIDTH)))
    slight = scene(10, 10.5)
    assert not steps(slight, halves()).valid_bp.any()
    assert steps(slight, halves(), ratio=1.04).valid_bp.all()
    noisy = scene(10, 30) * (torch.randn(1, 1, 12, WIDTH, generator=seeded()) * 0.5).exp()
    assert steps(noisy, halves()).valid_bp.float().mean() < 0.1


def test_regions_must_hold_all_that_is_read():
    depth = scene()
    labels = halves()
    labels[:, :6, BORDER + 6] = 255   # void, and a third class, in what is read behind
    labels[:, 6:, BORDER + 6] = 7
    beside = labels[0, :, BORDER + 6]
    found = border_steps(depth, labels, seeded(), 400)
    assert not found.valid_bp.any()
    assert (beside != 5).all()
    assert not steps(depth[..., 13:], halves()[..., 13:]).valid_bp.any()  # 7 columns before it
    assert steps(depth[..., 12:], halves()[..., 12:]).valid_bp.all()
    assert not steps(depth, torch.full_like(halves(), 255)).valid_bp.any()
    assert gradient(depth, torch.full_like(halves(), 255))[0] == 0


def test_samples_are_ranked_by_their_own_borders():
    """In a batch of two, the one without a border gets no gradient; the draw is repeatable."""
    depth = torch.cat([scene(step=BORDER + 3), scene(step=BORDER + 3)]).requires_grad_()
    labels = torch.cat([halves(), halves(3, 3)])
    self_ranking(depth, labels, seeded()).backward()
    assert depth.grad[0].abs().sum() > 0 and depth.grad[1].abs().sum() == 0
    one, same, other = (
        border_steps(depth.detach(), labels, seeded(seed)) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one, same))
    assert not torch.equal(one.pixels_2bp, other.pixels_2bp)


def test_gradients_and_scale():
    """The gradient is that of differences; what is inside is held still; scale does not count."""
    depth = scene(10, 30).double()
    depth[..., BORDER - 4:BORDER + 4] = 17 + torch.rand(12, 8, generator=seeded())
    near = depth[..., BORDER - 4:BORDER + 4].clone().requires_grad_()

    def loss(middle):
        whole = torch.cat([depth[..., :BORDER - 4], middle, depth[..., BORDER + 4:]], dim=-1)
        return self_ranking(whole, halves(), seeded(), borders=32)

    assert torch.autograd.gradcheck(loss, near)
    torch.testing.assert_close(
        self_ranking(depth * 7, halves(), seeded()), self_ranking(depth, halves(), seeded()))


def test_the_best_labels_of_each_sample_show_its_borders():
    """True ones, else an expert's where sure, else, if asked for, the network's where probable."""
    true = torch.cat([halves(1, 2), halves(255, 255), halves(255, 255), halves(255, 4)])
    expert = torch.cat([halves(6, 7), halves(6, 7), halves(6, 7), halves(6, 7)])
    sure = torch.stack([SURE[0], SURE[0], SURE[0] & False, SURE[0]])
    sure[1, :6] = False
    without = border_labels(true, expert, sure)
    assert torch.equal(without[0], true[0])
    assert (without[1, :6] == 255).all() and torch.equal(without[1, 6:], expert[1, 6:])
    assert (without[2] == 255).all()
    assert torch.equal(without[3], true[3])  # void beside true labels is not filled up
    logits = torch.zeros(4, 3, 12, WIDTH, requires_grad=True)
    logits.data[:, 2, :, BORDER:] = 3.0      # probability 0.91, left of it 1/3
    own = border_labels(true, expert, sure, logits, 0.9)
    assert torch.equal(own[:2], without[:2].long())
    assert torch.equal(own[2], halves(255, 2)[0].long())
    assert not own.requires_grad
    assert torch.equal(border_labels(true, expert, sure, logits, 0.0)[2], halves(0, 2)[0].long())


def test_bad_input():
    with pytest.raises(ValueError, match=r'\(1, 1, 12, 40\).*\(1, 12, 39\)'):
        self_ranking(scene(), halves()[..., :-1], seeded())
    for settings in ({'borders': 0}, {'reach': 1}, {'ratio': 1.0}):
        with pytest.raises(ValueError, match='reach.*ratio'):
            self_ranking(scene(), halves(), seeded(), **settings)
