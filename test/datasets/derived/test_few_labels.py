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


"""Samples that show their labels, and samples that do not."""

from __future__ import annotations

import pickle

from known_teacher import write_drives
import numpy as np
import pytest
from sync_perception.datasets import open_dataset
from sync_perception.datasets.derived.few_labels import Labelled, PartlyLabelled
from sync_perception.datasets.derived.selection_files import Selection
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.training.feeding.mixture import Mixture, MixtureData, MixtureSource


class Whole(DenseDataset):
    """Two samples that have everything."""

    splits, label_space, layout, max_depth = ('train',), 'driving', '', 40.0

    def list_ids(self):
        """Return two."""
        return ['a', 'b']

    def read(self, sample_id):
        """Make a sample."""
        size = (2, 3)
        labels, shares = np.ones(size, np.uint8), np.ones((*size, 2), np.uint8)
        return Sample(
            sample_id, np.zeros((*size, 3), np.uint8), np.eye(3), np.ones(size), labels, labels,
            np.ones(size), shares, shares, np.ones((*size, 3)))

    def pose(self, sample_id, offset=0):
        """Return a pose."""
        return np.eye(4) * 2


@pytest.fixture
def selection(tmp_path):
    """Write a selection of two of three frames of a drive; return the drive and the file."""
    root, path = write_drives(tmp_path / 'drives'), tmp_path / 'selection.json'
    Selection('camvid', 'train', 'random', 0, (1, 2), ('train/2', 'train/0'), (None, None),
              root=str(root)).write(path)
    return str(root), str(path)


def test_only_labels_are_hidden_and_all_else_is_the_data_sets(tmp_path):
    whole = Whole(tmp_path)
    data = pickle.loads(pickle.dumps(PartlyLabelled(whole, ['b'])))  # as a worker gets it
    assert len(data) == 2 and data.ids == ['a', 'b'] and data.max_depth == 40
    assert data.label_space == 'driving' and data.pose('a')[0, 0] == 2
    labels = {'labels', 'expert_labels', 'expert_confidence', 'expert_classes',
              'expert_probabilities'}
    for hidden in (data[0], data.read('a')):
        gone = {name for name, value in vars(hidden).items() if value is None}
        assert gone == labels and (hidden.depth == 1).all()
    for shown in (data[1], data.read('b')):
        assert all(value is not None for value in vars(shown).values())
    assert not hasattr(data, 'no_such_thing')
    with pytest.raises(ValueError, match="'c'"):
        PartlyLabelled(whole, ['b', 'c'])


@pytest.mark.parametrize(('settings', 'expected'), [
    ({}, {'train/0', 'train/1', 'train/2'}),
    ({'labels': False}, set()),
    ({'labelled': {}}, {'train/0', 'train/2'}),
    ({'labelled': {'budget': 1}}, {'train/2'}),
])
def test_a_mixture_knows_the_labels_that_were_chosen(selection, settings, expected):
    root, path = selection
    if 'labelled' in settings:
        settings = {'labelled': Labelled(path, **settings['labelled'])}
    source = MixtureSource('camvid', root, scale=(1.0, 1.0), **settings)
    mixture = Mixture([source], 9, (64, 96), 2)
    crops = [mixture[index] for index in range(9)]
    assert {crop['space'] for crop in crops} == {'camvid11'}
    shown = {crop['id'] for crop in crops if (crop['labels'] != 255).any()}
    assert shown == {f'camvid:{name}' for name in expected}
    assert {crop['id'] for crop in crops} == {f'camvid:train/{n}' for n in range(3)}


def test_any_ratio_of_labelled_to_unlabelled(selection):
    """Two sources of the same data set, with shares of three to one."""
    root, path = selection
    mixture = Mixture([
        MixtureSource('camvid', root, 3.0, (1.0, 1.0), split=f'{path}:1'),
        MixtureSource('camvid', root, 1.0, (1.0, 1.0), labels=False)], 80, (64, 96), 2, seed=1)
    known = [bool((mixture[index]['labels'] != 255).any()) for index in range(80)]
    assert 0.65 < np.mean(known) < 0.85


def test_wrong_choices(selection):
    root, path = selection
    with pytest.raises(ValueError, match='labels: true'):
        MixtureSource('camvid', root, scale=(1, 1), labels=False, labelled=Labelled(path))
    with pytest.raises(ValueError, match='2 .*budget.*3'):
        MixtureSource('camvid', root, scale=(1, 1), labelled=Labelled(path, 3)).load()
    Selection('camvid', 'val', 'random', 0, (1,), ('val/7',), (None,)).write(path)
    with pytest.raises(ValueError, match="CamVid.*'val/7'"):
        MixtureData([MixtureSource('camvid', root, scale=(1, 1), labelled=Labelled(path))],
                    4).train_dataloader()


def test_a_real_drive(data_root):
    data = PartlyLabelled(open_dataset('camvid', data_root / 'camvid', 'train'), [])
    assert len(data) == 367 and data[5].labels is None and data[5].image.shape == (360, 480, 3)
