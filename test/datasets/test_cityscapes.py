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


"""Cityscapes: ids, disparity to depth, camera files, what is not unpacked, broken files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sync_perception.datasets.cityscapes import Cityscapes, CityscapesSequence, TRAIN_IDS

STEM = 'aachen_000001_000019'
CAMERA = {
    'extrinsic': {'baseline': 0.2, 'pitch': 0.0},
    'intrinsic': {'fx': 2000, 'fy': 2100, 'u0': 6, 'v0': 4}}


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write a training and a test image with everything but the test labels."""
    for split in ('train', 'test'):
        def path(kind, ending, split=split):
            return tmp_path / kind / split / 'aachen' / f'{STEM}_{ending}'
        write_image(path('leftImg8bit', 'leftImg8bit.png'), random_image())
        stored = np.zeros((8, 12), np.uint16)
        stored[0, :3] = 0, 1, 2561  # none, zero, (2561 - 1) / 256 = 10 pixels
        write_image(path('disparity', 'disparity.png'), stored)
        path('camera', 'camera.json').parent.mkdir(parents=True)
        path('camera', 'camera.json').write_text(json.dumps(CAMERA))
    write_image(tmp_path / 'gtFine' / 'train' / 'aachen' / f'{STEM}_gtFine_labelIds.png',
                np.full((8, 12), 26, np.uint8))
    return tmp_path


def test_written_image_comes_back(root):
    sample = Cityscapes(root, 'train')[0]
    assert sample.id == f'train/aachen/{STEM}'
    assert (sample.labels == 13).all()
    np.testing.assert_array_equal(sample.K, [[2000, 0, 6], [0, 2100, 4], [0, 0, 1]])
    assert sample.depth.dtype == np.float32
    np.testing.assert_allclose(sample.depth[0, :3], [np.nan, np.nan, 0.2 * 2000 / 10])


def test_what_is_not_unpacked_is_none(root):
    assert Cityscapes(root, 'test')[0].labels is None
    camera = root / 'camera' / 'test' / 'aachen' / f'{STEM}_camera.json'
    camera.unlink()
    with pytest.raises(FileNotFoundError, match='camera.json'):
        Cityscapes(root, 'test')[0]
    camera.parent.rmdir()
    camera.parent.parent.rmdir()
    sample = Cityscapes(root, 'test')[0]
    assert sample.K is None
    assert sample.depth is None


def test_table_has_the_nineteen_classes_in_order():
    published = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10,
                 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    for label_id in range(34):
        assert TRAIN_IDS[label_id] == published.get(label_id, 255)
    assert (TRAIN_IDS[34:255] == -1).all()
    assert TRAIN_IDS[255] == 255


@pytest.mark.parametrize('text', [
    'no json', '[]', '{"intrinsic": {"fx": 1}}',
    json.dumps({**CAMERA, 'extrinsic': {'baseline': None}})])
def test_malformed_camera_is_refused(root, text):
    (root / 'camera' / 'train' / 'aachen' / f'{STEM}_camera.json').write_text(text)
    with pytest.raises(ValueError, match='camera.json.*JSON'):
        Cityscapes(root, 'train')[0]


@pytest.fixture
def sequence(root, write_image, random_image):
    """Write the frames 17 to 20 of the labelled image's sequence, and one of another."""
    folder = root / 'leftImg8bit_sequence' / 'train' / 'aachen'
    for frame in (17, 18, 19, 20):
        write_image(folder / f'aachen_000001_{frame:06}_leftImg8bit.png', random_image())
    write_image(folder / 'aachen_000000_000020_leftImg8bit.png', random_image())
    return root


def test_neighbours_are_those_of_the_sequence(sequence, root):
    data, frames = Cityscapes(root, 'train'), CityscapesSequence(root, 'train')
    name = f'train/aachen/{STEM}'
    assert data.ids == [name]
    before, after, none = data.neighbours(name, (-2, 1, 2))
    np.testing.assert_array_equal(before, frames.read('train/aachen/aachen_000001_000017').image)
    np.testing.assert_array_equal(after, frames.read('train/aachen/aachen_000001_000020').image)
    assert none is None
    assert data.has_neighbours(name) and not data.has_neighbours(name, [2])
    assert Cityscapes(root, 'test').neighbours(f'test/aachen/{STEM}') == [None, None]


def test_a_sequence_has_labels_at_one_frame_and_one_camera(sequence, root):
    data = CityscapesSequence(root, 'train')
    assert len(data) == 5
    labelled = {name: data.read(name).labels is not None for name in data.ids}
    assert [name for name, has in labelled.items() if has] == [f'train/aachen/{STEM}']
    sample = data.read('train/aachen/aachen_000001_000017')
    assert sample.K[0, 0] == 2000
    assert sample.depth is None
    assert data.read('train/aachen/aachen_000000_000020').K is None


def test_depth_of_a_sequence(sequence, root, write_image):
    folder = root / 'disparity_sequence' / 'train' / 'aachen'
    write_image(folder / 'aachen_000001_000018_disparity.png', np.full((8, 12), 2561, np.uint16))
    data = CityscapesSequence(root, 'train')
    assert (data.read('train/aachen/aachen_000001_000018').depth == 40).all()
    with pytest.raises(FileNotFoundError, match='aachen_000001_000017_disparity.png'):
        data.read('train/aachen/aachen_000001_000017')


def test_eight_bit_disparity_and_broken_files_are_named(root, write_image):
    path = root / 'disparity' / 'train' / 'aachen' / f'{STEM}_disparity.png'
    write_image(path, np.zeros((8, 12), np.uint8))
    with pytest.raises(ValueError, match='_disparity.png.*8.*16'):
        Cityscapes(root, 'train')[0]
    path = root / 'leftImg8bit' / 'train' / 'aachen' / f'{STEM}_leftImg8bit.png'
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match='_leftImg8bit.png .*truncated'):
        Cityscapes(root, 'train')[0]


def test_real_images(data_root):
    dataset = Cityscapes(data_root / 'cityscapes', 'train')
    assert len(dataset) == 4
    sample = dataset[0]
    assert sample.image.shape == (1024, 2048, 3)
    assert (sample.labels == 0).mean() > 0.2  # road
    assert sample.K is None
