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


"""Recipes: what extends what, how changes merge, what the parser makes of those shipped."""

from __future__ import annotations

import pytest
from sync_perception.datasets import dataset_class
from sync_perception.datasets.derived.selection_files import split_words
from sync_perception.resources import config_folder
from sync_perception.studies.ablation.plan import load_ablation
from sync_perception.training.recipes import changed, check_variables, gathered, load_recipe
from sync_perception.training.train import LEARNINGS, TrainingCLI
import yaml

TRAIN = config_folder() / 'train'
SHIPPED = sorted(TRAIN.glob('*.yaml'))
ABLATIONS = [path for path in SHIPPED if 'variants' in yaml.safe_load(path.read_text())]
RECIPES = [path for path in SHIPPED if path not in ABLATIONS]


def write(folder, **recipes):
    for name, text in recipes.items():
        (folder / f'{name}.yaml').write_text(text)
    return folder


def test_a_recipe_changes_what_it_extends(tmp_path):
    write(tmp_path, base='{a: 1, b: {c: 2, d: [1, 2]}}', middle='{extends: base.yaml, b: {c: 3}}')
    write(tmp_path, top='{extends: middle.yaml, b: {d: [4], e: null}}')
    assert load_recipe(tmp_path / 'top.yaml') == {'a': 1, 'b': {'c': 3, 'd': [4], 'e': None}}


def test_several_bases_apply_in_order(tmp_path):
    write(tmp_path, one='{a: 1, b: 1}', two='{b: 2, c: 2}')
    write(tmp_path, top='{extends: [one.yaml, two.yaml], c: 3}')
    assert load_recipe(tmp_path / 'top.yaml') == {'a': 1, 'b': 2, 'c': 3}


def test_bases_lie_beside_the_recipe_that_names_them(tmp_path):
    (tmp_path / 'own').mkdir()
    write(tmp_path, base='{a: 1}')
    write(tmp_path / 'own', top='{extends: ../base.yaml}')
    assert load_recipe(tmp_path / 'own' / 'top.yaml') == {'a': 1}


@pytest.mark.parametrize(('texts', 'error', 'message'), [
    ({'top': '{extends: none.yaml}'}, FileNotFoundError, r'none\.yaml, which .*top\.yaml extends'),
    ({'top': '{extends: b.yaml}', 'b': '{extends: top.yaml}'}, ValueError,
     r'itself: top\.yaml extends b\.yaml extends top\.yaml'),
    ({'top': '[1]'}, ValueError, r'top\.yaml: expected a mapping.*\[1\]'),
    ({'top': '{a: ['}, ValueError, r'top\.yaml is not YAML'),
])
def test_broken_recipes(tmp_path, texts, error, message):
    write(tmp_path, **texts)
    with pytest.raises(error, match=message):
        load_recipe(tmp_path / 'top.yaml')


def test_another_kind_keeps_none_of_the_former_ones_settings():
    base = {'depth': {'kind': 'unet', 'size': 'tiny'}}
    assert changed(base, {'depth': {'kind': 'refinenet'}}) == {'depth': {'kind': 'refinenet'}}
    assert changed(base, {'depth': {'kind': 'unet', 'block': 'vit'}}) == {
        'depth': {'kind': 'unet', 'size': 'tiny', 'block': 'vit'}}
    assert base == {'depth': {'kind': 'unet', 'size': 'tiny'}}


def test_a_command_line_becomes_one_recipe(tmp_path):
    write(tmp_path, one='{model: {arguments: {depth: {kind: unet, size: base}, x: 1}}}',
          two='{model: {arguments: {x: 2}}}')
    recipe, others = gathered([
        '--config', str(tmp_path / 'one.yaml'), f'--config={tmp_path / "two.yaml"}',
        '--model.arguments.depth.size', 'tiny', '--model.arguments.semantics=null',
        '--trainer.max_steps', '3', '--data.val_sources', 'null'])
    assert recipe == {
        'model': {'arguments': {
            'depth': {'kind': 'unet', 'size': 'tiny'}, 'x': 2, 'semantics': None}},
        'data': {'val_sources': None}}
    assert others == ['--trainer.max_steps', '3']


def test_a_command_line_keeps_what_it_does_not_name(parsers):
    def understood(name, *arguments):
        recipe, others = gathered(['--config', str(TRAIN / name), *arguments])
        return parsers['synchronised'].parse_args(
            ['fit', '--config', yaml.safe_dump(recipe), *others]).fit.model

    initial = understood('transfer.yaml', '--model.initial.semantics.model', 'runs/x').initial
    assert vars(initial['semantics']) == {
        'model': 'runs/x', 'part': 'depth', 'leave': ('head',)}
    learned = understood(
        'self_supervised_depth.yaml',
        '--model.objectives.self_supervised.pose.backbone', 'resnet34',
        '--model.objectives.self_supervised.feature_distance=1e-2').objectives.self_supervised
    assert (learned.mask_after, learned.feature_distance) == (200, 0.01)
    assert (learned.pose.backbone, learned.pose.learning_rate) == ('resnet34', 1e-3)


def test_variables_must_be_set(monkeypatch):
    recipe = {'data': [{'root': '${NO_SUCH_FOLDER}/x'}, '${ALSO_NONE}']}
    with pytest.raises(ValueError, match='ALSO_NONE, NO_SUCH_FOLDER'):
        check_variables(recipe)
    monkeypatch.setenv('NO_SUCH_FOLDER', 'a')
    monkeypatch.setenv('ALSO_NONE', 'b')
    check_variables(recipe)


class Reader(TrainingCLI):
    """A command line that stops when it has understood its arguments."""

    def instantiate_classes(self):
        """Leave everything unbuilt."""

    def _run_subcommand(self, subcommand):
        """Run nothing."""


@pytest.fixture(scope='module')
def parsers():
    """Return the parser of each learning: making one takes seconds."""
    texts = {'synchronised': '{model: {architecture: sync, arguments: {}}, data: {samples: 1}}',
             'contrastive': '{}'}
    return {name: Reader(*kinds, seed_everything_default=0, args=[
        'fit', '--config', texts[name], '--data.sources', '[]']).parser
        for name, kinds in LEARNINGS.items()}


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_understood(path, parsers):
    recipe = load_recipe(path)
    parser = parsers[recipe.get('learning', 'synchronised')]
    config = parser.parse_args(['fit', '--config', yaml.safe_dump(recipe)])
    assert config.fit.trainer.default_root_dir == f'runs/{path.stem}'
    measured = config.fit.data.get('val_sources') or config.fit.data.get('validation')
    for source in [*config.fit.data.sources, *measured]:
        if split_words(source.split) is None:  # otherwise it is a file of `select`
            dataset_class(source.dataset).check_split(source.split)


@pytest.mark.parametrize('path', ABLATIONS, ids=lambda path: path.stem)
def test_shipped_ablations_are_understood(path, parsers):
    ablation = load_ablation(path)
    for run in (*ablation.preparations_of(ablation.runs()), ablation.runs()[-1]):
        parser = parsers[run.recipe.pop('learning', 'synchronised')]
        parser.parse_args(['fit', '--config', yaml.safe_dump(run.recipe)])


def test_the_variants_differ_from_the_whole_in_what_they_are_named_for():
    def arguments(name):
        return load_recipe(TRAIN / f'{name}.yaml')['model']['arguments']

    whole = arguments('synchronised')
    both = {'depth_to_semantics': False, 'semantics_to_depth': False}
    assert arguments('uncoupled') == {**whole, **both}
    assert arguments('depth_to_semantics') == {**whole, 'semantics_to_depth': False}
    assert arguments('semantics_to_depth') == {**whole, 'depth_to_semantics': False}
    assert arguments('depth_only') == {**whole, 'semantics': None}
    assert arguments('semantics_only') == arguments('depth_first') == {**whole, 'depth': None}
