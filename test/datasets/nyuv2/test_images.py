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

"""NYU Depth v2 as folders: splits, the fixed tenth, the white frame, real images."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.nyuv2.images import NyuDepthV2Images, outside_of_picture


@pytest.fixture
def folder(tmp_path, write_image, random_image):
    """Write twelve images for training and two for testing, the first with depth and labels."""
    for split, count in (('train', 12), ('test', 2)):
        for number in range(count):
            write_image(tmp_path / split / 'rgb' / f'{number:06}.png', random_image())
    write_image(tmp_path / 'train' / 'depth' / '000000.png', np.full((8, 12), 12500, np.uint16))
    write_image(tmp_path / 'train' / 'label40' / '000000.png', np.full((8, 12), 39, np.uint8))
    (tmp_path / 'intrinsics.txt').write_text('260 0 6 0 261 4 0 0 1')
    return tmp_path


def test_written_images_come_back(folder):
    dataset = NyuDepthV2Images(folder, 'train')
    sample = dataset[0]
    assert len(dataset) == 12 and sample.id == 'train/000000'
    assert np.nanmax(sample.depth) == np.nanmin(sample.depth) == 2.5
    assert set(np.unique(sample.labels)) == {39, 255}
    np.testing.assert_array_equal(np.isnan(sample.depth), sample.labels == 255)
    assert sample.K[1, 1] == 261
    assert dataset[1].depth is None and dataset[1].labels is None


def test_splits_are_folders_and_a_root_of_images_is_all(folder):
    assert len(NyuDepthV2Images(folder)) == 14
    assert NyuDepthV2Images(folder, 'test').ids == ['test/000000', 'test/000001']
    (folder / 'train' / 'intrinsics.txt').write_text('260 0 6 0 261 4 0 0 1')
    assert NyuDepthV2Images(folder / 'train').ids[0] == '000000'
    with pytest.raises(FileNotFoundError, match='val'):
        NyuDepthV2Images(folder, 'val')


def test_a_fixed_tenth_is_kept_out(folder):
    kept = NyuDepthV2Images(folder, 'train', tenth='only').ids
    assert kept == ['train/000009']
    others = NyuDepthV2Images(folder, 'train', tenth='without').ids
    assert sorted(kept + others) == NyuDepthV2Images(folder, 'train').ids
    with pytest.raises(ValueError, match='half'):
        NyuDepthV2Images(folder, 'train', tenth='half')


def test_the_frame_at_full_and_at_half_size():
    """Rows 45 to 470 and columns 41 to 600 of 480 x 640 hold data."""
    inside = ~outside_of_picture((480, 640))
    rows, columns = inside.any(axis=1).nonzero()[0], inside.any(axis=0).nonzero()[0]
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (45, 470, 41, 600)
    half = ~outside_of_picture((240, 320))
    rows, columns = half.any(axis=1).nonzero()[0], half.any(axis=0).nonzero()[0]
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (23, 234, 21, 299)


def test_real_images(data_root):
    root = data_root / 'nyuv2_labelled'
    dataset = NyuDepthV2Images(root, 'train')
    assert len(dataset) == 795 and len(NyuDepthV2Images(root, 'train', tenth='only')) == 79
    sample = dataset[100]
    known = np.isfinite(sample.depth)
    assert sample.image.shape == (240, 320, 3) and known.mean() > 0.7
    assert 0.3 < sample.depth[known].min() < sample.depth[known].max() <= 10.01
    assert sample.K[0, 0] == pytest.approx(518.857901 / 2)
