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


"""Semi-supervised learning: what counts as true, how guesses weigh, what the student sees."""

from __future__ import annotations

import math

import pytest
from small_batches import batch, step_of, TINY
from sync_perception.datasets.camvid import CamVid
from sync_perception.datasets.derived.selection_files import Selection
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.resources import config_folder
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.mixing import depth_mask
from sync_perception.training.objectives.semi_supervised import SemiSupervisedConfig
from sync_perception.training.train import train
from sync_perception.types import DenseOutput
import torch
from torch import nn
from torch.nn import functional

CPU = torch.device('cpu')
DRIVING = LabelSpace.load('driving')
BOTH = {'depth': TINY, 'semantics': TINY}


class Known(nn.Module):
    """
    A teacher that knows what it says: 20 m, and 10 m in the right half.

    :param classes: of the head.
    :param said: the class of the left and of the right half.
    :param sure: its probability in them; the other classes share the rest.
    """

    def __init__(self, classes=20, said=(3, 5), sure=(0.99, 0.6)):
        super().__init__()
        probability = torch.empty(classes, 32, 48)
        for half, (name, share) in enumerate(zip(said, sure)):
            columns = slice(24 * half, 24 * (half + 1))
            probability[..., columns] = (1 - share) / (classes - 1)
            probability[name, :, columns] = share
        self.logits = probability.log()
        self.depth = torch.full((32, 48), 20.0)
        self.depth[:, 24:] = 10

    def forward(self, images):
        """Say the same of every image."""
        count = len(images)
        return DenseOutput(depth=self.depth.expand(count, 1, 32, 48),
                           logits=self.logits.expand(count, -1, 32, 48).clone())


def component(architecture=None, label_space='driving', teacher=None, **settings):
    """Return a component whose teacher is known, and the module that it belongs to."""
    torch.manual_seed(0)
    module = SynchronisedLearning(
        'sync', architecture or BOTH, label_space=label_space,
        objectives=Objectives(semi_supervised=SemiSupervisedConfig(**settings)))
    learner = module.objectives['semi_supervised']
    learner.prepare(module.model, CPU)
    if teacher is not None:
        learner.teacher.network = teacher
    return learner, module


def half_labelled(**changes):
    """Return two crops of which the first has labels: class 7, void in its upper quarter."""
    crops = batch(space=['driving', 'driving'], **changes)
    crops['labels'][0, 8:] = 7
    return crops


def test_true_labels_count_wholly_and_guesses_as_far_as_the_teacher_is_confident():
    """Half of the second image's pixels are at 0.99, half at 0.6: they weigh a half."""
    learner, module = component(teacher=Known(), mixing='none')
    found = learner.mix(learner.annotated(module.model.config, half_labelled()))
    assert (found['labels'][0, 8:] == 7).all() and (found['labels'][0, :8] == 255).all()
    assert (found['guesses'][0] == 255).all()  # void of a labelled image stays void
    assert (found['guesses'][1, :, :24] == 3).all() and (found['guesses'][1, :, 24:] == 5).all()
    assert (found['weight'][0] == 1).all() and (found['weight'][1] == 0.5).all()
    torch.manual_seed(1)
    logits = torch.randn(2, 20, 32, 48)
    true = functional.cross_entropy(logits[:1, :, 8:], torch.full((1, 24, 48), 7),
                                    reduction='sum')
    guessed = functional.cross_entropy(
        logits[1:], Known().logits.argmax(dim=0)[None], reduction='sum')
    expected = (true + 0.5 * guessed) / (24 * 48 + 32 * 48)
    torch.testing.assert_close(learner.loss(logits, found), expected)


@pytest.mark.parametrize(('threshold', 'share'), [(0.968, 0.5), (0.5, 1.0), (0.995, 0.0)])
def test_the_threshold_of_confidence(threshold, share):
    learner, module = component(teacher=Known(), confidence=threshold)
    found = learner.annotated(module.model.config, batch())
    assert (found['weight'] == share).all()


def test_weights_and_labels_travel_with_the_pixels():
    """The post of an image without labels stands before the road of one that has them."""
    learner, module = component(teacher=Known())
    depth = torch.full((2, 32, 48), 40.0)
    depth[:, 0, 0] = 80
    depth[1, :, 10:14] = 5
    depth[0, 31, 47] = 5
    crops = half_labelled(depth=depth)
    images = crops['image'].clone()
    torch.manual_seed(3)
    learner.terms(step_of(crops, model=module.model))
    mixed, mask = learner.mixed, depth_mask(depth, torch.tensor([1, 0]))
    assert mixed['partner'].tolist() == [1, 0]
    assert not mask[0, :, 10:14].any() and mask[1, :, 10:14].all()
    assert (mixed['guesses'][0, :, 10:14] == 3).all()
    assert (mixed['labels'][0, :, 10:14] == 255).all()
    assert (mixed['weight'][0, :, 10:14] == 0.5).all()
    assert (mixed['labels'][0, 10:, 20:40] == 7).all() and (mixed['weight'][0, 10:, 20] == 1).all()
    assert torch.equal(mixed['image'][0, :, 20:28], images[1, :, 20:28])
    assert torch.equal(mixed['image'][0, 10:60, 40:80], images[0, 10:60, 40:80])
    assert torch.equal(crops['image'], images)  # the batch itself stays as it is


def test_classes_are_mixed_where_asked_for():
    learner, module = component(teacher=Known(), mixing='class')
    learner.terms(step_of(batch(space=['driving', 'driving']), model=module.model))
    pasted = learner.mixed['image'] == batch()['image']  # of the partner are few the same
    halves = pasted.float().mean(dim=(1, 3)).view(2, 2, 48).mean(dim=2)
    assert sorted((halves[0] > 0.5).tolist()) == [False, True]  # one of its two classes
    assert (learner.mixed['guesses'][0] == Known().logits.argmax(dim=0)).all()


def test_each_pixel_is_compared_in_the_space_of_its_own_data_set():
    """A sign of CamVid is any of two classes; the teacher speaks the network's own space."""
    learner, module = component(teacher=Known(), mixing='none')
    crops = batch(space=['camvid11', ''])
    sign = LabelSpace.load('camvid11').index('sign')
    crops['labels'][0] = sign
    mixed = learner.mix(learner.annotated(module.model.config, crops))
    swap = torch.zeros(32, 48, dtype=torch.bool)
    swap[:, ::3] = True  # a third of the columns of each come from the other
    for name in ('labels', 'guesses', 'weight', 'space'):
        mixed[name] = torch.where(swap, mixed[name].flip(0), mixed[name])
    torch.manual_seed(1)
    logits = torch.randn(2, 20, 32, 48)
    probability = logits.softmax(dim=1)
    signs = [DRIVING.index(name) for name in ('traffic light', 'traffic sign')]
    total = 0.0
    for image in range(2):
        for row in range(32):
            for column in range(48):
                pixel = probability[image, :, row, column]
                if (image == 0) != (column % 3 == 0):
                    total -= math.log(pixel[signs].sum())
                else:
                    total -= 0.5 * math.log(pixel[3 if column < 24 else 5])
    assert learner.loss(logits, mixed).item() == pytest.approx(total / (2 * 32 * 48), rel=1e-5)


def test_a_head_over_several_data_sets_guesses_among_the_images_own_classes():
    """Of 40 + 6 classes, an image of either set is only ever said to show one of its own."""
    teacher = Known(46, said=(12, 43), sure=(0.7, 0.7))
    learner, module = component({'semantics': TINY, 'depth': None}, 'nyud40+kitti6', teacher,
                                mixing='none')
    crops = batch(space=['nyud40', 'kitti6'])
    found = learner.annotated(module.model.config, crops)
    assert found['guesses'][0].max() < 40 <= found['guesses'][1].min()
    assert (found['guesses'][0, :, :24] == 12).all() and (found['guesses'][1, :, 24:] == 43).all()
    assert learner.loss(torch.zeros(2, 46, 32, 48), {
        **learner.mix(found), 'weight': torch.ones(2, 32, 48)}).item() == pytest.approx(
            (math.log(40) + math.log(6)) / 2)


def test_depth_is_the_samples_where_it_is_dense_else_the_teachers():
    learner, module = component(teacher=Known())
    given = torch.full((2, 32, 48), 33.0)
    given[1, :20] = float('nan')
    crops = batch(depth=given)

    def depth(of):
        of.prepare(module.model, CPU)
        of.teacher.network = Known()
        return of.annotated(module.model.config, crops)['depth']

    dense, sparse = depth(learner)
    assert (dense == 33).all() and (sparse == Known().depth).all()
    assert (depth(component(depth='teacher')[0]) == Known().depth).all()


def test_the_sky_is_farthest_whatever_the_network_says():
    """By the teacher in the left half, unless true labels, of another space, know better."""
    sky = DRIVING.index('sky')
    learner, module = component(teacher=Known(said=(sky, 5)), depth='teacher')
    crops = batch(space=['camvid11', ''], depth=torch.full((2, 32, 48), 33.0))
    crops['labels'][0, :8] = LabelSpace.load('camvid11').index('building')
    crops['labels'][0, 8:12, 30:] = LabelSpace.load('camvid11').index('sky')
    depth = learner.annotated(module.model.config, crops)['depth']
    assert (depth[0, :8] > 0).all() and depth[0, 8:12, 30:].isnan().all()
    assert depth[0, 12:, :24].isnan().all() and (depth[0, 12:, 24:] == 10).all()
    assert depth[1, :, :24].isnan().all() and (depth[1, :, 24:] == 10).all()
    # given depth says itself where it ends
    given = component(teacher=Known(said=(sky, 5)))[0]
    assert (given.annotated(module.model.config, crops)['depth'] == 33).all()


def test_a_model_of_its_own_gives_depth(tmp_path):
    torch.manual_seed(5)
    other = build_model(ModelConfig(
        'sync', {'depth': TINY, 'semantics': None}, DRIVING.to_dict(), mean=[0.1, 0.2, 0.3]))
    hub.save(other, tmp_path)
    learner, module = component(
        {'semantics': TINY, 'depth': None}, teacher=Known(), depth=str(tmp_path))
    crops = batch()
    found = learner.annotated(module.model.config, crops)['depth']
    image = (crops['image'] / 255 - torch.tensor([0.1, 0.2, 0.3])) / 0.5
    with torch.no_grad():
        expected = other.eval()(image.permute(0, 3, 1, 2)).depth
    expected = functional.interpolate(
        expected, (32, 48), mode='bilinear', align_corners=False)[:, 0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(('architecture', 'settings', 'message'), [
    (BOTH, {'confidence': 1.5}, 'semi_supervised.confidence.*1.5'),
    (BOTH, {'weight': -1.0}, 'semi_supervised.weight.*-1.0'),
    ({'depth': None, 'semantics': TINY}, {}, "no depth to mix by: expected depth of 'given'"),
    ({'depth': None, 'semantics': TINY}, {'depth': 'teacher'}, "expected depth of 'teacher'"),
    ({'depth': TINY, 'semantics': None}, {}, 'a network with labels'),
])
def test_settings_that_cannot_be(architecture, settings, message):
    def first_step():
        learner, module = component(architecture, **settings)
        learner.terms(step_of(batch(), model=module.model))

    with pytest.raises(ValueError, match=message):
        first_step()


def test_switched_off_there_is_nothing_of_it_and_on_it_adds_no_weight():
    off, on = (SynchronisedLearning('sync', BOTH, objectives=Objectives(semi_supervised=config))
               for config in (None, SemiSupervisedConfig()))
    assert list(off.objectives) == ['supervised']
    on.objectives['semi_supervised'].prepare(on.model, CPU)
    assert list(on.state_dict()) == list(off.state_dict())
    kept = {}
    off.on_save_checkpoint(kept)
    assert kept['objectives'] == {}


def test_a_checkpoint_keeps_the_teacher():
    """A training that continues from it has the same teacher, whatever it began with."""
    (first, module), (second, other) = component(), component()
    with torch.no_grad():
        for weight in module.model.parameters():
            weight += 1
    first.terms(step_of(batch(), model=module.model, number=1))
    kept = {}
    module.on_save_checkpoint(kept)
    assert kept['objectives']['semi_supervised']['updates'] == 1
    other.on_load_checkpoint(kept)
    assert second.teacher.updates == second.teacher.step == 1
    for name, values in first.teacher.network.state_dict().items():
        assert torch.equal(values, second.teacher.network.state_dict()[name]), name
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            *(next(each.parameters()) for each in (second.teacher.network, other.model)))


def test_the_weight_of_the_loss_is_the_settings():
    for settings, weight in (({}, 1.0), ({'weight': 0.25}, 0.25)):
        learner, _ = component(**settings)
        assert learner.by_task({'unlabelled': torch.tensor(8.0)}) == {'semantics': 8 * weight}


@pytest.mark.parametrize('mixing', ['depth', 'class', 'none'])
def test_images_without_any_label_teach(mixing):
    """The student comes to say what a sure teacher says."""
    learner, module = component(teacher=Known(sure=(0.99, 0.99)), mixing=mixing)
    optimizer = torch.optim.Adam(module.model.parameters(), 0.01)
    losses = []
    for _ in range(15):
        loss = learner.terms(step_of(batch(), model=module.model))['unlabelled']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


@pytest.mark.parametrize('name', ['semi_supervised', 'transfer'])
def test_the_shipped_recipes_on_camvid(name, data_root, tmp_path, monkeypatch):
    """Two steps of small crops, with a selection where the recipe expects it."""
    monkeypatch.setenv('SYNC_PERCEPTION_DATA', str(data_root))
    monkeypatch.chdir(tmp_path)
    ids = CamVid(data_root / 'camvid', 'train').ids[::14][:25]
    Selection('camvid', 'train', 'random', 0, (25,), tuple(ids), (None,) * 25).write(
        'runs/selection.json')
    run = train([
        '--config', str(config_folder() / 'train' / f'{name}.yaml'), '--data.samples', '8',
        '--data.crop', '[96, 128]', '--data.workers', '0', '--data.val_sources', '[]',
        '--trainer.accelerator', 'cpu', '--trainer.enable_progress_bar', 'false'])
    terms = set(run.model.terms)
    assert terms == {'semantics/cross_entropy'} | (
        {'unlabelled'} if name == 'semi_supervised' else set())
    assert hub.load(f'runs/{name}/model').config.record['steps'] == 2
