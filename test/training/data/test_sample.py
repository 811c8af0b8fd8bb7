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


"""The contract of all data sets: splits, refusals, and samples that fit together."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.training.data import DATASETS, open_dataset

FOLDERS = {
    'camvid': 'camvid', 'idd_lite': 'idd_lite', 'kitti': 'kitti',
    'kitti_depth': 'depth_selection', 'kitti_semantics': 'kitti_semantics',
    'cityscapes': 'cityscapes', 'nyuv2': 'nyuv2', 'sevenscenes': 'sevenscenes'}
WITH_FILES = [name for name in DATASETS if name != 'synthetic']


@pytest.mark.parametrize('name', DATASETS)
def test_unknown_split_lists_those_that_exist(tmp_path, name):
    with pytest.raises(ValueError, match=r"splits \('train', .*'all'\), got 'holiday'"):
        open_dataset(name, tmp_path, 'holiday')


def test_unknown_names_and_arguments_list_those_that_exist(tmp_path):
    with pytest.raises(ValueError, match="no data set 'camvit', there are: camvid, .*synthetic"):
        open_dataset('camvit', tmp_path)
    with pytest.raises(ValueError, match="'vkitti2' has no argument 'cam', it has: variants, cam"):
        open_dataset('vkitti2', tmp_path, arguments={'cam': 0})
    with pytest.raises(ValueError, match="'camvid' has no argument 'size', it has none"):
        open_dataset('camvid', tmp_path, arguments={'size': 0})
    with pytest.raises(ValueError, match="'camvid' needs the folder"):
        open_dataset('camvid')


@pytest.mark.parametrize('name', WITH_FILES)
def test_missing_folder_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere'):
        DATASETS[name](tmp_path / 'nowhere')


@pytest.mark.parametrize('name', WITH_FILES)
def test_empty_folder_says_what_was_expected(tmp_path, name):
    with pytest.raises(FileNotFoundError, match='no recording of split .*expected'):
        DATASETS[name](tmp_path)


@pytest.mark.parametrize('name', FOLDERS)
def test_real_samples_keep_the_contract(data_root, name):
    dataset = DATASETS[name](data_root / FOLDERS[name])
    assert len(set(dataset.ids)) == len(dataset)
    for index in (0, len(dataset) // 2, len(dataset) - 1):
        sample = dataset[index]
        size = sample.image.shape[:2]
        assert sample.id == dataset.ids[index]
        assert sample.image.dtype == np.uint8
        assert sample.image.shape == (*size, 3)
        maps = {
            'depth': np.float32, 'labels': np.uint8, 'expert_labels': np.uint8,
            'expert_confidence': np.float32}
        for field, dtype in maps.items():
            array = getattr(sample, field)
            assert array is None or (array.dtype, array.shape) == (dtype, size), field
        assert any(getattr(sample, field) is not None for field in maps)
        assert (sample.labels is None) == (dataset.label_space is None)
        for field, space in (('labels', dataset.label_space), ('expert_labels', 'cityscapes19')):
            array = getattr(sample, field)
            if array is not None:
                ids = set(np.unique(array)) - {255}
                assert ids <= set(range(len(LabelSpace.load(space)))), field
        if sample.depth is not None:
            assert sample.K.shape == (3, 3)
            assert not (sample.depth <= 0).any()
        if sample.expert_confidence is not None:
            assert 0 <= sample.expert_confidence.min() <= sample.expert_confidence.max() <= 1
