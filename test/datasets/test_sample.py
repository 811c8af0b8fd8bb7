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

import os
from pathlib import Path
import shutil

import cv2
import numpy as np
import pytest
from sync_perception.datasets import DATASETS, open_dataset
from sync_perception.labels import LabelSpace
from sync_perception.studies.data_check import facts_of

FOLDERS = {
    'camvid': 'camvid', 'idd_lite': 'idd_lite', 'kitti': 'kitti',
    'kitti_depth': 'depth_selection', 'kitti_semantics': 'kitti_semantics',
    'cityscapes': 'cityscapes', 'nyuv2': 'nyuv2', 'nyuv2_images': 'nyuv2_labelled',
    'sevenscenes': 'sevenscenes'}
# pseudo labels name their base data set in a manifest, and ask for that first
OWN = [name for name in DATASETS if name != 'pseudo_labelled']
WITH_FILES = [name for name in OWN if name != 'synthetic']


@pytest.mark.parametrize('name', OWN)
def test_unknown_split_lists_those_that_exist(tmp_path, name):
    with pytest.raises(ValueError, match=r"\(.*'all',?\).*'holiday'"):
        open_dataset(name, tmp_path, 'holiday')


def test_unknown_names_and_arguments_list_those_that_exist(tmp_path):
    with pytest.raises(ValueError, match="'camvit'"):
        open_dataset('camvit', tmp_path)
    with pytest.raises(ValueError, match="'vkitti2'.*'cam'"):
        open_dataset('vkitti2', tmp_path, arguments={'cam': 0})
    with pytest.raises(ValueError, match="'camvid'.*'size'"):
        open_dataset('camvid', tmp_path, arguments={'size': 0})
    with pytest.raises(ValueError, match="'camvid': .*root"):
        open_dataset('camvid')


@pytest.mark.parametrize('name', WITH_FILES)
def test_missing_folder_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere'):
        DATASETS[name](tmp_path / 'nowhere')


@pytest.mark.parametrize('name', WITH_FILES)
def test_empty_folder_says_what_was_expected(tmp_path, name):
    with pytest.raises(FileNotFoundError, match='split'):
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


@pytest.mark.parametrize('name', FOLDERS)
def test_neighbours_and_poses_keep_the_contract(data_root, name):
    dataset = open_dataset(name, data_root / FOLDERS[name])
    for sample_id in dataset.ids[:3]:
        neighbours = dataset.neighbours(sample_id, (-1, 0, 1))
        here = dataset.read(sample_id).image
        for offset, image in zip((-1, 0, 1), neighbours):
            assert (image is not None) == dataset.has_neighbours(sample_id, [offset])
            assert image is None or (image.dtype, image.shape) == (np.uint8, here.shape)
        assert neighbours[1] is None or (neighbours[1] == here).all()
        pose = dataset.pose(sample_id)
        assert pose is None or (pose.dtype, pose.shape) == (np.float64, (4, 4))


@pytest.fixture
def images_read(monkeypatch):
    """List the image files that are read from now on."""
    paths = []
    read = np.fromfile

    def listening(path, *arguments, **options):
        paths.append(Path(path))
        return read(path, *arguments, **options)
    monkeypatch.setattr(np, 'fromfile', listening)
    return paths


@pytest.mark.parametrize('name', FOLDERS)
def test_every_broken_image_of_a_real_sample_is_named(data_root, tmp_path, images_read, name):
    """Each file cut off, then missing, then of 8 bits where it has 16."""
    copy = tmp_path / name
    shutil.copytree(data_root / FOLDERS[name], copy, copy_function=os.symlink)
    for scans in copy.rglob('velodyne_points'):  # would take the place of a depth map
        shutil.rmtree(scans)
    dataset = open_dataset(name, copy)
    whole, present = dataset[0], facts_of(dataset, dataset.ids[0]).present.total()
    files = [copy / path for path in dict.fromkeys(images_read)]
    assert len(files) == sum(getattr(whole, field) is not None for field in (
        'image', 'depth', 'labels', 'expert_labels', 'expert_confidence', 'normals'))
    for path in files:
        content, stored = path.read_bytes(), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        path.unlink()
        path.write_bytes(content[:len(content) * 2 // 3])
        with pytest.raises(ValueError, match=f'{path.name} .*truncated'):
            dataset[0]
        if stored.dtype == np.uint16:
            cv2.imwrite(str(path), (stored >> 8).astype(np.uint8))
            with pytest.raises(ValueError, match=f'{path.name}.*8.*16'):
                dataset[0]
        path.unlink()
        facts = facts_of(dataset, whole.id)
        if facts.bad:
            assert str(path) in facts.bad[whole.id]
        else:  # an annotation that need not be there
            assert path != files[0]
            assert facts.present.total() == present - 1
        path.write_bytes(content)
