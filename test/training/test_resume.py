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

"""A training that is interrupted and resumed learns what it would have learned."""

from __future__ import annotations

from pathlib import Path
import signal

from forked import fork
import pytest
from safetensors.torch import load_file
from small_batches import write_recipe, write_streets
from sync_perception.training.train import train
import torch
import yaml


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    return write_streets(tmp_path_factory.mktemp('streets'))


@pytest.fixture
def one_thread():
    """Let sums have the order that they have in a forked process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(root: Path) -> dict[str, torch.Tensor]:
    """Return what a training leaves: the exported average."""
    return load_file(root / 'model' / 'model.safetensors')


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def deadly(recipe: Path, callback: str, step: int) -> str:
    """Write the same recipe with a callback that ends it in the middle of a step."""
    description = yaml.safe_load(recipe.read_text())
    description['trainer']['callbacks'].append(
        {'class_path': f'interruption.{callback}', 'init_args': {'step': step}})
    path = recipe.with_name('deadly.yaml')
    path.write_text(yaml.safe_dump(description))
    return str(path)


def killed(recipe: Path, step: int) -> None:
    """Run a training in a process of its own, which is killed in the middle of a step."""
    process = fork(train, ['--config', deadly(recipe, 'Kill', step)])
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_training_goes_on_as_if_nothing_had_been(streets, tmp_path, one_thread):
    """Killed in the eighth step, two after its last checkpoint; a worker had read ahead."""
    settings = {'data': {'workers': 1}, 'model': {'weighting': {'kind': 'uncertainty'}}}
    whole = write_recipe(tmp_path / 'whole' / 'recipe.yaml', streets, **settings)
    uninterrupted = train(['--config', str(whole)])
    broken = write_recipe(tmp_path / 'broken' / 'recipe.yaml', streets, **settings)
    killed(broken, step=7)
    assert not (broken.parent / 'model').exists()
    resumed = train(['--config', str(broken), '--ckpt_path', 'last'])
    assert resumed.trainer.global_step == uninterrupted.trainer.global_step == 12
    assert_same(weights(whole.parent), weights(broken.parent))
    ends = [torch.load(root.parent / 'checkpoints' / 'last.ckpt', weights_only=False)
            for root in (whole, broken)]
    assert_same(*(end['current_model_state'] for end in ends))
    for first, second in zip(*(end['optimizer_states'][0]['state'].values() for end in ends)):
        assert_same(first, second)
    assert ends[0]['lr_schedulers'] == ends[1]['lr_schedulers']


SETTINGS = {
    'in the second epoch, dynamic weights': (10, {
        'trainer': {'max_epochs': 2}, 'data': {'samples': 12},
        'model': {'weighting': {'kind': 'dynamic', 'period': 4}}}),
    'at the end of an epoch': (6, {'trainer': {'max_epochs': 2}, 'data': {'samples': 12}}),
    'with accumulated gradients, after a measurement': (4, {
        'trainer': {'accumulate_grad_batches': 2, 'val_check_interval': 4,
                    'gradient_clip_val': 0.1}}),
    'at the end of an epoch, with a mean teacher and accumulated gradients': (3, {
        'trainer': {'accumulate_grad_batches': 2, 'max_epochs': 2},
        'data': {'samples': 12, 'workers': 1},
        'model': {'objectives': {'semi_supervised': {'confidence': 0.1, 'weight': 2.0}}}}),
}


# the last meets what the others do, too
@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if 'teacher' in name else pytest.mark.exhaustive)
    for name in SETTINGS])
def test_an_interrupted_training_goes_on(name, streets, tmp_path):
    step, settings = SETTINGS[name]
    if 'measurement' in name:
        settings = {**settings, 'data': {'val_sources': [
            {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'samples': 2}]}}
    whole, broken = (write_recipe(tmp_path / kind / 'recipe.yaml', streets, **settings)
                     for kind in ('whole', 'broken'))
    train(['--config', str(whole)])
    with pytest.raises(InterruptedError):
        train(['--config', deadly(broken, 'Fail', step)])
    train(['--config', str(broken), '--ckpt_path', 'last'])
    assert_same(weights(whole.parent), weights(broken.parent))
    if 'teacher' in name:
        teachers = [torch.load(root.parent / 'checkpoints' / 'last.ckpt', weights_only=False)[
            'objectives']['semi_supervised'] for root in (whole, broken)]
        assert_same(*(teacher['network'] for teacher in teachers))
        assert teachers[0]['updates'] == teachers[1]['updates'] > step


def test_the_contrastive_model_goes_on_too(streets, tmp_path):
    """Its batches, its crops and the order of the next epoch."""
    tower = {'image_size': 32, 'patch_size': 8, 'hidden_size': 32, 'intermediate_size': 64,
             'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 16}
    runs = []
    for kind in ('whole', 'broken'):
        recipe = write_recipe(
            tmp_path / kind / 'recipe.yaml', streets, learning='contrastive',
            trainer={'max_epochs': 2, 'num_sanity_val_steps': 0}, model={'tower': tower})
        description = yaml.safe_load(recipe.read_text())
        description['model'] = {'tower': tower, 'mirrors': True, 'learning_rate': 1e-3}
        description['data'] = {
            'sources': description['data']['sources'], 'samples': 24, 'batch_size': 4,
            'crop': [32, 32], 'workers': 1}
        recipe.write_text(yaml.safe_dump(description))
        runs.append(recipe)
    whole, broken = runs
    train(['--config', str(whole)])
    with pytest.raises(InterruptedError):
        train(['--config', deadly(broken, 'Fail', 10)])
    train(['--config', str(broken), '--ckpt_path', 'last'])
    assert_same(weights(whole.parent), weights(broken.parent))


def test_a_folder_with_a_training_is_not_written_over(streets, tmp_path):
    recipe = write_recipe(tmp_path / 'recipe.yaml', streets, data={'samples': 6})
    train(['--config', str(recipe)])
    with pytest.raises(ValueError, match='--ckpt_path last'):
        train(['--config', str(recipe)])
