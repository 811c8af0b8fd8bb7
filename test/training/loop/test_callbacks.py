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

"""Losses that are not finite stop the training before they ruin it; random numbers repeat."""

from __future__ import annotations

import json
import random

import lightning
import numpy as np
import pytest
from small_batches import annotated_batch, TINY
from sync_perception.training.loop.callbacks import NotFiniteError, SeededSteps, StopWhenNotFinite
from sync_perception.training.module import SynchronisedLearning
import torch
from torch.utils.data import DataLoader


class Spoil(lightning.Callback):
    """Replaces a loss of depth from a step on, and remembers the weights before it."""

    def __init__(self, loss, step=2):
        self.loss, self.step, self.weights = loss, step, {}

    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            pl_module.objectives['supervised'].depth_losses['silog'] = self.loss
            self.weights = {
                name: weight.clone() for name, weight in pl_module.state_dict().items()}


def fit(folder, *callbacks, **settings):
    torch.manual_seed(0)
    module = SynchronisedLearning('sync', {'depth': TINY, 'semantics': TINY})
    batches = [{**annotated_batch(), 'id': [f'street:{2 * n}', f'street:{2 * n + 1}']}
               for n in range(6)]
    trainer = lightning.Trainer(
        max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        callbacks=list(callbacks), **settings)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return module


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_bad_loss_stops_with_step_samples_and_term(value, tmp_path):
    spoil = Spoil(lambda predicted, *_: predicted.mean() * value)
    with pytest.raises(NotFiniteError) as stop:
        fit(tmp_path, spoil)
    message = str(stop.value)
    assert message.startswith('step 2: depth/silog is ')
    assert 'log_l1' not in message and 'semantics' not in message
    assert 'samples street:4, street:5;' in message
    record = json.loads((tmp_path / 'not_finite.json').read_text())
    assert record['step'] == 2 and record['samples'] == ['street:4', 'street:5']
    assert record['terms']['depth/silog'] in ('nan', 'inf')
    assert float(record['terms']['depth/log_l1']) > 0
    saved = torch.load(tmp_path / 'not_finite.ckpt', weights_only=False)
    assert saved['global_step'] == 2
    for name, weight in saved['state_dict'].items():
        assert torch.isfinite(weight).all()
        if 'running' not in name and 'num_batches' not in name:  # the forward pass counts on
            assert torch.equal(weight, spoil.weights[name]), name


def test_a_bad_gradient_of_a_good_loss_stops_too(tmp_path):
    """The root of zero is zero, its slope infinite; 0 times infinity is no number."""
    with pytest.raises(NotFiniteError, match='step 2.*(nan|inf)'):
        fit(tmp_path, Spoil(lambda predicted, *_: (predicted * 0).abs().sum().sqrt()))


def test_with_accumulated_gradients_all_samples_of_the_step_are_named(tmp_path):
    with pytest.raises(NotFiniteError, match='depth/silog.*street:4, .*, street:7'):
        fit(tmp_path, Once(), accumulate_grad_batches=2, limit_train_batches=4)


class Once(lightning.Callback):
    """Makes the loss of the third batch bad, and no other."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        losses = pl_module.objectives['supervised'].depth_losses
        if batch_idx == 2:
            self.good = losses['silog']
            losses['silog'] = lambda predicted, *_: predicted.mean() * float('nan')
        if batch_idx == 3:
            losses['silog'] = self.good


def test_a_good_training_is_not_stopped(tmp_path):
    module = fit(tmp_path)
    assert module.trainer.global_step == 6
    assert not list(tmp_path.glob('not_finite*'))
    assert module.trainer.callback_metrics['train/gradient_norm'] > 0


class Draws(lightning.Callback):
    """Draws from every generator at every batch."""

    def __init__(self):
        self.numbers = []

    def on_train_batch_end(self, *_):
        drawn = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
        self.numbers.append(drawn)


def test_random_numbers_depend_on_seed_and_batch_alone(tmp_path):
    first, second = Draws(), Draws()
    fit(tmp_path, first)
    random.random(), torch.rand(7)
    fit(tmp_path, second)
    assert first.numbers == second.numbers
    assert len({number for numbers in first.numbers for number in numbers}) == 18


def test_a_checkpoints_seed_goes_before_the_processs():
    seeded = SeededSteps()
    seeded.load_state_dict({'seed': 11})
    seeded.on_fit_start(None, None)
    assert seeded.state_dict() == {'seed': 11}


def test_every_training_is_watched():
    module = SynchronisedLearning('sync', {'depth': TINY, 'semantics': None})
    assert {type(callback) for callback in module.configure_callbacks()} == {
        SeededSteps, StopWhenNotFinite}
