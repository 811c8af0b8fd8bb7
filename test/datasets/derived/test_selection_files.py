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

"""Selection files: written, read, refused, and used as splits."""

from __future__ import annotations

import json

import pytest
from sync_perception.datasets import open_dataset
from sync_perception.datasets.derived.selection_files import read_selection, Selection, split_words


@pytest.fixture
def streets():
    """Return a data set of eight rendered frames."""
    return open_dataset('synthetic', None, 'val', {'length': 8, 'size': [32, 64]})


def selection_of(ids, **changes):
    """Return a selection of the synthetic set's images."""
    return Selection(**{
        'dataset': 'synthetic', 'split': 'val', 'strategy': 'random', 'seed': 3,
        'budgets': (1, len(ids)), 'ids': tuple(ids), 'scores': (None,) * len(ids), **changes})


def test_a_file_is_read_as_it_was_written(tmp_path, monkeypatch):
    selection = selection_of(
        ['b', 'a', 'c'], strategy='both', scores=(None, 2.5, 1.25), model='m', root='$R/r',
        arguments={'length': 8}, record={'pool': [4, 8]})
    selection.write(tmp_path / 'new' / 'selection.json')
    assert [file.name for file in (tmp_path / 'new').iterdir()] == ['selection.json']
    monkeypatch.setenv('FOLDER', str(tmp_path / 'new'))
    assert Selection.read('$FOLDER/selection.json') == selection
    assert read_selection('$FOLDER/selection.json') == ['b', 'a', 'c']
    assert read_selection(tmp_path / 'new' / 'selection.json', 2) == ['b', 'a']


@pytest.mark.parametrize('budget', [0, 4])
def test_a_budget_beyond_the_file_is_refused(tmp_path, budget):
    selection_of('abc').write(tmp_path / 'selection.json')
    with pytest.raises(ValueError, match=f'selection.json:.*3.*1.*{budget}'):
        read_selection(tmp_path / 'selection.json', budget)


@pytest.mark.parametrize('content', [
    'no JSON', '[]', '{}', '{"ids": ["a"], "scores": [1], "budgets": [1]}',
    json.dumps({**vars(selection_of('ab')), 'ids': ['a', 'a']}),
    json.dumps({**vars(selection_of('ab')), 'scores': [1.0]}),
    json.dumps({**vars(selection_of('ab')), 'ids': [1, 2]}),
    json.dumps({**vars(selection_of('ab')), 'colour': 1})])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'selection.json').write_text(content)
    with pytest.raises(ValueError, match='selection.json:.*`sync_perception'):
        Selection.read(tmp_path / 'selection.json')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.json'):
        read_selection(tmp_path / 'none.json')


def test_splits_and_selection_files_are_told_apart():
    assert split_words('train') is None
    assert split_words('a/b.json') == ('a/b.json', None)
    assert split_words('/a:b/c.json:25') == ('/a:b/c.json', 25)
    assert split_words('c.json:') is None


def test_a_selection_is_a_split(tmp_path, streets):
    chosen = [streets.ids[index] for index in (6, 1, 4)]
    selection_of(chosen).write(tmp_path / 'selection.json')
    arguments = {'length': 8, 'size': [32, 64]}
    data = open_dataset('synthetic', None, f'{tmp_path}/selection.json', arguments)
    assert data.ids == sorted(chosen, key=streets.ids.index) and len(data) == 3
    first = open_dataset('synthetic', None, f'{tmp_path}/selection.json:2', arguments)
    assert first.ids == [streets.ids[1], streets.ids[6]]
    assert (first[1].image == streets[6].image).all()
    with pytest.raises(IndexError):
        first[2]


def test_a_selection_can_be_chosen_from(tmp_path, streets):
    """Its split is then the file that it was chosen from."""
    selection_of(streets.ids[2:6]).write(tmp_path / 'pool.json')
    selection_of(streets.ids[4:6], split=f'{tmp_path}/pool.json:4').write(tmp_path / 'few.json')
    arguments = {'length': 8, 'size': [32, 64]}
    data = open_dataset('synthetic', None, f'{tmp_path}/few.json:1', arguments)
    assert data.ids == [streets.ids[4]]


def test_a_selection_of_files_is_a_split(tmp_path, data_root):
    whole = open_dataset('camvid', data_root / 'camvid', 'val')
    chosen = [whole.ids[index] for index in (9, 2)]
    selection_of(chosen, dataset='camvid').write(tmp_path / 'selection.json')
    data = open_dataset('camvid', data_root / 'camvid', f'{tmp_path}/selection.json')
    assert data.ids == [whole.ids[2], whole.ids[9]]
    assert (data[1].labels == whole[9].labels).all()


def test_a_selection_of_something_else_is_refused(tmp_path, streets):
    selection_of(['nothing']).write(tmp_path / 'selection.json')
    with pytest.raises(ValueError, match="'nothing'.*1.*1"):
        open_dataset('synthetic', None, f'{tmp_path}/selection.json')
    with pytest.raises(ValueError, match="'synthetic'.*'camvid'"):
        open_dataset('camvid', tmp_path, f'{tmp_path}/selection.json')
