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

"""The training step: what each annotation contributes, and that learning learns."""

from __future__ import annotations

from dataclasses import fields
import json
import math
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
from sync_perception.models import hub
from sync_perception.runtime.predictor import Predictor
from sync_perception.training.export import ExportAverage
from sync_perception.training.module import of_encoder, SynchronisedLearning, warm_cosine
from sync_perception.types import DenseOutput, Frame
import torch
from torch.utils.data import DataLoader
import zoo

TINY = {'kind': 'mobile_unet', 'widths': [8, 8, 8, 8, 8]}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return SynchronisedLearning('sync', {'depth': TINY, 'semantics': TINY})


def batch(**changes):
    """Return two crops, 64x96, without any annotation unless given."""
    torch.manual_seed(1)
    bare = {
        'image': torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8),
        'depth': torch.full((2, 32, 48), float('nan')),
        'focal': torch.tensor([400.0, 400.0]),
        'labels': torch.full((2, 32, 48), 255, dtype=torch.uint8),
        'expert_labels': torch.full((2, 32, 48), 255, dtype=torch.uint8),
        'expert_confidence': torch.ones(2, 32, 48),
        'normals': torch.full((2, 3, 32, 48), float('nan')),
        'space': ['', ''], 'id': ['a', 'b']}
    return {**bare, **changes}


def annotated_batch():
    """Return two crops with all annotations: the ground before a wall."""
    normals = torch.zeros(2, 3, 32, 48)
    normals[:, 2, :16], normals[:, 1, 16:] = -1, -1
    return batch(
        depth=torch.linspace(4, 40, 32)[None, :, None].expand(2, 32, 48).contiguous(),
        labels=(torch.arange(32) // 16)[None, :, None].expand(2, 32, 48).contiguous(),
        normals=normals, space=['driving', 'driving'])


def output():
    """Return a prediction of 10 m +- 35 % everywhere, facing the camera, equal class scores."""
    return DenseOutput(
        depth=torch.full((2, 1, 32, 48), 10.0, requires_grad=True),
        logits=torch.zeros(2, 20, 32, 48, requires_grad=True),
        log_variance=torch.full((2, 1, 32, 48), -2.1, requires_grad=True),
        normals=torch.tensor([0.0, 0.0, -1.0]).reshape(1, 3, 1, 1).repeat(2, 1, 32, 48)
        .requires_grad_())


def test_without_annotations_there_is_no_loss(module):
    prediction = output()
    for loss in (module.depth_loss, module.uncertainty_loss, module.normals_loss,
                 module.semantic_loss, module.expert_loss):
        value = loss(prediction, batch())
        assert value.item() == 0
        value.backward()


def test_depth_is_compared_in_the_canonical_camera(module):
    # At half the canonical focal length, 5 m are 10 m of the canonical camera.
    depth = torch.full((2, 32, 48), 5.0)
    matched = batch(depth=depth, focal=torch.tensor([200.0, 200.0]))
    assert module.depth_loss(output(), matched).item() < 1e-3
    assert module.depth_loss(output(), batch(depth=depth)).item() > 0.5


def test_depth_beyond_the_limit_is_ignored(module):
    far = batch(depth=torch.full((2, 32, 48), 130.0))
    assert module.depth_loss(output(), far).item() == 0


def test_uncertainty_is_that_of_the_canonical_cameras_depth_and_leaves_the_depth_alone(module):
    prediction = output()
    loss = module.uncertainty_loss(
        prediction, batch(depth=torch.full((2, 32, 48), 6.0), focal=torch.tensor([200.0, 200.0])))
    normal = torch.distributions.Normal(math.log(10), math.exp(-2.1 / 2))
    assert loss.item() == pytest.approx(
        -normal.log_prob(torch.tensor(math.log(12))).item(), abs=1e-6)
    loss.backward()
    assert prediction.depth.grad is None
    assert (prediction.log_variance.grad != 0).all()


def test_normals_count_where_they_are_known(module):
    normals = torch.full((2, 3, 32, 48), float('nan'))
    normals[0, :, :8] = torch.tensor([0.6, 0.0, -0.8])[:, None, None]
    prediction = output()
    loss = module.normals_loss(prediction, batch(normals=normals))
    assert loss.item() == pytest.approx((1 - 0.8) / 2)  # the other sample has none
    loss.backward()
    gradient = prediction.normals.grad
    assert (gradient[0, 0, :8] != 0).all()
    assert (gradient[0, :, 8:] == 0).all() and (gradient[1] == 0).all()


def test_coarse_labels_of_another_space(module):
    labels = torch.full((2, 32, 48), 3, dtype=torch.uint8)  # vehicles: 6 of 20 classes
    coarse = batch(labels=labels, space=['idd7', 'idd7'])
    expected = torch.tensor(20 / 6).log()
    torch.testing.assert_close(module.semantic_loss(output(), coarse), expected)


def test_one_head_over_two_data_sets_scores_each_image_in_its_own_classes():
    module = SynchronisedLearning(
        'sync', {'depth': None, 'semantics': TINY}, label_space='nyud40+kitti6')
    logits = torch.zeros(2, 46, 32, 48, requires_grad=True)
    mixed = batch(
        labels=torch.full((2, 32, 48), 2, dtype=torch.uint8), space=['kitti6', 'nyud40'],
        expert_labels=torch.zeros(2, 32, 48, dtype=torch.uint8))
    loss = module.semantic_loss(DenseOutput(logits=logits), mixed)
    torch.testing.assert_close(loss, torch.tensor([6.0, 40.0]).log().mean())
    loss.backward()
    assert (logits.grad != 0).any(dim=3).any(dim=2).tolist() == [
        [False] * 40 + [True] * 6, [True] * 40 + [False] * 6]
    # the expert speaks cityscapes19: of the union, it shares classes with kitti6 alone
    torch.testing.assert_close(
        module.expert_loss(DenseOutput(logits=logits), mixed), torch.tensor(6.0).log())


def test_unsure_experts_are_ignored(module):
    labels = torch.zeros((2, 32, 48), dtype=torch.uint8)
    sure = batch(expert_labels=labels)
    unsure = batch(expert_labels=labels, expert_confidence=torch.full((2, 32, 48), 0.3))
    torch.testing.assert_close(module.expert_loss(output(), sure), torch.tensor(20.0).log())
    assert module.expert_loss(output(), unsure).item() == 0


def test_learning_rate_rises_and_falls():
    assert [warm_cosine(x, 0.1) for x in (0, 0.05, 0.1, 0.55, 1.0)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0])


def fit(module, batches, folder=None):
    """Train on so many batches and return the losses; export to a folder if one is given."""
    losses = []

    class Watch(lightning.Callback):

        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            losses.append(outputs['loss'].item())

    data = lightning.LightningDataModule()
    data.train_dataloader = lambda: DataLoader(batches, batch_size=None)
    data.batch_size, data.crop, data.sources = 2, (64, 96), []
    export = [ExportAverage(str(folder), decay=0.5, every=10, start=0)] if folder else []
    trainer = lightning.Trainer(
        max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Watch(), *export])
    trainer.fit(module, datamodule=data)
    return losses


def test_training_lowers_the_loss_wakes_the_couplings_and_exports(module, tmp_path):
    losses = fit(module, [annotated_batch()] * 30, tmp_path)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all(norm > 0 for norms in module.model.network.coupling_norms().values()
               for norm in norms)
    record = json.loads((tmp_path / 'config.json').read_text())['record']
    assert record['steps'] == 30
    exported = hub.load(tmp_path)
    assert torch.isfinite(exported(torch.zeros(1, 3, 64, 96)).depth).all()


HEADS = {'uncertainty': True, 'normals': True}
BASELINES = {
    'uncoupled': {'depth': TINY, 'semantics': TINY, 'depth_to_semantics': False,
                  'semantics_to_depth': False},
    'depth alone': {'depth': TINY, 'semantics': None},
    'labels alone': {'depth': None, 'semantics': TINY},
    'with all heads': {'depth': TINY, 'semantics': TINY, **HEADS},
    'depth alone with all heads': {'depth': TINY, 'semantics': None, **HEADS},
}


@pytest.mark.parametrize('name', BASELINES)
def test_baselines_and_heads_learn_and_give_what_they_have(name, tmp_path):
    torch.manual_seed(0)
    arguments = BASELINES[name]
    module = SynchronisedLearning('sync', arguments)
    before = {key: value.clone() for key, value in module.model.named_parameters()}
    losses = fit(module, [annotated_batch()] * 12, tmp_path)
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    for key, value in module.model.named_parameters():
        assert torch.equal(value, before[key]) != value.requires_grad, key
    predictor = Predictor(tmp_path, device='cpu')
    expected = {
        *(['depth'] if arguments['depth'] else []),
        *(['labels', 'confidence'] if arguments['semantics'] else []),
        *(['uncertainty', 'normals'] if 'normals' in arguments else [])}
    assert predictor.available == expected
    K = np.array([[60.0, 0, 40], [0, 60, 25], [0, 0, 1]])
    frame = Frame(np.zeros((50, 80, 3), np.uint8), K)
    prediction = predictor.predict(frame, expected)
    for field in fields(prediction):
        assert (getattr(prediction, field.name) is not None) == (field.name in expected)


def test_the_variance_learns_the_size_of_the_errors(module):
    """Of a depth that is held still: half of the image is 10 % wrong, half 50 %."""
    depth = torch.full((2, 1, 32, 48), 10.0)
    log_variance = torch.zeros(2, 1, 32, 48, requires_grad=True)
    true = torch.full((2, 32, 48), 11.0)
    true[:, 16:] = 15.0
    optimizer = torch.optim.Adam([log_variance], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        prediction = DenseOutput(depth=depth, log_variance=log_variance)
        module.uncertainty_loss(prediction, batch(depth=true)).backward()
        optimizer.step()
    deviation = log_variance.detach().mul(0.5).exp()[0, 0, :, 0]
    expected = torch.tensor([math.log(1.1)] * 16 + [math.log(1.5)] * 16)
    torch.testing.assert_close(deviation, expected, rtol=0.02, atol=0)


@pytest.mark.parametrize('arguments, encoders, others', [
    ({'depth': TINY, 'semantics': TINY}, True, True),
    ({'depth': {**TINY, 'freeze_encoder': True}, 'semantics': None}, False, True),
    ({'depth': {'kind': 'unet', 'block': 'resnet', 'size': 'tiny'}, 'semantics': None},
     False, True),
])
def test_encoders_learn_at_their_own_rate(arguments, encoders, others):
    """Each group only where it has something to learn, and everything that learns in one."""
    module = SynchronisedLearning('sync', arguments)
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = module.configure_optimizers()['optimizer']
    rates = {parameter: group['initial_lr'] for group in optimizer.param_groups
             for parameter in group['params']}
    for name, parameter in module.model.named_parameters():
        expected = None
        if parameter.requires_grad:
            expected = 2e-4 if '.encoder.' in name else 1e-3
        assert rates.get(parameter) == expected, name
    assert (2e-4 in rates.values()) == encoders
    assert (1e-3 in rates.values()) == others


@pytest.mark.parametrize('name', sorted(zoo.MODEL_ZOO))
def test_of_every_architecture_what_may_learn_is_taught_once(name):
    module = SynchronisedLearning(*zoo.MODEL_ZOO[name]())
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = module.configure_optimizers()['optimizer']
    taught = [id(parameter) for group in optimizer.param_groups for parameter in group['params']]
    learns = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    assert len(taught) == len(set(taught)) and set(taught) == learns


def test_an_encoder_inside_of_a_decoder_is_no_encoder():
    assert of_encoder('network.depth.encoder.blocks.0.weight')
    assert of_encoder('network.encoder.decoder.weight')
    assert not of_encoder('network.semantics.decoder.encoder.layers.0.weight')
    assert not of_encoder('network.depth.pre_encoder.weight')


def test_a_network_with_nothing_left_to_learn_is_refused():
    module = SynchronisedLearning('sync', {'depth': TINY, 'semantics': None})
    module.model.requires_grad_(False)
    with pytest.raises(ValueError, match='nothing to learn'):
        module.configure_optimizers()
