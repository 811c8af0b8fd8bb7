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

"""Depth from neighbouring images: known answers, what is left out, every architecture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_batches import step_of
from sync_perception.datasets.neighbours import neighbour_arrays, read_neighbours, STEREO
from sync_perception.datasets.synthetic import Synthetic
from sync_perception.datasets.views import training_arrays, View
from sync_perception.training.losses.photometric import photometric_error
from sync_perception.training.objectives.camera_motion import PoseConfig
from sync_perception.training.objectives.objective import depth_scales
from sync_perception.training.objectives.self_supervised import (
    pyramid,
    SelfSupervised,
    SelfSupervisedConfig,
)
import torch
from zoo import build, MODEL_ZOO

FAR = 1e4
KNOWN = {'known_poses': True, 'scales': 1}
WITH_DEPTH = [name for name in MODEL_ZOO if name != 'semantics_alone']


def supervision(canonical_focal: float | None = None, **settings: Any) -> SelfSupervised:
    torch.manual_seed(0)
    config = SimpleNamespace(
        depth_range=[0.1, FAR], mean=[0.5] * 3, std=[0.5] * 3, canonical_focal=canonical_focal)
    network = SimpleNamespace(depth_form='disparity')
    setup = SimpleNamespace(model=SimpleNamespace(network=network, config=config), others={})
    return SelfSupervised(SelfSupervisedConfig(**{**KNOWN, **settings}), setup)


def ask(learner: SelfSupervised, depths: list[torch.Tensor], batch: dict[str, Any],
        number: int = 0) -> dict[str, torch.Tensor]:
    return learner.terms(step_of(batch, depths=depths, number=number))


def toy_batch(offsets=(-1, 1), size=(32, 64)) -> dict[str, torch.Tensor]:
    """
    Return two samples of a wall 10 m away with a texture, seen by a camera that moves sideways.

    Its neighbours are 0.5 m to the left and to the right, so that the wall moves by 2 pixels.
    """
    rng = torch.Generator().manual_seed(0)
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 3, size[0] // 4, size[1] // 4 + 2, generator=rng) * 255,
        size=(size[0], size[1] + 8), mode='bicubic').clamp(0, 255)[0].permute(1, 2, 0).byte()
    count = len(offsets)
    poses = torch.eye(4).repeat(2, count, 1, 1)
    neighbours = []
    for place, offset in enumerate(offsets):
        poses[:, place, 0, 3] = -0.5 * offset
        neighbours.append(wide[:, 4 + 2 * offset:4 + 2 * offset + size[1]])
    K = torch.tensor([[40.0, 0, size[1] / 2], [0, 40, size[0] / 2], [0, 0, 1]])
    return {
        'image': wide[:, 4:4 + size[1]].expand(2, -1, -1, -1).contiguous(),
        'neighbours': torch.stack(neighbours).expand(2, -1, -1, -1, -1).contiguous(),
        'neighbour_there': torch.ones(2, count, dtype=torch.bool),
        'neighbour_offset': torch.tensor(offsets).expand(2, -1),
        'neighbour_pose': poses, 'K': K.expand(2, 3, 3), 'focal': torch.full((2,), 40.0)}


def wall(metres: float = 10.0, size=(32, 64)) -> torch.Tensor:
    return torch.full((2, 1, *size), metres)


@pytest.fixture(scope='module')
def street():
    """Return a batch of one rendered moment, plain and mirrored, with its true depth."""
    data = Synthetic(size=(96, 320), frames_per_world=1, interleave=1, vary_camera=False,
                     weather='overcast')
    name, offsets = '0_000000_00006', (-1, 1, STEREO)
    sample, neighbours = data.read(name), read_neighbours(data, name, offsets)
    rows = []
    for mirror in (False, True):
        view = View(1.0, 0, 0, (96, 320), mirror)
        rows.append({**training_arrays(sample, view, 1),
                     **neighbour_arrays(sample, neighbours, offsets, view)})
    return torch.utils.data.default_collate(rows)


@pytest.fixture(scope='module')
def part(street):
    """Return a part of the plain sample that has the road, and half of the pixels."""
    batch = {name: values[:1, :1] for name, values in street.items() if 'neighbour' in name}
    batch['neighbours'] = batch['neighbours'][:, :, 32:, 80:240]
    for name in ('image', 'depth', 'labels', 'expert_labels'):
        batch[name] = street[name][:1, 32:, 80:240]
    K = street['K'][0] - torch.tensor([[0, 0, 80.0], [0, 0, 32], [0, 0, 0]])
    return {**batch, 'K': K[None], 'focal': street['focal'][:1], 'space': ['driving'],
            'expert_space': ['']}


def true_depth(batch):
    depth = batch['depth'][:, None].clone()
    depth[~torch.isfinite(depth)] = FAR
    return depth


@pytest.mark.parametrize('focal', [None, 100.0])
def test_true_depth_explains_a_street_best(street, focal):
    """Also where the network gives it for a canonical camera."""
    terms = {}
    for factor in (0.8, 0.9, 1.0, 1.1, 1.25):
        depth = true_depth(street) * factor
        if focal is not None:
            depth = depth * (focal / street['focal'])[:, None, None, None]
        terms[factor] = ask(supervision(focal), [depth], street)['photometric'].item()
    assert min(terms, key=terms.get) == 1.0
    assert terms[1.0] < 0.85 * min(terms[0.8], terms[1.25])


def test_each_kind_of_neighbour_knows_the_depth_of_a_street(street):
    for place in range(3):
        batch = dict(street)
        batch['neighbour_there'] = torch.zeros(2, 3, dtype=torch.bool)
        batch['neighbour_there'][:, place] = True
        errors = [ask(supervision(), [true_depth(batch) * factor], batch)['photometric'].item()
                  for factor in (1.0, 0.8, 1.25)]
        assert errors[0] < min(errors[1:])


def test_a_street_teaches_depth_its_scale(part):
    """From a factor of 1.15, the gradient of a common factor brings depth back."""
    factor = torch.tensor(1.15, requires_grad=True)
    optimizer = torch.optim.Adam([factor], lr=0.01)
    objective = supervision()
    for _ in range(30):
        optimizer.zero_grad()
        ask(objective, [true_depth(part) * factor], part)['photometric'].backward()
        optimizer.step()
    assert factor.item() == pytest.approx(1, abs=0.04)


def test_the_height_of_the_camera_tells_how_long_a_metre_is(part):
    """Where motion does not: depth and motion too small by the same factor look the same."""
    depth = true_depth(part) * (100 / part['focal'])[:, None, None, None]
    translations = torch.zeros(4, 4, dtype=torch.bool)
    translations[:3, 3] = True
    found = {}
    for height in (None, 1.65):
        objective = supervision(100.0, camera_height=height)
        factors = torch.tensor([0.6, 0.6]).log().requires_grad_()  # of depth, of the motion
        optimizer = torch.optim.Adam([factors], lr=0.05)
        for _ in range(30):
            nearer, motion = factors.exp()
            poses = part['neighbour_pose'] * torch.where(translations, motion, 1)
            terms = ask(objective, [depth * nearer], {**part, 'neighbour_pose': poses})
            optimizer.zero_grad()
            (terms['photometric'] + terms.get('camera_height', 0)).backward()
            optimizer.step()
        found[height] = factors.detach().exp().tolist()
        assert objective.scale_from(step_of(part), terms) == {'poses'} | (
            {'camera height'} if height else set())
    assert found[None] == pytest.approx([0.6, 0.6], abs=0.05)
    assert found[1.65] == pytest.approx([1, 1], abs=0.05)


def test_the_minimum_handles_an_occlusion_that_the_mean_does_not():
    """A post in one neighbour hides the wall: the other one still shows all of it."""
    batch = toy_batch()
    clean = ask(supervision(), [wall()], batch)['photometric']
    batch['neighbours'][:, 0, :, 20:32] = 0
    minimum = ask(supervision(), [wall()], batch)['photometric']
    assert minimum < 1.1 * clean + 1e-3
    image = batch['image'].permute(0, 3, 1, 2).float() / 255
    each = []
    for place, shift in ((0, -2), (1, 2)):
        seen = batch['neighbours'][:, place].permute(0, 3, 1, 2).float() / 255
        inner = seen.roll(shift, dims=3)[..., 4:-4]  # the warp by true depth, away from the edges
        each.append(photometric_error(inner, image[..., 4:-4]))
    assert torch.stack(each).mean() > 10 * minimum


def test_static_frames_teach_nothing():
    """Whatever the poses say: here that the camera moved."""
    batch = toy_batch()
    batch['neighbours'] = batch['image'][:, None].expand(-1, 2, -1, -1, -1).contiguous()
    depth = wall().requires_grad_()
    ask(supervision(), [depth], batch)['photometric'].backward()
    assert not depth.grad.any()
    moving = wall(9.0).requires_grad_()
    ask(supervision(), [moving], toy_batch())['photometric'].backward()
    assert moving.grad.any()


def test_the_mask_waits_as_long_as_it_is_told_to():
    """Of a camera that stands although its poses say that it moves, depth learns but before."""
    batch = toy_batch()
    batch['neighbours'] = batch['image'][:, None].expand_as(batch['neighbours'])
    learner = supervision(mask_after=5)
    for step, learns in ((4, True), (5, False)):
        depth = wall().requires_grad_()
        ask(learner, [depth], batch, step)['photometric'].backward()
        assert bool(depth.grad.any()) == learns


def test_what_moves_with_the_camera_teaches_nothing():
    """A bonnet: the same pixels in all frames, below a wall that moves."""
    batch = toy_batch()
    batch['neighbours'][:, :, 20:] = batch['image'][:, None, 20:]
    depth = wall(9.0).requires_grad_()
    ask(supervision(), [depth], batch)['photometric'].backward()
    assert not depth.grad[:, :, 23:].any() and depth.grad[:, :, :18].any()


def test_a_wall_of_ten_metres_by_hand():
    errors = {metres: ask(supervision(), [wall(metres)], toy_batch())['photometric'].item()
              for metres in (8.0, 10.0, 12.5)}
    assert errors[10.0] < 0.2 * min(errors[8.0], errors[12.5])


def test_samples_without_neighbours_count_as_nothing():
    batch = toy_batch()
    whole = ask(supervision(), [wall()], batch)
    batch['neighbour_there'] = torch.tensor([[True, True], [False, False]])
    batch['neighbour_pose'][1] = torch.nan
    batch['K'] = torch.stack([batch['K'][0], torch.full((3, 3), torch.nan)])
    batch['focal'][1] = torch.nan
    depth = wall().requires_grad_()
    half = ask(supervision(), [depth], batch)
    for name, term in half.items():
        torch.testing.assert_close(term, whole[name] / 2)
    half['photometric'].backward()
    assert torch.isfinite(depth.grad).all() and not depth.grad[1].any()
    batch['neighbour_there'][:] = False
    assert ask(supervision(), [wall()], batch) == {}


def test_neighbours_without_intrinsics_are_refused():
    blind = {**toy_batch(), 'K': torch.stack([torch.eye(3), torch.eye(3) * torch.nan])}
    with pytest.raises(ValueError, match='b .*intrinsics.*neighbours: fal'):
        ask(supervision(), [wall()], {**blind, 'id': ['a', 'b']})


def test_unknown_poses_are_left_out_or_estimated():
    batch = toy_batch()
    batch['neighbour_pose'][:] = torch.nan
    assert ask(supervision(), [wall()], batch) == {}
    estimating = supervision(pose=PoseConfig())
    terms = ask(estimating, [wall()], batch)
    assert torch.isfinite(terms['photometric'])
    terms['photometric'].backward()
    assert any(weight.grad is not None and weight.grad.any()
               for weight in estimating.motion.parameters())
    assert estimating.scale_from(step_of(batch), terms) == set()
    assert supervision().scale_from(step_of(toy_batch()), {}) == {'poses'}


def test_stereo_is_warped_by_its_known_pose_and_gives_the_scale():
    batch = toy_batch((1, STEREO))
    batch['neighbour_pose'][:, 0] = torch.nan
    estimating = supervision(known_poses=False, pose=PoseConfig())
    assert estimating.scale_from(step_of(batch), {}) == {'stereo'}
    assert estimating.known(batch).tolist() == [[False, True]] * 2
    image, neighbours = torch.rand(2, 3, 32, 64), torch.rand(2, 2, 3, 32, 64)
    poses = estimating.poses(image, neighbours, batch['neighbour_there'], batch)
    torch.testing.assert_close(poses[:, 1], batch['neighbour_pose'][:, 1])
    assert torch.isfinite(poses).all() and (poses[:, 0] != torch.eye(4)).any()


def test_the_pose_network_finds_the_motion_where_depth_is_known():
    """Sideways, to one side before and to the other after."""
    batch = toy_batch()
    truth = batch['neighbour_pose'][0, :, 0, 3].clone()
    batch['neighbour_pose'][:] = torch.nan
    estimating = supervision(known_poses=False, pose=PoseConfig())
    optimizer = torch.optim.Adam(estimating.motion.parameters(), 1e-3)
    errors = []
    for _ in range(25):
        optimizer.zero_grad()
        error = ask(estimating, [wall()], batch)['photometric']
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
    image = batch['image'].permute(0, 3, 1, 2).float() / 255
    neighbours = batch['neighbours'].permute(0, 1, 4, 2, 3).float() / 255
    with torch.no_grad():
        poses = estimating.poses(image, neighbours, batch['neighbour_there'], batch)
    assert torch.equal(poses[0, :, 0, 3].sign(), truth.sign())


def test_half_precision_outside_leaves_the_geometry_exact():
    exact = ask(supervision(), [wall()], toy_batch())
    with torch.autocast('cpu', torch.bfloat16):
        mixed = ask(supervision(), [wall()], toy_batch())
    for name, term in exact.items():
        torch.testing.assert_close(mixed[name], term)


def test_scales_are_made_from_one_map_or_taken_as_they_come():
    depth = torch.rand(1, 1, 64, 96) + 1
    made = pyramid([depth], 4)
    assert [tuple(scale.shape[2:]) for scale in made] == [(64, 96), (32, 48), (16, 24), (8, 12)]
    torch.testing.assert_close(
        1 / made[1][0, 0, 0, 0], (1 / depth[0, 0, :2, :2]).mean())
    assert len(pyramid([depth], 9)) == 4  # smaller ones say nothing
    own = [depth, depth[..., ::2, ::2]]
    assert pyramid(own, 2)[1] is own[1] and len(pyramid(own, 1)) == 1


@pytest.mark.parametrize('name', WITH_DEPTH)
def test_every_architecture_learns_from_neighbours(name):
    model = build(name).train()
    objective = supervision(canonical_focal=40.0, scales=4)
    batch = toy_batch(size=(64, 96))
    image = batch['image'].permute(0, 3, 1, 2).float() / 127.5 - 1
    output, depths = depth_scales(model, image)
    assert output.depth is not None
    terms = ask(objective, depths, batch)
    (terms['photometric'] + terms['smooth_disparity']).backward()
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert grads and all(torch.isfinite(grad).all() for grad in grads)
    assert any(grad.any() for grad in grads)


def test_decoders_with_scales_of_their_own_give_them():
    model = build('padnet').train()
    assert len(depth_scales(model, torch.zeros(2, 3, 64, 96))[1]) == 1
    from sync_perception.models import build_model, ModelConfig
    config = model.config
    own = build_model(ModelConfig('padnet', {**config.arguments, 'scales': 4},
                                  config.label_space)).eval()
    output, depths = depth_scales(own, torch.rand(2, 3, 64, 96))
    assert [depth.shape[-1] for depth in depths] == [96, 48, 24, 12]
    torch.testing.assert_close(depths[0], output.depth)


def test_settings_that_mean_nothing_are_refused():
    for settings, key in (
            ({'camera_height': 0}, 'camera_height.*got 0'), ({'scales': 0}, 'scales.*got 0'),
            ({'weight': -1.0}, 'weight.*got -1'), ({'mask_after': -1}, 'mask_after.*got -1')):
        with pytest.raises(ValueError, match=key):
            supervision(**settings)
    with pytest.raises(ValueError, match='`neighbours'):
        supervision().check_offsets(())
    with pytest.raises(ValueError, match=r'\[-1, 1\]'):
        supervision(known_poses=False).check_offsets((-1, 1, STEREO))
    supervision(known_poses=False).check_offsets((STEREO,))


def test_depth_beyond_the_range_is_drawn_back():
    """A network that gives metres as they come may give none at all."""
    depth = torch.full((2, 1, 32, 64), -1.0)
    terms = ask(supervision(), [depth], toy_batch())
    assert all(torch.isfinite(term) for term in terms.values())
    assert np.isfinite(sum(term.item() for term in terms.values()))
