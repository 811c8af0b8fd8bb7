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

import pytest
from sync_perception.resources import config_folder
from sync_perception.training.train import train
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
    with pytest.raises(SystemExit) as end:
        train(['--config', str(recipe)])
    assert end.value.code == 2
    assert 'learning_speed' in capsys.readouterr().err


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
        'architecture': 'sync', 'arguments': {}, 'depth_losses': {'berhu': 2.0}}}))
    settings = config_of(['--config', str(recipe), '--data.samples', '1'], capsys)['model']
    assert settings['depth_losses'] == {'berhu': 2.0}
    assert settings['semantic_losses'] == {'cross_entropy': 1.0}


def test_a_recipe_may_teach_the_contrastive_model(capsys, tmp_path):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('learning: contrastive\nmodel: {tower: tiny, mirrors: true}\n')
    settings = config_of(['--config', str(recipe), '--data.sources', '[]'], capsys)
    assert settings['model']['mirrors'] is True and 'architecture' not in settings['model']


def test_nothing_else_can_be_learned(tmp_path):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('learning: chess\n')
    with pytest.raises(ValueError, match="expected one of synchronised, contrastive, got 'chess'"):
        train(['--config', str(recipe)])
