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

"""The labelled file of NYU Depth v2: axes, units, classes, lists, and what is not a whole file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat
from sync_perception.datasets.nyuv2.labeled import NyuDepthV2Labeled

h5py = pytest.importorskip('h5py')
SIZE = (6, 8)


@pytest.fixture
def root(tmp_path):
    """Write three small images as MATLAB does: columns first, the image's number last."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*SIZE, 3, 3), dtype=np.uint8)
    depths = rng.uniform(1, 9, (*SIZE, 3)).astype(np.float32)
    raw = depths.copy()
    raw[0] = 0
    labels = np.zeros((*SIZE, 3), np.uint16)
    labels[1], labels[2], labels[3] = 1, 3, 2
    with h5py.File(tmp_path / 'nyu_depth_v2_labeled.mat', 'w') as file:
        for name, array in (('images', images), ('depths', depths), ('rawDepths', raw),
                            ('labels', labels)):
            file[name] = array.transpose()
    savemat(tmp_path / 'splits.mat', {
        'trainNdxs': np.uint16([[1], [3]]), 'testNdxs': np.uint16([[2]])})
    savemat(tmp_path / 'classMapping40.mat', {'mapClass': np.array([[40.0, 0.0, 1.0]])})
    return tmp_path, images, depths, raw


def test_written_images_come_back(root):
    folder, images, depths, raw = root
    data = NyuDepthV2Labeled(folder)
    assert data.ids == ['0001', '0002', '0003']
    sample = data[2]
    np.testing.assert_array_equal(sample.image, images[..., 2])
    np.testing.assert_array_equal(sample.depth, depths[..., 2])
    assert sample.labels[:4, 0].tolist() == [255, 39, 0, 255]
    holes = NyuDepthV2Labeled(folder, depth='raw')[2].depth
    assert np.isnan(holes[0]).all()
    np.testing.assert_array_equal(holes[1:], raw[1:, :, 2])
    assert data.crop('0001') == 'eigen' and data.max_depth == 10


def test_splits_are_the_lists_of_the_toolbox(root):
    assert NyuDepthV2Labeled(root[0], 'train').ids == ['0001', '0003']
    assert NyuDepthV2Labeled(root[0], 'test').ids == ['0002']
    (root[0] / 'splits.mat').unlink()
    with pytest.raises(FileNotFoundError, match='splits.mat.*testNdxs'):
        NyuDepthV2Labeled(root[0], 'test')


def test_without_the_mapping_there_are_no_labels(root):
    (root[0] / 'classMapping40.mat').unlink()
    assert NyuDepthV2Labeled(root[0])[0].labels is None


def test_what_is_not_as_expected_is_named(root):
    folder = root[0]
    with pytest.raises(ValueError, match="depth:.*'dense'"):
        NyuDepthV2Labeled(folder, depth='dense')
    savemat(folder / 'splits.mat', {'trainNdxs': np.uint16([[9]])})
    with pytest.raises(ValueError, match='splits.mat.*9.*3'):
        NyuDepthV2Labeled(folder, 'train')
    with pytest.raises(ValueError, match='splits.mat: .*testNdxs'):
        NyuDepthV2Labeled(folder, 'test')
    savemat(folder / 'classMapping40.mat', {'mapClass': np.array([[40.0, 0.0]])})
    with pytest.raises(ValueError, match='3, classMapping40.mat.*2'):
        NyuDepthV2Labeled(folder)[0]
    savemat(folder / 'classMapping40.mat', {'mapClass': np.array([[41.0]])})
    with pytest.raises(ValueError, match='41.*41.*1.*40'):
        NyuDepthV2Labeled(folder)


def test_a_truncated_file_is_named(root):
    path = root[0] / 'nyu_depth_v2_labeled.mat'
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match='nyu_depth_v2_labeled.mat:.*MATLAB'):
        NyuDepthV2Labeled(root[0])
    path.write_bytes(b'nothing')
    with pytest.raises(ValueError, match='nyu_depth_v2_labeled.mat:.*MATLAB'):
        NyuDepthV2Labeled(root[0])
