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

"""Folders of images and label images: codings, splits, real folders, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets import open_dataset
from sync_perception.datasets.own_data.labelled_images import LabelledImages


@pytest.fixture
def folder(tmp_path, write_image, random_image):
    """Write three images, two of them with labels 0, 7, 23 and 255."""
    for name in ('a', 'b', 'c'):
        write_image(tmp_path / 'images' / f'{name}.png', random_image())
    labels = np.full((8, 12), 7, np.uint8)
    labels[0], labels[1], labels[2] = 0, 23, 255
    for name in ('b', 'a'):
        write_image(tmp_path / 'labels' / f'{name}.png', labels)
    return tmp_path


def test_ids_are_taken_as_they_are(folder):
    dataset = LabelledImages(folder, label_space='driving', exclude=['b'])
    assert dataset.ids == ['a']
    with pytest.raises(ValueError, match='23'):  # driving has 20 classes
        dataset[0]


def test_cityscapes_label_ids_become_train_ids(folder):
    """7 is road, 23 is sky, 0 is void."""
    dataset = LabelledImages(folder, coding='cityscapes_label_ids')
    assert dataset.ids == ['a', 'b']
    assert [dataset[0].labels[row, 0] for row in range(4)] == [255, 10, 255, 0]
    assert dataset[0].K is None and dataset[0].depth is None


@pytest.mark.parametrize('arguments, named', [
    ({'coding': 'colors'}, 'colors'), ({'exclude': ['z']}, 'z'),
    ({'coding': 'cityscapes_label_ids', 'label_space': 'driving'}, 'driving'),
    ({'split': 'val'}, 'val')])
def test_what_does_not_fit_is_refused(folder, arguments, named):
    with pytest.raises(ValueError, match=named):
        LabelledImages(folder, **arguments)


def test_real_folders(data_root):
    facades = open_dataset('labelled_images', data_root / 'labelmefacade', arguments={
        'labels': 'trainIds'})
    assert len(facades) == 755
    assert set(np.unique(facades[0].labels)) <= {*range(19), 255}
    trails = open_dataset('labelled_images', data_root / 'offroad', arguments={
        'labels': 'labelIds', 'coding': 'cityscapes_label_ids'})
    assert len(trails) == 27
    found = np.bincount(np.concatenate([trails[i].labels.ravel() for i in range(0, 27, 3)]),
                        minlength=256)
    assert found[8] > 0 and found[9] > 0  # vegetation, terrain
