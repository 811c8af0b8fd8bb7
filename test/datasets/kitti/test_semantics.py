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


"""KITTI semantics: train ids, splits, calibration of the stereo benchmark, broken files."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.kitti.semantics import KittiSemantics
from sync_perception.labels import LabelSpace


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write five images: void, ego vehicle, road, sidewalk, train, bicycle."""
    ids = np.uint8([0, 1, 7, 8, 31, 33] * 2)
    for index in (0, 17, 18, 42, 43):
        name = f'{index:06}_10.png'
        write_image(tmp_path / 'training' / 'image_2' / name, random_image())
        write_image(tmp_path / 'training' / 'semantic' / name, np.tile(ids, (8, 1)))
    return tmp_path


def test_label_ids_become_train_ids(root):
    sample = KittiSemantics(root)[0]
    np.testing.assert_array_equal(sample.labels[0, :6], [255, 255, 0, 1, 16, 18])
    assert sample.K is None


def test_splits(root):
    assert KittiSemantics(root, 'train').ids == ['000000_10', '000017_10', '000042_10']
    assert KittiSemantics(root, 'val').ids == ['000018_10', '000043_10']
    assert len(KittiSemantics(root)) == 5


def test_a_list_of_ones_own_is_the_split(root):
    (root / 'val.txt').write_text('000042_10\n000000_10\n')
    assert KittiSemantics(root, 'val').ids == ['000042_10', '000000_10']
    (root / 'val.txt').write_text('000001_10\n')
    with pytest.raises(FileNotFoundError, match=r'val\.txt.*000001_10'):
        KittiSemantics(root, 'val')


def test_neighbours_are_the_multi_view_images(root, write_image, random_image):
    image = write_image(root / 'training' / 'image_2' / '000042_11.png', random_image())
    data = KittiSemantics(root)
    assert len(data) == 5
    before, after = data.neighbours('000042_10')
    assert before is None
    np.testing.assert_array_equal(after, image)


def test_intrinsics_of_the_stereo_benchmark(root):
    folder = root / 'training' / 'calib_cam_to_cam'
    folder.mkdir()
    (folder / '000000.txt').write_text('P_rect_02: 10 0 5 1 0 11 4 0 0 0 1 0\n')
    np.testing.assert_array_equal(
        KittiSemantics(root)[0].K, [[10, 0, 5], [0, 11, 4], [0, 0, 1]])
    (folder / '000000.txt').write_text('P_rect_03: 10 0 5 1 0 11 4 0 0 0 1 0\n')
    with pytest.raises(ValueError, match='no entry P_rect_02'):
        KittiSemantics(root)[0]


def test_unknown_ids_are_refused(root, write_image):
    write_image(
        root / 'training' / 'semantic' / '000000_10.png', np.full((8, 12), 34, np.uint8))
    with pytest.raises(ValueError, match=r'\[34\]'):
        KittiSemantics(root)[0]


@pytest.mark.parametrize('ids', [[0, 1, 2, 8, 10, 13], [0, 1, 255], [255, 5, 18]])
def test_train_ids_are_refused(root, write_image, ids):
    """Taken for label ids they would be streets full of sidewalk."""
    path = root / 'training' / 'semantic' / '000000_10.png'
    write_image(path, np.resize(np.uint8(ids), (8, 12)))
    with pytest.raises(ValueError, match=r'000000_10\.png'):
        KittiSemantics(root)[0]


def test_label_ids_of_a_bare_street_are_taken(root, write_image):
    write_image(root / 'training' / 'semantic' / '000000_10.png',
                np.resize(np.uint8([0, 1, 4, 7, 8, 11, 16]), (8, 12)))
    assert set(np.unique(KittiSemantics(root)[0].labels)) == {0, 1, 2, 255}


def test_real_images(data_root):
    root = data_root / 'kitti_semantics'
    assert len(KittiSemantics(root, 'train')) == 21
    validation = KittiSemantics(root, 'val')
    assert [int(sample_id[:6]) for sample_id in validation.ids] == [
        18, 19, 20, 21, 43, 44, 45, 46, 47]
    road = LabelSpace.load('cityscapes19').index('road')
    for index in range(len(validation)):
        bottom = validation[index].labels[-40:]
        assert (bottom == road).mean() > 0.5
