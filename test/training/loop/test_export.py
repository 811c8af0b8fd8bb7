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

"""What a training writes into its model's folder about the cameras that it learned from."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
from safetensors.torch import load_file
from small_batches import annotated_batch, batch, TINY, write_streets
from sync_perception.models import hub
from sync_perception.models.config import ModelConfig
from sync_perception.resources import config_folder, default_model_folder
from sync_perception.street_world.camera import draw_camera
from sync_perception.training.feeding.mixture import MixtureData, MixtureSource
from sync_perception.training.loop.export import ExportAverage
from sync_perception.training.module import SynchronisedLearning
import torch
import yaml


def train(
        folder: Path, sources: list[MixtureSource], samples: int = 16, **average: float
        ) -> ModelConfig:
    """Learn from so many crops of some sources; return the exported model's config."""
    torch.manual_seed(0)
    data = MixtureData(sources, samples=samples, batch_size=2, crop=(64, 96), workers=0, seed=1)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ExportAverage(str(folder), **{'decay': 0.5, 'start': 0, **average})])
    trainer.fit(SynchronisedLearning('sync', {'depth': TINY, 'semantics': TINY}), datamodule=data)
    return hub.read_config(folder)


@pytest.mark.parametrize('size', [{'focal': (60, 80)}, {'scale': (0.9, 1.2)}])
def test_the_range_of_focal_lengths_is_what_the_crops_had(tmp_path, size):
    """Whether a source says so or not: the streets' camera has 90 pixels."""
    streets = write_streets(tmp_path / 'streets')
    source = MixtureSource('vkitti2', str(streets), split='all', **size)
    low, high = size.get('focal', (0.9 * 90, 1.2 * 90))
    found = train(tmp_path / 'model', [source]).focal_range
    # 16 crops, log-uniform: the outermost lie near the ends; sizes of whole pixels move both
    assert low * 0.99 <= found[0] < found[1] <= high * 1.01
    assert found[1] / found[0] > 1 + 0.5 * (high / low - 1)


def test_until_the_averaging_starts_the_average_is_the_latest_weights(tmp_path):
    """Three steps of a training, of which an average of decay 0 always is the last one."""
    sources = [MixtureSource('vkitti2', str(write_streets(tmp_path / 'streets')), split='all',
                      scale=(1, 1))]
    weights = {}
    for name, average in (
            ('latest', {'decay': 0.0}), ('short', {'start': 100}), ('late', {'start': 2}),
            ('average', {'start': 1}), ('early', {})):
        train(tmp_path / name, sources, samples=6, **average)
        weights[name] = torch.cat([
            values.flatten() for values in
            load_file(tmp_path / name / 'model.safetensors').values()])
    for name in ('short', 'late'):  # the third step is the first that counts: a copy
        assert torch.equal(weights[name], weights['latest'])
    assert not torch.equal(weights['average'], weights['latest'])
    assert not torch.equal(weights['early'], weights['average'])


def test_crops_without_depth_or_camera_do_not_count():
    export = ExportAverage()
    export.note_focals(batch(focal=torch.tensor([100.0, 900.0])))
    assert export.focals == []
    crops = annotated_batch()
    crops['focal'] = torch.tensor([400.0, float('nan')])
    export.note_focals(crops)
    crops['focal'] = torch.tensor([380.0, 900.0])
    crops['depth'][1] = float('nan')
    export.note_focals(crops)
    assert export.focals == [380.0, 400.0]
    export.note_focals({'depth': crops['depth'], 'labels': crops['labels']})
    assert export.focals == [380.0, 400.0]


def test_a_resumed_training_remembers_them():
    export, resumed = ExportAverage(), ExportAverage()
    export.note_focals({**annotated_batch(), 'focal': torch.tensor([300.0, 500.0])})
    resumed.load_state_dict(export.state_dict())
    assert resumed.focals == [300.0, 500.0]
    resumed.note_focals(annotated_batch())
    assert resumed.focals == [300.0, 500.0]


def test_the_default_model_says_what_its_recipe_says():
    """The focal lengths seen in training lie within those that the sources ask for."""
    driving, cameras = (
        yaml.safe_load((config_folder() / 'train' / f'{name}.yaml').read_text())
        for name in ('driving', 'driving_cameras'))
    sources = cameras['data']['sources']
    ranges = [source['focal'] for source in sources if 'focal' in source]
    (rendered,) = (source['scale'] for source in sources if 'cameras' in source['root'])
    focals = [draw_camera(seed, (576, 1152))[0][0, 0] for seed in (
        *range(5010, 5050), *range(7000, 7090))]  # the streets that the recipe names
    ranges.append([min(focals) * rendered[0], max(focals) * rendered[1]])
    config = hub.read_config(default_model_folder())
    least, greatest = config.focal_range
    assert min(low for low, _ in ranges) <= least < greatest <= max(high for _, high in ranges)
    assert greatest / least > 3
    for name in ('input_pixels', 'input_multiple', 'canonical_focal'):
        assert getattr(config, name) == driving['model'][name]
