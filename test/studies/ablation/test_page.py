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

"""Tables and sentences of an ablation, against numbers computed by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sync_perception.studies.ablation import page
from sync_perception.studies.ablation.curves_page import most_coupled, rise_table, whole_norms
from sync_perception.studies.ablation.plan import Comparison

RECORD = {
    'batch_size': 2, 'crop': [64, 96], 'finished': '2026-01-02', 'machine': 'a machine',
    'torch': '2', 'data': [{'dataset': 'a', 'split': 'train'}]}


def run(name, seed, **scores):
    """Return the results of a run, measured on `a`."""
    entry = {'dataset': 'a', 'split': 'val', 'frames': 7, 'protocol': {}, **scores}
    return {'name': name, 'seed': seed, 'steps': 10, 'seconds': 100.0 + seed,
            'parameters': 1_234_567, 'record': RECORD, 'measured': {'a': {'scores': entry}}}


RESULTS = [
    *(run('plain', seed, miou=miou, abs_rel=0.25, rmse=1.0)
      for seed, miou in enumerate((0.1, 0.5, 0.9))),
    *(run('both', seed, miou=miou, abs_rel=abs_rel, rmse=rmse)
      for seed, (miou, abs_rel, rmse) in enumerate(
          ((0.2, 0.35, 1.5), (0.7, 0.35, 0.5), (1.2, 0.45, 1.0)))),
    *(run('depth', seed, abs_rel=0.25) for seed in (0, 1))]
ABLATION = SimpleNamespace(
    variants={'plain': {}, 'both': {}, 'depth': {}}, seeds=[0, 1, 2],
    metrics=['miou', 'abs_rel', 'rmse', 'delta1'], measured=[SimpleNamespace(name='a')],
    comparisons=[Comparison('both', 'plain', 'Does it help?'), Comparison('depth', 'both')])


def test_means_and_spreads_of_the_variants():
    """0.2, 0.7, 1.2: mean 0.7, deviation 0.5. The best of a column is bold, ties as well."""
    table = page.first_table(ABLATION, RESULTS, {})[2:]
    assert table == [
        '| variant | a miou ↑ | a abs_rel ↓ | a rmse ↓ | parameters (M) | seconds |',
        '|---|---:|---:|---:|---:|---:|',
        '| plain | 0.5000 ± 0.4000 | **0.2500 ± 0.0000** | **1.0000 ± 0.0000** | 1.23 | 101 |',
        '| both | **0.7000 ± 0.5000** | 0.3833 ± 0.0577 | **1.0000 ± 0.5000** | 1.23 | 101 |',
        '| depth | – | **0.2500 ± 0.0000** (2 of 3 seeds) | – | 1.23 | 100 |']


def test_differences_are_those_of_the_seeds():
    """0.1, 0.2, 0.3 although the seeds themselves spread by 0.4 and 0.5."""
    table = page.second_table(ABLATION, RESULTS)[2:]
    assert table[2:] == [
        '| both − plain | +0.2000 ± 0.1000, 3/3 | +0.1333 ± 0.0577, 0/3 | +0.0000 ± 0.5000, 1/3 |',
        '| depth − both | – | -0.1000 ± 0.0000, 2/2 | – |']


def test_sentences_say_what_helps_and_what_does_not():
    lines = page.statements(ABLATION, RESULTS)
    assert lines[-2:] == [
        '- Does it help? **both** against **plain**: helps a miou (+0.2000); hurts a abs_rel '
        '(+0.1333); has no consistent effect over 3 seeds on a rmse.',
        '- **depth** against **both**: helps a abs_rel (-0.1000).']
    # twice Student's t above the root of 3 of 2 degrees of freedom is 0.2254, of 2 of 1 0.3918
    assert '3 of the 4 differences above' in lines[1].replace('\n', ' ')
    assert f'up to {3 * 0.2254 + 0.3918:.1f} would' in lines[1].replace('\n', ' ')


def test_a_single_seed_shows_nothing():
    results = [entry for entry in RESULTS if entry['seed'] == 0]
    lines = page.statements(ABLATION, results)
    assert lines[-1] == ('- **depth** against **both**: has no consistent effect over 1 seed on '
                         'a abs_rel.')
    assert '0 of the 4 differences' in lines[1].replace('\n', ' ')


def test_without_runs_in_common_the_sentence_says_so():
    results = [entry for entry in RESULTS if entry['name'] != 'depth']
    assert page.statements(ABLATION, results)[-1].endswith(
        'have no metric in common for any seed.')
    assert page.second_table(ABLATION, results)[-1] == '| depth − both | – | – | – |'


def test_the_setting_names_all_that_differs():
    other = run('both', 3, miou=0.5)
    other['steps'] = 12
    other['record'] = {**RECORD, 'data': [{'dataset': 'a', 'split': 'runs/random_3.json:25'}]}
    other['measured']['elsewhere'] = other['measured']['a']  # for another page
    text = ' '.join(page.setting(ABLATION, [*RESULTS, other], ['both, seed 4'], 'a.yaml'))
    text = text.replace('\n', ' ')
    assert '`sync_perception ablate --config a.yaml`' in text
    assert 'trained for 10; 12 steps with 2 crops of 64x96 (height x width) from a (train)' in text
    assert 'from a (train); a (a selection), on a machine, torch 2,' in text
    assert 'on a machine, torch 2, finished 2026-01-02' in text
    assert 'evaluated on a (a, val, 7 frames). ' in text
    assert '**Incomplete**, without: both, seed 4.' in text


@pytest.mark.parametrize('value', [None, float('nan')])
def test_what_was_not_measured_does_not_count(value):
    results = [*RESULTS[:2], run('plain', 2, miou=value)]
    assert page.by_seed(results, 'plain', ('a', 'miou')) == {0: 0.1, 1: 0.5}


def coupled(first, second):
    return {
        'coupling/depth_to_semantics/0': ([0, 1, 2], [0.0, 3.0, first]),
        'coupling/depth_to_semantics/1': ([0, 1, 2], [0.0, 4.0, second]),
        'train/task_depth': ([0, 1, 2], [4.0, 3.5, 1.0])}


def test_all_levels_of_a_direction_are_one_norm():
    """3 and 4 make 5, 6 and 8 make 10."""
    assert whole_norms(coupled(6.0, 8.0)) == {
        'coupling from depth to semantics': ([0, 1, 2], [0, 5, 10])}


def test_when_couplings_wake_up_is_told():
    """Half of 10 is reached at step 1, nine tenths at step 2; the loss falls at step 2."""
    lines = rise_table('both', [coupled(6.0, 8.0)],
                       {'train/task_depth': 'depth', 'none': 'labels'})
    assert lines[-2:] == [
        '| coupling from depth to semantics | 1 | 2 |', '| loss of depth | 2 | 2 |']


def test_the_variant_with_most_couplings_is_shown():
    off = {'coupling/depth_to_semantics/0': ([0, 1], [0.0, 0.0])}
    curves = {'off': [off], 'one': [{'coupling/a/0': ([0, 1], [0.0, 1.0])}],
              'both': [coupled(1.0, 1.0)], 'same': [coupled(1.0, 1.0)]}
    assert most_coupled(['none', *curves], curves) == 'both'
    assert most_coupled(['none', 'off'], curves) is None
