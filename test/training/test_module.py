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

import json

import lightning
import pytest
from sync_perception.models import hub
from sync_perception.training.export import ExportAverage
from sync_perception.training.module import SynchronisedLearning, warm_cosine
from sync_perception.types import DenseOutput
import torch
from torch.utils.data import DataLoader

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
        'space': ['', ''], 'id': ['a', 'b']}
    return {**bare, **changes}


def output():
    """Return a prediction of 10 m everywhere and equal class scores."""
    return DenseOutput(
        depth=torch.full((2, 1, 32, 48), 10.0, requires_grad=True),
        logits=torch.zeros(2, 20, 32, 48, requires_grad=True))


def test_without_annotations_there_is_no_loss(module):
    prediction = output()
    total = (module.depth_loss(prediction, batch()) + module.semantic_loss(prediction, batch())
             + module.expert_loss(prediction, batch()))
    assert total.item() == 0


def test_depth_is_compared_in_the_canonical_camera(module):
    # At half the canonical focal length, 5 m are 10 m of the canonical camera.
    depth = torch.full((2, 32, 48), 5.0)
    matched = batch(depth=depth, focal=torch.tensor([200.0, 200.0]))
    assert module.depth_loss(output(), matched).item() < 1e-3
    assert module.depth_loss(output(), batch(depth=depth)).item() > 0.5


def test_depth_beyond_the_limit_is_ignored(module):
    far = batch(depth=torch.full((2, 32, 48), 130.0))
    assert module.depth_loss(output(), far).item() == 0


def test_coarse_labels_of_another_space(module):
    labels = torch.full((2, 32, 48), 3, dtype=torch.uint8)  # vehicles: 6 of 20 classes
    coarse = batch(labels=labels, space=['idd7', 'idd7'])
    expected = torch.tensor(20 / 6).log()
    torch.testing.assert_close(module.semantic_loss(output(), coarse), expected)


def test_unsure_experts_are_ignored(module):
    labels = torch.zeros((2, 32, 48), dtype=torch.uint8)
    sure = batch(expert_labels=labels)
    unsure = batch(expert_labels=labels, expert_confidence=torch.full((2, 32, 48), 0.3))
    torch.testing.assert_close(module.expert_loss(output(), sure), torch.tensor(20.0).log())
    assert module.expert_loss(output(), unsure).item() == 0


def test_learning_rate_rises_and_falls():
    assert [warm_cosine(x, 0.1) for x in (0, 0.05, 0.1, 0.55, 1.0)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0])


def test_training_lowers_the_loss_wakes_the_couplings_and_exports(module, tmp_path):
    full = batch(
        depth=torch.linspace(4, 40, 32)[None, :, None].expand(2, 32, 48).contiguous(),
        labels=(torch.arange(32) // 16)[None, :, None].expand(2, 32, 48).contiguous(),
        space=['driving', 'driving'])
    losses = []

    class Watch(lightning.Callback):

        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            losses.append(outputs['loss'].item())

    data = lightning.LightningDataModule()
    data.train_dataloader = lambda: DataLoader([full] * 30, batch_size=None)
    data.batch_size, data.crop, data.sources = 2, (64, 96), []
    trainer = lightning.Trainer(
        max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Watch(), ExportAverage(str(tmp_path), decay=0.5, every=10, start=0)])
    trainer.fit(module, datamodule=data)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all(norm > 0 for norms in module.model.network.coupling_norms().values()
               for norm in norms)
    record = json.loads((tmp_path / 'config.json').read_text())['record']
    assert record['steps'] == 30
    exported = hub.load(tmp_path)
    assert torch.isfinite(exported(torch.zeros(1, 3, 64, 96)).depth).all()
