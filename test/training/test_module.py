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

import lightning
import numpy as np
import pytest
from small_batches import annotated_batch, TINY
from sync_perception.models import hub
from sync_perception.runtime.predictor import Predictor
from sync_perception.training.loop.export import ExportAverage
from sync_perception.training.module import SynchronisedLearning
from sync_perception.types import Frame
import torch
from torch.utils.data import DataLoader


@pytest.fixture
def module():
    torch.manual_seed(0)
    return SynchronisedLearning('sync', {'depth': TINY, 'semantics': TINY})


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
    'labels alone': {'depth': None, 'semantics': TINY},
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
