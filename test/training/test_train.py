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

"""The command `train`: the shipped recipe is understood, mistakes are named."""

from __future__ import annotations

from pathlib import Path

from full_disk import full_disk
from mutations import changed, FILES
import pytest
from sync_perception.resources import config_folder
from sync_perception.training.train import train, TrainingCLI
import yaml

RECIPE = str(config_folder() / 'train' / 'driving_small.yaml')


def test_the_shipped_recipe_is_understood(monkeypatch, capsys):
    monkeypatch.setenv('SYNC_PERCEPTION_DATA', 'somewhere')
    with pytest.raises(SystemExit) as end:
        train(['--config', RECIPE, '--print_config'])
    assert end.value.code == 0
    assert 'kind: mobile_unet' in capsys.readouterr().out


def test_an_unknown_key_is_refused_by_name(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv('SYNC_PERCEPTION_DATA', 'somewhere')
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text(Path(RECIPE).read_text().replace('learning_rate:', 'learning_speed:'))
    with pytest.raises(ValueError, match='learning_speed'):
        train(['--config', str(recipe)])


def test_without_the_datas_folder_it_says_what_to_set(monkeypatch):
    monkeypatch.delenv('SYNC_PERCEPTION_DATA', raising=False)
    with pytest.raises(ValueError, match='SYNC_PERCEPTION_DATA'):
        train(['--config', RECIPE])


def config_of(arguments, capsys):
    """Return all settings as the command understands them."""
    with pytest.raises(SystemExit) as end:
        train([*arguments, '--print_config'])
    assert end.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_losses_of_a_recipe_replace_the_defaults(capsys, tmp_path):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text(yaml.safe_dump({'model': {
        'architecture': 'sync', 'arguments': {}, 'objectives': {
            'supervised': {'depth': {'losses': {'berhu': 2.0}}}}}}))
    settings = config_of(['--config', str(recipe), '--data.samples', '1'], capsys)['model']
    supervised = settings['objectives']['supervised']
    assert supervised['depth']['losses'] == {'berhu': 2.0}
    assert supervised['semantics']['losses'] == {'cross_entropy': 1.0}


def test_a_recipe_may_teach_the_contrastive_model(capsys, tmp_path):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('learning: contrastive\nmodel: {tower: tiny, mirrors: true}\n')
    settings = config_of(['--config', str(recipe), '--data.sources', '[]'], capsys)
    assert settings['model']['mirrors'] is True and 'architecture' not in settings['model']


def test_nothing_else_can_be_learned(tmp_path):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('learning: chess\n')
    with pytest.raises(ValueError, match="'chess'"):
        train(['--config', str(recipe)])


@pytest.fixture
def unstarted(monkeypatch):
    """Let trainings end before their first step; the data are opened."""
    def begin(self, subcommand):
        self.datamodule.trainer = self.trainer
        self.datamodule.train_dataloader()
    monkeypatch.setattr(TrainingCLI, '_run_subcommand', begin)


BRANCH = {'kind': 'unet', 'dim': 8, 'multipliers': [1]}
SMALL = {
    'model': {'architecture': 'sync', 'arguments': {'depth': BRANCH, 'semantics': BRANCH},
              'depth_range': [0.5, 200.0], 'optimizer': {'learning_rate': 1e-3},
              'objectives': {'temporal': None}},
    'data': {'batch_size': 1, 'samples': 4, 'crop': [32, 64], 'stride': 1, 'workers': 0,
             'sources': [{'dataset': 'synthetic', 'scale': [0.2, 0.4]}]},
    'trainer': {'max_epochs': 1, 'callbacks': []}}


@pytest.mark.parametrize(('place', 'value', 'key'), [
    (('model',), None, 'model'), (('model',), [], 'model'), (('trainer',), 5, 'trainer'),
    (('data',), 'x', 'data'), (('data', 'sources'), [], 'data.sources'),
    (('data', 'sources', 0), 5, 'data.sources'), (('data', 'crop'), [1], 'data.crop'),
    (('data', 'crop'), [0, 0], 'data.crop'), (('data', 'stride'), 3, 'data.crop'),
    (('data', 'batch_size'), -1, 'data.batch_size'),
    (('data', 'workers'), 'x', 'data.workers'), (('data', 'sources', 0, 'share'), -1, 'share'),
    (('data', 'sources', 0, 'scale'), [2, 1], 'scale'),
    (('data', 'sources', 0, 'scale'), [float('nan'), 1], 'scale'),
    (('model', 'optimizer', 'learning_rate'), float('inf'), 'learning_rate'),
    (('model', 'optimizer', 'learning_rate'), -1, 'learning_rate'),
    (('model', 'learning_rate'), 1e-3, 'learning_rate'),
    (('model', 'objectives'), {'magical': {}}, 'magical'),
    (('model', 'objectives'), {'magical': {'weight': 1.0}}, 'magical'),
    (('model', 'semi_supervision'), {}, 'semi_supervision'),
    (('model', 'initial'), {'depth': {'model': 'default', 'parts': 'x'}}, 'parts'),
    (('model', 'initial'), {'depth': {'part': 'depth'}}, 'model'),
    (('model', 'objectives'), {'temporal': {'lables': 1.0}}, 'lables'),
    (('model', 'objectives'), {'temporal': {'motion': 'magic'}}, 'motion'),
    (('model', 'objectives'), {'supervised': {'depth': {'wait': 1.0}}}, 'wait'),
    (('model', 'objectives'), {'supervised': {'depth': {'weight': -1}}}, 'depth.weight'),
    (('model', 'objectives'), {'self_supervised': {'pose': {'backbones': 'x'}}}, 'backbones'),
    (('model', 'weighting'), {'kind': 'lucky'}, 'lucky'),
    (('model', 'weighting'), {'period': 0}, 'period'),
    (('model', 'depth_range'), 'far', 'depth_range'),
    (('model', 'depth_range'), [200, 1], 'depth_range'),
    (('model', 'label_space'), 5, 'label_space'), (('model', 'arguments'), 5, 'arguments'),
    (('model', 'arguments', 'depth'), 5, 'depth'),
    (('model', 'arguments', 'depth', 'dim'), 'x', 'dim'),
    (('trainer', 'max_epochs'), 'x', 'max_epochs'), (('trainer', 'callbacks'), 5, 'callbacks'),
    (('trainer', 'callbacks'), [{'class_path': 'no.Such'}], 'no.Such'),
    (('learning',), [], 'learning'), (('extends',), 5, 'extends'), (('nonsense',), 1, 'nonsense')])
def test_malformed_recipes_are_refused_by_their_key(tmp_path, unstarted, place, value, key):
    """In one line that says what was expected."""
    path = tmp_path / 'recipe.yaml'
    recipe = changed(SMALL, ('trainer', 'default_root_dir'), str(tmp_path / 'run'))
    path.write_text(yaml.safe_dump(changed(recipe, place, value)))
    with pytest.raises(ValueError, match=key) as refused:
        train(['--config', str(path)])
    assert 'NoneType' not in str(refused.value)


@pytest.mark.parametrize('name', sorted(set(FILES) - {'many digits'}))
def test_files_that_are_no_recipes_are_refused_by_name(tmp_path, name):
    path = tmp_path / 'recipe.yaml'
    path.write_bytes(FILES[name])
    with pytest.raises(ValueError, match='recipe.yaml'):
        train(['--config', str(path)])


def write_recipe(folder, **trainer):
    """Write a recipe of two steps; return its path."""
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump({**SMALL, 'trainer': {
        'max_steps': 2, 'accelerator': 'cpu', 'default_root_dir': str(folder / 'run'),
        'enable_progress_bar': False, **trainer}}))
    return str(path)


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path):
    """An empty file, which Lightning alone takes for the end of the input."""
    broken = tmp_path / 'broken.ckpt'
    broken.write_bytes(b'')
    with pytest.raises(ValueError, match='broken.ckpt') as refused:
        train(['--config', write_recipe(tmp_path), '--ckpt_path', str(broken)])
    assert '\n' not in str(refused.value)


def test_a_full_disk_ends_a_training_with_the_files_name(tmp_path):
    """No half of a checkpoint stays."""
    callback = {'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint',
                'init_args': {'every_n_train_steps': 1, 'save_last': True, 'save_top_k': 0}}
    recipe = write_recipe(tmp_path, callbacks=[callback])
    with full_disk(100_000), pytest.raises(OSError, match=r'last\.ckpt.*GB'):
        train(['--config', recipe])
    assert not any(path.is_file() for path in (tmp_path / 'run').rglob('*ckpt*'))
