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

"""Two processes learn from a batch what one learns from it, of both kinds of learning."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest
from small_batches import write_recipe, write_streets
from sync_perception.models import hub
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.training.train import train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
BRANCH = {'kind': 'unet', 'block': 'convnext', 'dim': 8, 'multipliers': [1, 2]}


TOWER = {
    'image_size': 32, 'patch_size': 8, 'hidden_size': 32, 'intermediate_size': 64,
    'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 16}
gloo = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason='torch without gloo')


def train_by_two(recipe: Path) -> None:
    """Run a recipe in two processes."""
    finished = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2',
         '-m', 'sync_perception.cli', 'train', '--config', str(recipe)],
        env={**os.environ, 'OMP_NUM_THREADS': '1',
             'PYTHONPATH': os.pathsep.join(
                 [str(REPOSITORY), str(REPOSITORY / 'test' / 'helpers')])},
        capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def logs_of(*recipes: Path) -> list[EventAccumulator]:
    """Read what the runs of recipes logged."""
    return [EventAccumulator(str(recipe.parent)).Reload() for recipe in recipes]


def logged(log: EventAccumulator, name: str) -> list[float]:
    """Return the values of a curve."""
    return [event.value for event in log.Scalars(name)]


@gloo
@pytest.mark.exhaustive
def test_two_processes_agree_with_one(tmp_path):
    """
    Without batch norms and without variation of colours: the same crops, the same gradient.

    Sums in another order differ by rounding, which Adam enlarges where a gradient is nearly zero.
    Depth may differ by a relative 1e-4, class scores by 1e-4, measurements by 1e-3: a pixel that
    is undecided between two classes may fall either way.
    """
    streets = write_streets(tmp_path / 'streets')
    settings = {'architecture': 'sync', 'arguments': {'depth': BRANCH, 'semantics': BRANCH},
                'photometric': False, 'canonical_focal': 90.0, 'input_pixels': 6144}
    measured = [{'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'samples': 3}]

    def recipe(name: str, batch_size: int, **trainer) -> Path:
        return write_recipe(
            tmp_path / name / 'recipe.yaml', streets, model=settings,
            trainer={'val_check_interval': 3, 'num_sanity_val_steps': 0, **trainer},
            data={'batch_size': batch_size, 'crop': [32, 48], 'val_sources': measured})

    alone = recipe('alone', 4)
    train(['--config', str(alone)])
    together = recipe('together', 2, devices=2, strategy='ddp')
    train_by_two(together)
    first, second = (hub.load(path.parent / 'model') for path in (alone, together))
    assert first.config.record['steps'] == second.config.record['steps'] == 6
    assert first.config.record['batch_size'] == second.config.record['batch_size'] == 4
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, theirs = first(image), second(image)
    torch.testing.assert_close(ours.depth, theirs.depth, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-4)
    for metric in ('abs_rel', 'miou', 'pixel_accuracy'):
        values = [logged(log, f'val/vkitti2/{metric}') for log in logs_of(alone, together)]
        assert values[0] == pytest.approx(values[1], abs=1e-3), metric


@gloo
@pytest.mark.exhaustive
def test_two_processes_have_the_same_teacher(tmp_path):
    """Though each normalises by its own batch, and mixes and varies its own images."""
    streets = write_streets(tmp_path / 'streets')
    recipe = write_recipe(
        tmp_path / 'together' / 'recipe.yaml', streets,
        model={'objectives': {'semi_supervised': {'confidence': 0.1}}},
        trainer={'devices': 2, 'strategy': 'ddp', 'num_sanity_val_steps': 0, 'callbacks': [
            {'class_path': 'keep_teacher.KeepTeacher'}]})
    train_by_two(recipe)
    first, second = (torch.load(recipe.parent / f'teacher_{rank}.pt') for rank in (0, 1))
    assert first['updates'] == second['updates'] == 5
    assert first['network'].keys() == second['network'].keys()
    for name, values in first['network'].items():
        assert torch.equal(values, second['network'][name]), name
    losses = logged(logs_of(recipe)[0], 'train/unlabelled')
    assert len(losses) == 6 and all(loss > 0 for loss in losses)


@gloo
@pytest.mark.exhaustive
def test_two_processes_contrast_the_pairs_of_both(tmp_path):
    """Each loss is that of the whole batch, mirrored pairs too, and so is the gradient."""
    pytest.importorskip('transformers')
    streets = write_streets(tmp_path / 'streets')
    source = {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'scale': [0.9, 1.1]}

    def recipe(name: str, batch_size: int, **trainer) -> Path:
        path = write_recipe(tmp_path / name / 'recipe.yaml', streets, trainer={
            'num_sanity_val_steps': 0, **trainer})
        settings = yaml.safe_load(path.read_text())
        settings.update(
            learning='contrastive',
            model={'tower': TOWER, 'label_space': 'vkitti2', 'mirrors': True,
                   'learning_rate': 0.003},
            data={'batch_size': batch_size, 'samples': 24, 'crop': [48, 64], 'workers': 0,
                  'seed': 5, 'sources': [source], 'validation': [source]})
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return path

    alone = recipe('alone', 4)
    train(['--config', str(alone)])
    together = recipe('together', 2, devices=2, strategy='ddp')
    train_by_two(together)
    first, second = (contrastive.load_contrastive(path.parent / 'model')
                     for path in (alone, together))
    assert first.config.record['steps'] == second.config.record['steps'] == 6
    assert first.config.record['batch_size'] == second.config.record['batch_size'] == 4
    depth, labels = torch.rand(4, 1, 48, 64) * 60, torch.randint(0, 14, (4, 48, 64))
    with torch.no_grad():
        ours, theirs = (model.similarity(depth, labels) for model in (first, second))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    logs = logs_of(alone, together)
    for name in ('train/loss', 'train/depth_found', 'train/scale', 'val/loss'):
        values = [logged(log, name) for log in logs]
        assert values[0] == pytest.approx(values[1], abs=1e-4), name
    losses = logged(logs[0], 'train/loss')
    assert len(losses) == 6 and max(losses) - min(losses) > 0.05
