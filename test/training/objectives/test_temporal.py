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


"""Video as a teacher: truth does not change, what cannot be compared counts for nothing."""

from __future__ import annotations

from types import SimpleNamespace

from frame_pairs import couple, full, grey, K, moved, Said, sharp, SIZE, texture
import numpy as np
import pytest
from small_batches import annotated_batch, batch, step_of, TINY
from sync_perception.models.network_input import normalise
from sync_perception.street_world import StreetWorld
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.camera_motion import PoseConfig
from sync_perception.training.objectives.self_supervised import SelfSupervisedConfig
from sync_perception.training.objectives.temporal import (
    predict_untracked,
    TemporalConfig,
    TemporalConsistency,
)
from sync_perception.types import DenseOutput
import torch

BOTH = {'depth': TINY, 'semantics': TINY}


def temporal(canonical_focal=None, supervision=None, **settings):
    """Return the objective for a network of a canonical camera, or of metres."""
    model = SimpleNamespace(config=SimpleNamespace(canonical_focal=canonical_focal))
    others = {'self_supervised': supervision} if supervision else {}
    setup = SimpleNamespace(model=model, others=others)
    return TemporalConsistency(TemporalConfig(**settings), setup)


def ask(learner, model, output, crops):
    return learner.terms(step_of(crops, output, model=model))


def of(terms):
    return terms['temporal_depth'].item()


@pytest.fixture(scope='module')
def street():
    """Return two frames of a street as a batch, and the depth of both, the sky at 1 km."""
    world = StreetWorld(1, (96, 160), frames=20)
    previous, current = world.render(9), world.render(10)
    pose = np.linalg.inv(previous.world_T_camera) @ current.world_T_camera
    now, before = (torch.from_numpy(np.where(np.isinf(x.depth), 1e3, x.depth))[None, None].float()
                   for x in (current, previous))
    true = torch.from_numpy(current.depth).masked_fill(now[0, 0] == 1e3, torch.nan)
    return couple(
        *(torch.from_numpy(x.frame.image.copy()) for x in (current, previous)),
        torch.from_numpy(pose).float(), true, torch.from_numpy(world.K).float()), now, before


@pytest.mark.parametrize(('given', 'rise'), [(True, 3), (False, 1.25)])
def test_true_depth_does_not_change_and_depth_of_another_scale_does(street, given, rise):
    """Less so if pixels are followed by the wrong depth themselves."""
    crops, now, before = street
    if not given:
        crops = {**crops, 'depth': torch.full_like(crops['depth'], torch.nan)}
    learner = temporal(tolerance=0.1)
    found = {x: of(ask(learner, Said(depth=x * before), DenseOutput(x * now, None), crops))
             for x in (0.8, 1.0, 1.25)}
    assert found[1.0] < 3e-3  # edges, and what moves
    assert min(found[0.8], found[1.25]) > rise * found[1.0]
    breathing = of(ask(learner, Said(depth=before), DenseOutput(1.1 * now, None), crops))
    assert breathing == pytest.approx(0.1 / 2.1, rel=0.2)  # of most of the street


def test_the_network_sees_the_canonical_camera(street):
    """What it says is in that camera's metres; the poses are in true ones."""
    crops, now, before = street
    zoom = crops['focal'].item() / 300
    learner = temporal(300.0)
    terms = ask(learner, Said(depth=before / zoom), DenseOutput(now / zoom, None), crops)
    assert of(terms) < 5e-3


def test_labels_warped_by_a_known_shift_are_the_same():
    """A wall 10 m away, a step of 1 m, f = 50: everything was 5 pixels further right."""
    labels = (torch.arange(80) // 7 % 2).expand(40, 80)
    now, before = labels[:, 15:75], labels[:, 10:70]
    crops = couple(texture(5), texture(0), moved(x=1), full(10.0)[0, 0])
    learner = temporal()

    def changed(said):
        terms = ask(learner, Said(logits=sharp(said)), DenseOutput(None, sharp(now)), crops)
        return terms['temporal_labels'].item()
    assert changed(before) < 1e-8
    wrong = before.clone()
    wrong[:, 20:26] = 1 - wrong[:, 20:26]  # 6 of 60 columns, 2 each
    assert changed(wrong) == pytest.approx(2 * 6 / 60, rel=1e-3)
    assert changed(now) > 0.5


def test_targets_may_be_coarser_than_images():
    """At half the size, the same shift is 2.5 pixels; intrinsics follow."""
    labels = (torch.arange(80) // 10 % 2).expand(40, 80)
    pairs = [sharp(x)[..., ::2, ::2] for x in (labels[:, 14:74], labels[:, 10:70])]
    crops = couple(texture(4), texture(0), moved(x=0.8), torch.full((20, 30), 10.0))
    said, learner = Said(logits=pairs[1]), temporal()
    assert ask(learner, said, DenseOutput(None, pairs[0]), crops)['temporal_labels'] < 1e-8


def post():
    """
    Return what there is now and what was before: a post 5 m away before a wall of 25 m.

    The camera has gone 1 m to the right: the post was 10 pixels, the wall 2 further right.
    """
    now, before = full(25.0), full(25.0)
    now[..., 20:26], before[..., 30:36] = 5, 5
    return now, before


def valid_of(learner, present, said, crops):
    """Return where a component compares, (H, W), by the term's name."""
    changes = learner.changes(present, said, learner.pairs(crops))
    return {name: valid[0, 0] for name, (_, valid) in changes.items()}


@pytest.mark.parametrize('given', [True, False])
def test_what_was_hidden_is_not_compared(given):
    """Of the wall, the pixels that were behind the post."""
    now, before = post()
    crops = couple(grey(), grey(), moved(x=1), now[0, 0] if given else None)
    maps = {'depth': now, 'logits': sharp(torch.zeros(SIZE, dtype=torch.int64))}
    found = valid_of(temporal(), maps,
                     DenseOutput(before, maps['logits']), crops)
    columns = np.arange(SIZE[1])
    expected = ~np.isin(columns, np.arange(28, 34)) & (columns < SIZE[1] - 2)
    assert set(found) == {'temporal_depth', 'temporal_labels'}
    for valid in found.values():
        np.testing.assert_array_equal(valid.numpy(), np.broadcast_to(expected, SIZE))


def test_what_moves_by_itself_is_not_compared():
    """The camera stands; a bright thing has crossed a dark street."""
    image, neighbour = grey(), grey()
    image[10:20, 10:20], neighbour[10:20, 35:45] = 250, 250
    crops = couple(image, neighbour, moved(), full(10.0)[0, 0])
    valid = valid_of(temporal(), {'depth': full(10.0)},
                     DenseOutput(full(10.0), None), crops)['temporal_depth']
    assert not valid[10:20, 10:20].any() and not valid[10:20, 35:45].any()
    assert valid[24:].all() and valid[:, :8].all() and valid[:, 22:32].all()


def test_what_lies_behind_or_outside_is_not_compared():
    crops = couple(grey(), grey(), moved(z=-8), full(5.0)[0, 0])
    learner = temporal(tolerance=1.0)
    terms = ask(learner, Said(depth=full(5.0)), DenseOutput(full(5.0), None), crops)
    assert of(terms) == 0
    near = torch.full_like(crops['depth'], torch.nan)
    near[:, 20:] = 5
    found = valid_of(learner, {'logits': torch.zeros(1, 2, *SIZE)},
                     DenseOutput(None, torch.zeros(1, 2, *SIZE)),
                     {**crops, 'neighbour_pose': moved()[None, None], 'depth': near})
    assert not found['temporal_labels'][:20].any() and found['temporal_labels'][20:].all()


def test_only_what_is_said_of_the_image_gets_a_gradient():
    """The target has none; nor does what decides where to compare leave a NaN."""
    now, before = post()
    depth = now.clone().requires_grad_()
    logits = torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = [before.clone().requires_grad_(), torch.zeros(1, 2, *SIZE, requires_grad=True)]
    unknown = torch.full(SIZE, torch.nan)
    crops = couple(grey(), grey(), moved(x=1), unknown)
    terms = ask(temporal(), Said(depth=1.05 * target[0], logits=target[1]),
                DenseOutput(depth, logits), crops)
    sum(terms.values()).backward()
    assert target[0].grad is None and target[1].grad is None
    for values in (depth, logits):
        assert torch.isfinite(values.grad).all() and values.grad.abs().sum() > 0
    # deeper now would agree with what was 5 % deeper before: d/da |a - b| / (a + b) < 0
    assert (depth.grad <= 0).all()


def several(there, **changes):
    """Return a batch of two crops, 64x96, with neighbours at -1 and 1 where there are."""
    pose = moved(x=0.1).expand(2, 2, 4, 4)
    return {**annotated_batch(), 'neighbours': torch.zeros(2, 2, 64, 96, 3, dtype=torch.uint8),
            'neighbour_there': torch.tensor(there), 'neighbour_pose': pose,
            'neighbour_offset': torch.tensor([[-1, 1]] * 2), 'K': K.expand(2, 3, 3), **changes}


NO, ONE, BOTH_SIDES = [False, False], [True, False], [True, True]


def test_samples_without_a_neighbour_leave_it_out():
    """Or without its pose; a stereo partner is none in time."""
    learner = temporal()
    unknown = torch.full((2, 2, 4, 4), torch.nan)
    for crops in (several([NO, NO]), several([ONE, ONE], neighbour_pose=unknown),
                  several([ONE, ONE], neighbour_offset=torch.tensor([[0, 1]] * 2))):
        assert learner.pairs(crops) is None
        assert ask(learner, Said(), DenseOutput(None, None), crops) == {}
    pairs = learner.pairs(several([NO, ONE]))
    assert pairs.members.tolist() == [False, True] and pairs.ids == ['b']
    assert pairs.offsets.tolist() == [-1]


def test_poses_without_intrinsics_are_refused():
    blind = several([NO, ONE], K=torch.stack([K, K * torch.nan]))
    with pytest.raises(ValueError, match='`poses`: b .*intrinsics'):
        temporal().pairs(blind)
    assert temporal(motion='flow').pairs(blind).ids == ['b']


def test_a_batch_is_averaged_over_all_of_its_samples():
    crops = couple(grey(), grey(), moved(), full(10.0)[0, 0])
    twice = {name: values * 2 if isinstance(values, list) else torch.cat([values] * 2)
             for name, values in crops.items()}
    learner = temporal()
    alone = of(ask(learner, Said(depth=full(10.0)), DenseOutput(full(11.0), None), crops))
    assert alone == pytest.approx(1 / 21)
    twice['neighbour_there'] = torch.tensor([[False], [True]])
    half = ask(learner, Said(depth=full(10.0)),
               DenseOutput(full(11.0).repeat(2, 1, 1, 1), None), twice)
    assert of(half) == pytest.approx(alone / 2)


def test_either_neighbour_is_drawn():
    learner, crops = temporal(), several([ONE, BOTH_SIDES])
    crops['neighbours'][1, 1] = 9
    torch.manual_seed(0)
    pairs = [learner.pairs(crops) for _ in range(20)]
    assert all((pair.neighbours[1] == 9).all() == (pair.offsets[1] == 1) for pair in pairs)
    drawn = {tuple(pair.offsets.tolist()) for pair in pairs}
    assert drawn == {(-1, -1), (-1, 1)}


def test_flow_follows_what_moved():
    """Without poses, depth or intrinsics; depth itself is not compared."""
    labels = (torch.arange(80) // 20 % 2).expand(40, 80)
    nothing = torch.full((3, 3), torch.nan)
    crops = couple(texture(3), texture(0), camera=nothing)
    learner = temporal(motion='flow')
    now = {'depth': full(10.0), 'logits': sharp(labels[:, 13:73])}

    def changed(said):
        terms = ask(learner, Said(depth=full(5.0), logits=sharp(said)), DenseOutput(**now), crops)
        assert set(terms) == {'temporal_labels'}
        return terms['temporal_labels'].item()
    assert changed(labels[:, 10:70]) < 0.2 * changed(labels[:, 13:73])
    valid = valid_of(learner, now, DenseOutput(**now), crops)['temporal_labels']
    assert valid[5:-5, 5:-8].float().mean() > 0.9 and not valid[:, -2:].any()


def test_a_pose_network_tells_the_motion_in_its_own_units():
    """Then true metres are of no use; with known poses first, it fills what is not known."""
    crops = couple(texture(5), texture(0), None, full(1e3)[0, 0])
    asked = []

    def estimated(images, neighbours, offsets):
        asked.append(offsets.tolist())
        return moved(x=1)[None]
    for known_poses in (False, True):
        supervision = SimpleNamespace(
            motion=estimated, config=SimpleNamespace(known_poses=known_poses))
        learner = temporal(supervision=supervision)
        terms = ask(learner, Said(depth=full(10.0)), DenseOutput(full(10.0), None), crops)
        assert of(terms) < 1e-6
        wrong = {**crops, 'neighbour_pose': moved(x=7)[None, None]}
        metric = learner.poses(learner.pairs(wrong))
        assert metric[1].item() is known_poses
        assert metric[0][0, 0, 3].item() == (7 if known_poses else 1)
    assert asked == [[-1], [-1], [-1]]


def test_the_target_is_said_in_training_mode_and_leaves_no_trace():
    """By the statistics of its own batch, as the frames that it is compared with."""
    torch.manual_seed(0)
    model = SynchronisedLearning(
        'sync', BOTH, objectives=Objectives(temporal=TemporalConfig())).model
    before = {name: values.clone() for name, values in model.state_dict().items()}
    images = batch()['image']
    said = predict_untracked(model, images)
    assert not said.depth.requires_grad
    assert all(part.training for part in model.modules())
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name]), name
    in_training = model(normalise(images, model.config.mean, model.config.std))
    torch.testing.assert_close(said.depth, in_training.depth)
    torch.testing.assert_close(said.logits, in_training.logits)


def test_all_weights_learn_in_16_bits():
    """What runs without a gradient must not leave its copies of weights to what has one."""
    torch.manual_seed(0)
    module = SynchronisedLearning('sync', BOTH, objectives=Objectives(
        self_supervised=SelfSupervisedConfig(pose=PoseConfig(), scales=1),
        temporal=TemporalConfig()))
    module.log_step = lambda *_: None
    images = torch.stack([x[:, 10:74] for x in (texture(0), texture(4))]).repeat(1, 2, 2, 1)
    images, sides = images[:, :64, :96].contiguous(), torch.tensor([[0, 1], [1, 0]])
    crops = several([BOTH_SIDES] * 2, image=images, neighbours=images[sides])
    with torch.autocast('cpu', torch.bfloat16):
        loss = module.training_step(crops, 0)
    loss.backward()
    assert {'temporal_labels', 'temporal_depth', 'photometric'} <= set(module.terms)
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
    moved_by = [weight.grad.abs().sum() > 0 for weight in module.model.parameters()]
    assert sum(moved_by) > 0.9 * len(moved_by)


@pytest.mark.parametrize(('settings', 'key'), [
    ({'labels': -1.0}, 'temporal.labels.*-1'), ({'tolerance': -1.0}, 'temporal.tolerance.*-1'),
    ({'motion': 'flow', 'depth': 0.5}, 'temporal.depth.*0.5')])
def test_settings_that_mean_nothing(settings, key):
    with pytest.raises(ValueError, match=key):
        TemporalConfig(**settings)


def test_weights():
    """Those of the settings; a term of weight 0 is not computed."""
    assert temporal(labels=0.3).weights == {'temporal_labels': 0.3, 'temporal_depth': 1.0}
    assert temporal(motion='flow').weights['temporal_depth'] == 0
    crops = couple(grey(), grey(), moved(), full(10.0)[0, 0])
    said = {'depth': full(10.0), 'logits': torch.zeros(1, 2, *SIZE)}
    for name in ('labels', 'depth'):
        terms = ask(temporal(**{name: 0.0}), Said(**said), DenseOutput(**said), crops)
        assert len(terms) == 1 and f'temporal_{name}' not in terms


def test_a_network_without_depth_needs_that_of_the_data():
    crops = couple(grey(), grey(), moved())
    logits = torch.zeros(1, 2, *SIZE)
    with pytest.raises(ValueError, match='`motion: flow`'):
        ask(temporal(), Said(logits=logits), DenseOutput(None, logits), crops)


def test_it_costs_nothing_when_it_has_learned():
    """The network, and the config that says how it is run, are those without it."""
    models = [SynchronisedLearning('sync', BOTH, objectives=Objectives(temporal=x)).model
              for x in (None, TemporalConfig())]
    plain, steady = ({k: x.shape for k, x in model.state_dict().items()} for model in models)
    assert plain == steady and models[0].config == models[1].config


def test_data_without_neighbours_in_time_are_refused():
    learner = temporal()
    learner.check_offsets((0, -1))
    for offsets in ((), (0,)):
        with pytest.raises(ValueError, match='objectives.temporal.*neighbours'):
            learner.check_offsets(offsets)
