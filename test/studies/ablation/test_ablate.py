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

"""Ablations: what a file may say, which runs are begun, kept or refused, and one whole one."""

from __future__ import annotations

import json

from constant import constant_model
import pytest
from small_batches import write_recipe, write_streets
from sync_perception import cli
from sync_perception.datasets import DatasetOptions
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions
from sync_perception.files.pages import markers
from sync_perception.studies.ablation.ablate import ablate, ablation_summary
from sync_perception.studies.ablation.plan import load_ablation
from sync_perception.training.train import train
from torch.utils.tensorboard import SummaryWriter
from typer.testing import CliRunner
import yaml

RECORD = {
    'steps': 4, 'batch_size': 2, 'crop': [64, 96], 'hours': 0.5, 'finished': '2026-01-02',
    'machine': 'a machine', 'torch': '2', 'data': [{'dataset': 'vkitti2', 'split': 'all'}]}


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    return write_streets(tmp_path_factory.mktemp('streets'), frames=2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, to which the ablations' paths are relative."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_ablation(folder, streets, **changes):
    """Write an ablation of models that answer one class everywhere."""
    source = {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'name': 'streets'}
    (folder / 'base.yaml').write_text('model: {label: sky, size: 1}\n')
    content = {
        'out': 'runs', 'page': 'page.md', 'seeds': [0, 1], 'recipe': {'extends': 'base.yaml'},
        'variants': {'road': {'model': {'label': 'road'}}, 'plain': {}},
        'comparisons': [{'variant': 'road', 'against': 'plain', 'asks': 'Better?'}],
        'measured': [source], **changes}
    path = folder / 'ablation.yaml'
    path.write_text(yaml.safe_dump({
        name: value for name, value in content.items() if value is not None},
        sort_keys=False))
    return path


class FakeTraining:
    """
    Writes at once what a training leaves: a model of one answer, and a log.

    :ivar calls: folders and arguments of those begun.
    """

    def __init__(self):
        self.calls, self.failing = [], ()

    def __call__(self, folder, arguments):
        self.calls.append((str(folder), list(arguments)[2:]))
        recipe = yaml.safe_load((folder / 'recipe.yaml').read_text())
        with SummaryWriter(folder) as log:
            for step in range(4):
                log.add_scalar('train/task_semantics', 4.0 - step, step)
        (folder / 'checkpoints').mkdir(exist_ok=True)
        (folder / 'checkpoints' / 'last.ckpt').touch()
        if str(folder) in self.failing:
            raise RuntimeError('no more memory')
        constant_model(folder / 'model', recipe['model']['label'], record=RECORD)


@pytest.mark.parametrize(('change', 'message'), [
    ({'sedes': [1]}, 'expected some of recipe, variants, .*got sedes'),
    ({'recipe': None}, 'recipe missing'),
    ({'variants': {}}, 'variants: expected at least one'),
    ({'variants': ['a']}, "variants: expected a mapping, got \\['a'\\]"),
    ({'variants': {'road': {'extends': 'base.yaml'}, 'plain': {}}}, "'road': expected changes"),
    ({'variants': {'road': {}, 'plain': {}, 'a/b': {}}}, "a folder can have, got 'a/b'"),
    ({'preparations': {'road': {}}}, "'road' is both a variant and a preparation"),
    ({'seeds': [1, 1]}, r'seeds: expected all different, got \[1, 1\]'),
    ({'metrics': ['speed']}, 'metrics: expected some of miou, .*got speed'),
    ({'curves': ['gravel']}, 'curves: expected some of road, plain, got gravel'),
    ({'comparisons': [{'variant': 'road', 'against': 'gravel'}]}, 'got gravel'),
    ({'comparisons': [{'variant': 'road'}]}, 'comparison 1: against missing'),
    ({'measured': [{'dataset': 'vkitti2', 'rot': 'x'}]}, 'measured 1: expected .*got rot'),
    ({'series': {'axis': 'size', 'lines': {'all': {1: 'gravel'}}}}, 'series: .*got gravel'),
    ({'series': {'lines': {'all': {1: 'road'}}}}, 'series: axis missing'),
    ({'baselines': ['plane']}, 'baselines: expected some of constant depth, .*got plane'),
    ({'baselines': ['ground plane']}, 'measured streets: .*median_scaling: true'),
    ({'measured': [{'dataset': 'vkitti'}]}, "'vkitti'")])
def test_what_a_file_may_not_say(folder, streets, change, message):
    path = write_ablation(folder, streets, **change)
    with pytest.raises(ValueError, match=message):
        ablate(path, fit=pytest.fail)
    assert not (folder / 'runs').exists()


def test_a_file_that_is_not_there_or_no_yaml(folder):
    with pytest.raises(FileNotFoundError, match='no ablation'):
        load_ablation(folder / 'none.yaml')
    (folder / 'broken.yaml').write_text('a: {b')
    with pytest.raises(ValueError, match='broken.yaml is not YAML'):
        load_ablation(folder / 'broken.yaml')


def test_recipes_are_put_together(folder, streets):
    runs = load_ablation(write_ablation(folder, streets)).runs()
    assert [run.label for run in runs] == [
        'road, seed 0', 'plain, seed 0', 'road, seed 1', 'plain, seed 1']
    assert runs[2].recipe == {
        'model': {'label': 'road', 'size': 1}, 'seed_everything': 1, 'data': {'seed': 1},
        'trainer': {'default_root_dir': 'runs/road/seed_1'}}


def test_a_recipe_names_files_by_the_seed(folder, streets):
    variants = {'road': {'data': {'sources': [{'split': 'chosen_{seed}.json:25'}]}}, 'plain': {}}
    runs = load_ablation(write_ablation(folder, streets, variants=variants)).runs()
    assert [run.recipe['data']['sources'][0]['split'] for run in runs[::2]] == [
        'chosen_0.json:25', 'chosen_1.json:25']


def test_baselines_stand_above_the_variants(folder, streets):
    source = {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'name': 'streets',
              'median_scaling': True}
    path = write_ablation(
        folder, streets, measured=[source], baselines=['constant depth'], metrics=['abs_rel'],
        summary='all.json')
    ablate(path, fit=FakeTraining())
    constant = evaluate(
        folder / 'runs/road/seed_0/model', DatasetOptions('vkitti2', streets),
        EvaluationOptions(median_scaling=True))['abs_rel']
    rows = [line for line in (folder / 'page.md').read_text().splitlines() if line[:2] == '| ']
    assert rows[1] == f'| constant depth | {constant:.4f} | – | – |'
    assert rows[2].startswith(f'| road | **{constant:.4f} ± 0.0000** |')
    kept = json.loads((folder / 'all.json').read_text())['baselines']
    assert kept['constant depth']['streets abs_rel'] == pytest.approx(constant, rel=1e-6)


def test_a_missing_data_set_is_named_before_anything_is_trained(folder, monkeypatch):
    monkeypatch.delenv('STREETS', raising=False)
    path = write_ablation(folder, folder / 'nowhere')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        ablate(path, fit=pytest.fail)
    path = write_ablation(folder, folder, recipe={'data': {'root': '${STREETS}'}})
    with pytest.raises(ValueError, match='STREETS'):
        ablate(path, fit=pytest.fail)


def test_the_grid_is_trained_measured_and_written_once(folder, streets):
    fit = FakeTraining()
    path = write_ablation(
        folder, streets, summary='results/all.json',
        series={'axis': 'size', 'lines': {'all': {1: 'plain', 2: 'road'}}})
    result = ablate(path, fit=fit)
    assert (result['runs'], result['done'], result['failed'], result['missing']) == (4, 4, {}, [])
    assert [call[0] for call in fit.calls] == [
        f'runs/{name}/seed_{seed}' for seed in (0, 1) for name in ('road', 'plain')]
    found = json.loads((folder / 'runs/road/seed_1/results.json').read_text())
    assert (found['steps'], found['seconds'], found['seed']) == (4, 1800, 1)
    assert found['parameters'] > 1000 and set(found['couplings']) == {
        'depth_to_semantics', 'semantics_to_depth'}
    scores = evaluate(folder / 'runs/road/seed_1/model', DatasetOptions('vkitti2', streets))
    assert found['measured']['streets']['scores']['iou'] == scores['iou']
    assert scores['iou']['Road'] > 0.3
    curves = json.loads((folder / 'runs/road/seed_1/curves.json').read_text())
    assert curves['train/task_semantics'] == [[0, 1, 2, 3], [4, 3, 2, 1]]
    page = (folder / 'page.md').read_text()
    assert f'| road | **{scores["miou"]:.4f} ± 0.0000** |' in page
    assert 'Better? **road** against **plain**: helps streets miou' in page
    assert f' | **{scores["miou"]:.3f} ± 0.000** |' not in page  # alone, it is not the best
    assert f' | {scores["miou"]:.3f} ± 0.000 |' in page
    assert (folder / 'images' / 'ablation_losses.png').is_file()
    assert (folder / 'images' / 'ablation_series.png').is_file()
    kept = json.loads((folder / 'results' / 'all.json').read_text())
    assert [run['name'] for run in kept['runs']] == ['road', 'plain'] * 2
    assert kept['runs'][0]['measured']['streets']['scores']['miou'] == scores['miou']
    # a second time there is nothing to do, and the page stays as it is
    again = ablate(path, fit=pytest.fail)
    assert again['done'] == 4 and (folder / 'page.md').read_text() == page


def test_a_failed_run_does_not_take_the_others_along(folder, streets, caplog):
    fit = FakeTraining()
    fit.failing = ('runs/plain/seed_0',)
    path = write_ablation(folder, streets)
    result = ablate(path, fit=fit)
    assert result['failed'] == {'plain, seed 0': 'no more memory'}
    assert result['missing'] == ['plain, seed 0'] and result['done'] == 3
    assert result['page'] is None and not (folder / 'page.md').exists()
    assert 'failed: plain, seed 0: no more memory' in ablation_summary(result)
    assert 'plain, seed 0 failed: no more memory' in caplog.text
    # what it left is gone on with; the page may be written without it
    ablate(path, page_only=True, fit=pytest.fail)
    assert '**Incomplete**, without: plain, seed 0' in (folder / 'page.md').read_text()
    fit.calls, fit.failing = [], ()
    result = ablate(path, fit=fit)
    assert fit.calls == [('runs/plain/seed_0', ['--ckpt_path', 'last'])]
    assert result['failed'] == {} and 'Incomplete' not in (folder / 'page.md').read_text()


def test_nothing_starts_from_what_is_not_finished(folder, streets):
    """The model of a run is there before its last step; its place in the table would be wrong."""
    fit = FakeTraining()
    fit.failing = ('runs/plain/seed_1',)
    path = write_ablation(folder, streets, variants={
        'plain': {}, 'road': {'model': {
            'label': 'road', 'initial': {'depth': {'model': 'runs/plain/seed_{seed}/model'}}}}})
    result = ablate(path, fit=fit)
    assert result['missing'] == ['plain, seed 1', 'road, seed 1']
    assert 'runs/plain/seed_1 has no results.json yet' in result['failed']['road, seed 1']
    fit.failing = ()
    assert ablate(path, fit=fit)['missing'] == []


def test_a_video_is_measured_from_frame_to_frame(folder, streets):
    source = {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'video': True}
    ablate(write_ablation(folder, streets, measured=[source], metrics=['temporal_miou']),
           fit=FakeTraining())
    scores = json.loads((folder / 'runs/plain/seed_0/results.json').read_text())
    expected = evaluate(
        folder / 'runs/plain/seed_0/model', DatasetOptions('vkitti2', streets),
        EvaluationOptions(video=True))
    found = scores['measured']['vkitti2']['scores']['temporal_miou']
    assert found == expected['temporal_miou']
    assert f'{found:.4f} ± 0.0000' in (folder / 'page.md').read_text()


def test_a_measurement_of_an_older_release_counts(folder, streets):
    """It does not say what could not be chosen then."""
    path = write_ablation(folder, streets)
    ablate(path, fit=FakeTraining())
    for results in folder.glob('runs/*/*/results.json'):
        content = json.loads(results.read_text())
        del content['measured']['streets']['source']['video']
        content['measured']['streets']['scores']['miou'] = 0.125
        results.write_text(json.dumps(content))
    ablate(path, fit=pytest.fail)
    assert '0.1250 ± 0.0000' in (folder / 'page.md').read_text()


def test_runs_of_other_settings_are_refused(folder, streets):
    ablate(write_ablation(folder, streets), fit=FakeTraining())
    path = write_ablation(folder, streets, recipe={'model': {'label': 'sky', 'size': 2}})
    with pytest.raises(ValueError, match='runs/road/seed_0.*model.size.*1.*2'):
        ablate(path, fit=pytest.fail)


def test_what_is_measured_may_change_later(folder, streets):
    ablate(write_ablation(folder, streets), fit=FakeTraining())
    path = write_ablation(folder, streets, measured=[
        {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'name': 'one', 'samples': 1}])
    assert ablate(path, fit=pytest.fail)['done'] == 4
    found = json.loads((folder / 'runs/plain/seed_0/results.json').read_text())['measured']
    assert {name: entry['scores']['frames'] for name, entry in found.items()} == {
        'streets': 2, 'one': 1}
    page = (folder / 'page.md').read_text()
    assert 'one miou' in page and 'streets miou' not in page


def test_processes_and_calls_share_the_runs(folder, streets):
    fit = FakeTraining()
    path = write_ablation(folder, streets)
    assert ablate(path, shard='1/3', fit=fit)['missing'] == ['plain, seed 0', 'road, seed 1']
    assert [call[0] for call in fit.calls] == ['runs/road/seed_0', 'runs/plain/seed_1']
    assert ablate(path, only=['road'], fit=fit)['missing'] == ['plain, seed 0']
    assert [call[0] for call in fit.calls[2:]] == ['runs/road/seed_1']
    assert ablate(path, shard='2/3', fit=fit)['page'] is not None
    with pytest.raises(ValueError, match='only: .*road, plain.*gravel'):
        ablate(path, only=['gravel'], fit=fit)


def test_preparations_come_before_those_that_mention_them(folder, streets):
    """Of three, one is for another one, and one is for nobody."""
    fit = FakeTraining()
    path = write_ablation(folder, streets, preparations={
        'first': {'model': {'label': 'vegetation'}},
        'unused': {'extends': 'base.yaml'},
        'second': {'model': {'label': 'car', 'initial': {'depth': {'model': 'runs/first/model'}}}},
        }, variants={'road': {'model': {'label': 'road', 'teacher': 'runs/second/model'}},
                     'plain': {}})
    ablate(path, only=['plain'], fit=fit)
    assert all('plain' in call[0] for call in fit.calls)
    fit.calls = []
    assert ablate(path, fit=fit)['done'] == 4
    assert [call[0] for call in fit.calls] == [
        'runs/first', 'runs/second', 'runs/road/seed_0', 'runs/road/seed_1']
    recipe = yaml.safe_load((folder / 'runs/first/recipe.yaml').read_text())
    assert recipe == {
        'model': {'label': 'vegetation'}, 'trainer': {'default_root_dir': 'runs/first'}}


def test_a_page_without_the_part_is_refused_before_anything_is_trained(folder, streets):
    (folder / 'page.md').write_text('# By hand\n')
    with pytest.raises(ValueError, match='page.md:'):
        ablate(write_ablation(folder, streets), fit=pytest.fail)


def test_a_page_of_nothing_is_not_written(folder, streets):
    with pytest.raises(ValueError, match='no run is done in runs'):
        ablate(write_ablation(folder, streets), page_only=True, fit=pytest.fail)


def test_a_whole_ablation(folder, streets):
    """Two real variants, three steps long, as the user of the command sees them."""
    trainer = {'callbacks': [
        {'class_path': 'sync_perception.training.loop.export.ExportAverage',
         'init_args': {'decay': 0.5, 'start': 0}}]}
    write_recipe(folder / 'tiny.yaml', streets, data={'samples': 6})
    path = write_ablation(
        folder, streets, recipe={'extends': 'tiny.yaml', 'trainer': trainer}, variants={
            'apart': {'model': {'arguments': {
                'depth_to_semantics': False, 'semantics_to_depth': False}}},
            'coupled': {}}, comparisons=[{'variant': 'coupled', 'against': 'apart'}], part='grid',
        seeds=[0])
    (folder / 'page.md').write_text('\n'.join(['By hand', *markers('grid'), *markers('other')]))
    result = ablate(path, fit=lambda folder, arguments: train(arguments))
    assert result['failed'] == {} and result['done'] == 2
    read = [json.loads((folder / f'runs/{name}/seed_0/results.json').read_text())
            for name in ('apart', 'coupled')]
    assert {run['steps'] for run in read} == {3}
    norms = [[max(levels) for levels in run['couplings'].values()] for run in read]
    assert norms[0] == [0, 0] and min(norms[1]) > 0
    depths = [run['measured']['streets']['scores']['abs_rel'] for run in read]
    assert len(set(depths)) == 2
    page = (folder / 'page.md').read_text()
    assert page.startswith('By hand\n') and page.endswith('\n'.join(markers('other')))
    assert '2 runs: 2 variants with the seeds 0. Each was trained for 3 steps' in page
    assert (folder / 'images' / 'grid_couplings.png').is_file()
    shown = CliRunner().invoke(
        cli.app, ['ablate', '--config', str(path), '--page-only'])
    assert shown.exit_code == 0 and '2 of 2 runs are done' in shown.output
