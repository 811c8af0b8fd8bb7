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

"""The objective: what each annotation contributes."""

from __future__ import annotations

import math

import pytest
from small_batches import annotated_batch, batch, output, step_of, TINY
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.supervised import (
    DepthSupervision,
    ExpertSupervision,
    NormalsSupervision,
    RankingSupervision,
    SemanticSupervision,
    SupervisedConfig,
)
from sync_perception.types import DenseOutput
import torch


def objective(architecture=None, label_space='driving', class_weights=None, **settings):
    arguments = architecture or {'depth': TINY, 'semantics': TINY}
    return SynchronisedLearning(
        'sync', arguments, label_space=label_space, class_weights=class_weights,
        objectives=Objectives(supervised=SupervisedConfig(**settings))).objectives['supervised']


def terms_of(learned, prediction, crops):
    return learned.terms(step_of(crops, prediction))


@pytest.fixture(scope='module')
def ask():
    """Return the default objective's question: one term of a prediction and a batch."""
    learned = objective()
    return lambda name, prediction, crops: terms_of(learned, prediction, crops)[name]


def test_without_annotations_there_is_no_term():
    assert terms_of(objective(), output(), batch()) == {}


def test_every_annotation_has_its_terms():
    terms = terms_of(objective(), output(), annotated_batch())
    assert sorted(terms) == [
        'depth/log_l1', 'depth/silog', 'normals/cosine', 'semantics/cross_entropy',
        'uncertainty']


def test_depth_is_compared_in_the_canonical_camera(ask):
    # At half the canonical focal length, 5 m are 10 m of the canonical camera.
    depth = torch.full((2, 32, 48), 5.0)
    matched = batch(depth=depth, focal=torch.tensor([200.0, 200.0]))
    assert ask('depth/log_l1', output(), matched).item() < 1e-6
    unmatched = ask('depth/log_l1', output(), batch(depth=depth))
    assert unmatched.item() == pytest.approx(math.log(2))


def test_depth_beyond_the_limit_is_ignored():
    far = batch(depth=torch.full((2, 32, 48), 130.0))
    assert terms_of(objective(), output(), far) == {}


def test_uncertainty_is_that_of_the_canonical_cameras_depth_and_leaves_the_depth_alone(ask):
    prediction = output()
    loss = ask(
        'uncertainty', prediction,
        batch(depth=torch.full((2, 32, 48), 6.0), focal=torch.tensor([200.0, 200.0])))
    normal = torch.distributions.Normal(math.log(10), math.exp(-2.1 / 2))
    assert loss.item() == pytest.approx(
        -normal.log_prob(torch.tensor(math.log(12))).item(), abs=1e-6)
    loss.backward()
    assert prediction.depth.grad is None
    assert (prediction.log_variance.grad != 0).all()


def test_normals_count_where_they_are_known(ask):
    normals = torch.full((2, 3, 32, 48), float('nan'))
    normals[0, :, :8] = torch.tensor([0.6, 0.0, -0.8])[:, None, None]
    prediction = output()
    loss = ask('normals/cosine', prediction, batch(normals=normals))
    assert loss.item() == pytest.approx((1 - 0.8) / 2)  # the other sample has none
    loss.backward()
    gradient = prediction.normals.grad
    assert (gradient[0, 0, :8] != 0).all()
    assert (gradient[0, :, 8:] == 0).all() and (gradient[1] == 0).all()


def test_coarse_labels_of_another_space(ask):
    labels = torch.full((2, 32, 48), 3, dtype=torch.uint8)  # vehicles: 6 of 20 classes
    coarse = batch(labels=labels, space=['idd7', 'idd7'])
    expected = torch.tensor(20 / 6).log()
    torch.testing.assert_close(ask('semantics/cross_entropy', output(), coarse), expected)


def test_one_head_over_two_data_sets_scores_each_image_in_its_own_classes():
    learned = objective({'depth': None, 'semantics': TINY}, label_space='nyud40+kitti6')
    logits = torch.zeros(2, 46, 32, 48, requires_grad=True)
    mixed = batch(
        labels=torch.full((2, 32, 48), 2, dtype=torch.uint8), space=['kitti6', 'nyud40'],
        expert_labels=torch.zeros(2, 32, 48, dtype=torch.uint8))
    terms = terms_of(learned, DenseOutput(logits=logits), mixed)
    loss = terms['semantics/cross_entropy']
    torch.testing.assert_close(loss, torch.tensor([6.0, 40.0]).log().mean())
    loss.backward()
    assert (logits.grad != 0).any(dim=3).any(dim=2).tolist() == [
        [False] * 40 + [True] * 6, [True] * 40 + [False] * 6]
    # the expert speaks cityscapes19: of the union, it shares classes with kitti6 alone
    torch.testing.assert_close(terms['expert/cross_entropy'], torch.tensor(6.0).log())


def test_unsure_experts_are_ignored(ask):
    labels = torch.zeros((2, 32, 48), dtype=torch.uint8)
    sure = batch(expert_labels=labels)
    unsure = batch(expert_labels=labels, expert_confidence=torch.full((2, 32, 48), 0.3))
    torch.testing.assert_close(
        ask('expert/cross_entropy', output(), sure), torch.tensor(20.0).log())
    assert ask('expert/cross_entropy', output(), unsure).item() == 0


def soft_targets(*samples):
    """Return a batch whose given samples have 0.7 road, 0.2 sky, where the first is sure."""
    labels = torch.zeros((2, 32, 48), dtype=torch.uint8)
    classes = torch.full((2, 4, 32, 48), 255, dtype=torch.uint8)
    probabilities = torch.zeros(2, 4, 32, 48, dtype=torch.uint8)
    for sample in samples:
        classes[sample, :2] = torch.tensor([0, 10], dtype=torch.uint8)[:, None, None]
        probabilities[sample, 0], probabilities[sample, 1] = 178, 51
    confidence = torch.full((2, 32, 48), 0.7)
    confidence[:, :16] = 0.3
    return batch(
        expert_labels=labels, expert_confidence=confidence, expert_classes=classes,
        expert_probabilities=probabilities)


def test_probabilities_of_an_expert_are_learned_where_there_are_some(ask):
    """By hand, for equal scores of 20 classes: half of the pixels are too unsure."""
    rest = 26 / 255
    expected = 0.5 * ((1 - rest) * math.log(20) + rest * math.log(20 / 17))
    learned = ask('expert/soft', output(), soft_targets(0, 1)).item()
    # driving's class without a counterpart among the 19 of the expert is none of the rest
    assert learned == pytest.approx(expected, rel=1e-5)


def test_soft_and_hard_experts_in_a_batch():
    """Each sample counts once: the hard one by its label, the soft one by its probabilities."""
    learned = objective()
    torch.manual_seed(0)
    said = output()
    said.logits.data.normal_()
    mixed, soft, hard = (
        terms_of(learned, said, soft_targets(*samples)) for samples in ((1,), (0, 1), ()))
    assert set(mixed) == {'expert/soft', 'expert/cross_entropy'}
    assert set(soft) == {'expert/soft'} and set(hard) == {'expert/cross_entropy'}
    for index, (name, whole) in enumerate(
            [('expert/cross_entropy', hard), ('expert/soft', soft)]):
        gradients = [torch.autograd.grad(terms[name], said.logits, retain_graph=True)[0]
                     for terms in (mixed, whole)]
        torch.testing.assert_close(gradients[0][index], gradients[1][index])
        assert (gradients[0][1 - index] == 0).all() and (gradients[0][index, :, :16] == 0).all()
    chosen = objective(
        expert=ExpertSupervision(weight=0.25),
        semantics=SemanticSupervision(losses={'ohem': 1.0, 'cross_entropy': 2.0}))
    assert chosen.weights['expert/soft'] == 0.75


def test_the_variance_learns_the_size_of_the_errors(ask):
    """Of a depth that is held still: half of the image is 10 % wrong, half 50 %."""
    depth = torch.full((2, 1, 32, 48), 10.0)
    log_variance = torch.zeros(2, 1, 32, 48, requires_grad=True)
    true = torch.full((2, 32, 48), 11.0)
    true[:, 16:] = 15.0
    optimizer = torch.optim.Adam([log_variance], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        prediction = DenseOutput(depth=depth, log_variance=log_variance)
        ask('uncertainty', prediction, batch(depth=true)).backward()
        optimizer.step()
    deviation = log_variance.detach().mul(0.5).exp()[0, 0, :, 0]
    expected = torch.tensor([math.log(1.1)] * 16 + [math.log(1.5)] * 16)
    torch.testing.assert_close(deviation, expected, rtol=0.02, atol=0)


def test_losses_are_chosen_by_name():
    learned = objective(
        depth=DepthSupervision(weight=3.0, losses={'berhu': 0.5, 'l1': 2.0}),
        semantics=SemanticSupervision(losses={'ohem': 1.0}),
        normals=NormalsSupervision(losses={'angular': 1.0}),
        expert=ExpertSupervision(weight=0.25))
    terms = terms_of(learned, output(), annotated_batch())
    assert {'depth/berhu', 'depth/l1', 'semantics/ohem', 'normals/angular'} < set(terms)
    true = annotated_batch()['depth']
    assert terms['depth/l1'].item() == pytest.approx((true - 10).abs().mean().item(), rel=1e-5)
    assert learned.weights['depth/berhu'] == 1.5 and learned.weights['depth/l1'] == 6.0
    assert learned.weights['expert/ohem'] == 0.25


@pytest.mark.parametrize('kind, settings, key', [
    (DepthSupervision, {'losses': {'l7': 1.0}}, 'depth.losses.*l7'),
    (DepthSupervision, {'losses': {'l1': -1.0}}, 'depth.losses.l1.*-1'),
    (DepthSupervision, {'weight': -1.0}, 'depth.weight.*-1'),
    (SemanticSupervision, {'losses': {}}, 'semantics.losses'),
    (ExpertSupervision, {'confidence': 1.5}, 'expert.confidence.*1.5'),
    (RankingSupervision, {'own_borders': 2}, 'ranking.own_borders.*2'),
    (SupervisedConfig, {'smoothness_weight': -0.1}, 'smoothness_weight.*-0.1'),
    (objective, {'class_weights': {'unicorn': 2.0}}, 'unicorn'),
])
def test_settings_that_mean_nothing_are_refused_by_their_key(kind, settings, key):
    with pytest.raises(ValueError, match=key):
        kind(**settings)


def test_smoothness_and_ranking_need_what_they_are_about():
    learned = objective(smoothness_weight=0.1, ranking=RankingSupervision(0.1))
    assert set(terms_of(learned, output(), batch())) == {'smoothness'}
    prediction = output()
    terms = terms_of(learned, prediction, annotated_batch())
    assert terms['smoothness'].item() == 0  # the same depth everywhere
    assert terms['ranking'].item() > 0
    terms['ranking'].backward()
    assert prediction.depth.grad.abs().sum() > 0


def occluded():
    """Return a prediction whose near half spreads 3 pixels behind the labels' border at 24."""
    depth = torch.full((2, 1, 32, 48), 30.0)
    depth[..., :27] = 10.0
    labels = (torch.arange(48) // 24).expand(2, 32, 48).contiguous().to(torch.uint8)
    logits = torch.zeros(2, 20, 32, 48)
    logits[:, 0, :, :24], logits[:, 1, :, 24:] = 9.0, 9.0
    return DenseOutput(depth=depth.requires_grad_(), logits=logits.requires_grad_()), labels


def ranked(own_borders=None, depth_weight=1.0, **annotations):
    """Return which columns of each sample the ranking moves, or None if there is no such term."""
    prediction, labels = occluded()
    annotations = {name: labels if value is None else value(labels)
                   for name, value in annotations.items()}
    learned = objective(depth=DepthSupervision(weight=depth_weight),
                        ranking=RankingSupervision(0.1, own_borders))
    terms = terms_of(learned, prediction, batch(**annotations))
    if 'ranking' not in terms:
        return None
    terms['ranking'].backward()
    assert prediction.logits.grad is None
    return [sample.abs().sum(dim=0).nonzero().flatten().tolist()
            for sample in prediction.depth.grad[:, 0]]


def test_ranking_without_true_depth_takes_the_order_from_the_depth_itself():
    """At the borders of true labels, else of sure experts; of the network's own if asked for."""
    halo = [[24, 25, 26]] * 2
    assert ranked(depth_weight=0.0, labels=None) == halo
    assert ranked(labels=None) == halo
    assert ranked(depth_weight=0.0, expert_labels=None) == halo
    assert ranked(depth_weight=0.0, expert_labels=None,
                  expert_confidence=lambda labels: torch.full(labels.shape, 0.5)) is None
    assert ranked(depth_weight=0.0) is None
    assert ranked(0.9, depth_weight=0.0) == halo
    assert ranked(0.9999, depth_weight=0.0) is None


def test_true_depth_ranks_only_where_it_is_learned_from():
    """A truth without a step there: it is taken in samples that have it, if it has a weight."""
    def level_in_the_first(labels):
        depth = torch.full((2, 32, 48), torch.nan)
        depth[0] = 10.0
        return depth

    moved = ranked(labels=None, depth=level_in_the_first)
    assert moved[0][0] < 24 and moved[0][-1] >= 27  # as flat as the truth
    assert moved[1] == [24, 25, 26]
    assert ranked(depth_weight=0.0, labels=None, depth=level_in_the_first) == [
        [24, 25, 26]] * 2
