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

"""Fitting confidences and uncertainties: known answers, and what is written to the model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.models.finish import Finish
from sync_perception.studies.calibrate import calibrate, Collector, values_at
from sync_perception.types import DenseOutput
from tiny_branch import TINY
import torch

SPACE = LabelSpace.load('driving')


@pytest.fixture(scope='module')
def collector_of(small_model):
    """Return a function that makes a collector for the small model's classes."""
    def make() -> Collector:
        evaluation = Evaluation(hub.load(small_model), SPACE)
        evaluation.share_classes()
        return Collector(evaluation)
    return make


def test_the_temperature_of_overconfident_logits_is_found(collector_of):
    """Labels are drawn from the probabilities; then all logits are made three times too large."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(len(SPACE), 60, 80, generator=generator)
    labels = torch.multinomial(logits.flatten(1).T.softmax(1), 1, generator=generator)
    collector = collector_of()
    collector.add_labels(labels.reshape(60, 80).numpy().astype(np.uint8), 3 * logits[None])
    assert collector.temperature() == pytest.approx(3, rel=0.06)


def test_the_deviation_of_known_errors_is_found(collector_of):
    rng = np.random.default_rng(0)
    true = rng.uniform(3, 60, (60, 80)).astype(np.float32)
    predicted = true * np.exp(0.2 * rng.normal(size=true.shape))
    collector = collector_of()
    K = np.array([[80.0, 0, 40], [0, 80, 30], [0, 0, 1]])
    sample = Sample(id='a', image=np.zeros((60, 80, 3), np.uint8), K=K, depth=true)
    maps = {'depth': predicted / collector.evaluation.metres(sample),
            'log_variance': np.full_like(predicted, 2 * np.log(0.05))}
    collector.add(sample, DenseOutput(**{
        name: torch.from_numpy(values)[None, None] for name, values in maps.items()}))
    assert collector.deviation_scale() == pytest.approx(4, rel=0.05)


def test_pixels_of_a_coarser_map_are_found():
    values = torch.arange(6.0).reshape(1, 1, 2, 3)
    row, column = np.array([0, 1, 2, 3]), np.array([0, 3, 4, 5])
    assert values_at(values, row, column, (4, 6))[:, 0].tolist() == [0, 1, 5, 5]


def test_the_model_is_written_with_what_was_fitted(tmp_path):
    pytest.importorskip('open3d', reason='the street world needs Open3D')
    torch.manual_seed(0)
    config = ModelConfig(
        'sync', {'depth': TINY, 'semantics': TINY, 'uncertainty': True}, SPACE.to_dict(),
        input_pixels=64 * 96, finish={'sharpen': 1.3})
    folder = tmp_path / 'model'
    hub.save(build_model(config), folder)
    weights = (folder / 'model.safetensors').read_bytes()
    result = calibrate(folder, 'synthetic', None, 'val', {'size': [64, 96]}, images=4)
    written = json.loads((folder / 'config.json').read_text())['finish']
    assert written == result['finish'] and written['sharpen'] == 1.3
    assert {'temperature', 'deviation_scale'} <= written.keys()
    assert hub.load(folder).finish == Finish(**written)
    assert (folder / 'model.safetensors').read_bytes() == weights
    off = {name: abs(result[name]['depth_within_1_sigma'] - 0.683) for name in ('before', 'after')}
    assert off['after'] < off['before'] and off['after'] < 0.1


def test_what_cannot_be_fitted_is_refused(small_model, tmp_path):
    pytest.importorskip('open3d', reason='the street world needs Open3D')
    with pytest.raises(ValueError, match=str(tmp_path / 'none')):
        calibrate(tmp_path / 'none', 'synthetic', None)
    folder = tmp_path / 'model'
    shutil.copytree(small_model, folder)
    with pytest.raises(ValueError, match='at least two'):
        calibrate(folder, 'synthetic', None, 'val', {'size': [64, 96], 'length': 1})
