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


"""Trainings whose frames agree with their neighbours: they resume, and say what they lack."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import load_file
from small_batches import TINY, write_recipe, write_streets
from sync_perception.training.feeding.mixture import Mixture, MixtureSource
from sync_perception.training.objectives.temporal import TemporalConfig, TemporalConsistency
from sync_perception.training.train import train
import torch
import yaml

BOTH = {'depth': TINY, 'semantics': TINY}


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    """Write drawn streets: without poses."""
    return write_streets(tmp_path_factory.mktemp('streets'))


def run(folder, streets, settings, data, arguments=(), callbacks=()):
    """Train a tiny network, in a folder of its own."""
    recipe = write_recipe(folder / 'recipe.yaml', streets, data=data,
                          model={'arguments': BOTH, 'canonical_focal': 90.0,
                                 'objectives': {'temporal': settings}})
    description = yaml.safe_load(recipe.read_text())
    description['trainer']['callbacks'] += callbacks
    recipe.write_text(yaml.safe_dump(description))
    return train(['--config', str(recipe), *arguments])


def test_a_training_resumes_to_the_bit(streets, tmp_path):
    """By flow, and with the neighbour that is drawn."""
    data, flow = {'samples': 8, 'neighbours': [-1, 1]}, {'motion': 'flow', 'agreement': 1.0}
    whole = run(tmp_path / 'whole', streets, flow, data)
    metrics = whole.trainer.callback_metrics
    assert metrics['train/temporal_labels'] > 0 and 'train/temporal_depth' not in metrics
    with pytest.raises(InterruptedError):
        run(tmp_path / 'broken', streets, flow, data,
            callbacks=[{'class_path': 'interruption.Fail', 'init_args': {'step': 3}}])
    run(tmp_path / 'broken', streets, flow, data, arguments=('--ckpt_path', 'last'))
    weights, resumed = (load_file(tmp_path / name / 'model' / 'model.safetensors')
                        for name in ('whole', 'broken'))
    assert set(weights) == set(whole.model.model.state_dict())
    assert all(torch.equal(x, resumed[name]) for name, x in weights.items())


def test_recordings_without_poses_are_refused(streets, tmp_path):
    """Before the first step; by flow, or with a pose network, they can teach."""
    with pytest.raises(ValueError, match=r'vkitti2.*\[-1\]'):
        run(tmp_path, streets, {}, {'neighbours': [-1]})
    mixture = Mixture(
        [MixtureSource('vkitti2', str(streets), scale=(1.0, 1.0), split='all')], 1, (32, 64), 2,
        offsets=(-1,))
    model = SimpleNamespace(config=SimpleNamespace(canonical_focal=None))
    alone = SimpleNamespace(model=model, others={})
    estimating = SimpleNamespace(model=model, others={'self_supervised': SimpleNamespace(
        motion=True, config=SimpleNamespace(known_poses=False))})
    TemporalConsistency(TemporalConfig(), estimating).check_mixture(mixture)
    TemporalConsistency(TemporalConfig(motion='flow'), alone).check_mixture(mixture)
    mixture.datasets[0].pose = lambda name, offset=0: np.eye(4)
    TemporalConsistency(TemporalConfig(), alone).check_mixture(mixture)
