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


"""CamVid: written and read back, the real recording, broken annotations."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.camvid import CamVid
from sync_perception.labels import LabelSpace


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write two training frames and a validation frame, without a test split."""
    for split, name in (('train', 'b'), ('train', 'a'), ('val', 'c')):
        write_image(tmp_path / split / f'{name}.png', random_image())
        write_image(tmp_path / f'{split}annot' / f'{name}.png',
                    np.tile(np.arange(12, dtype=np.uint8), (8, 1)))
    return tmp_path


def test_written_set_comes_back(root, write_image, random_image):
    image = write_image(root / 'val' / 'c.png', random_image())
    sample = CamVid(root, 'val')[0]
    assert sample.id == 'val/c'
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.labels[0], [*range(11), 255])
    assert sample.K is None
    assert sample.depth is None


def test_splits(root):
    assert CamVid(root, 'train').ids == ['train/a', 'train/b']
    assert CamVid(root).ids == ['train/a', 'train/b', 'val/c']
    with pytest.raises(FileNotFoundError, match="'test'"):
        CamVid(root, 'test')


def test_missing_annotation_is_named(root):
    (root / 'valannot' / 'c.png').unlink()
    with pytest.raises(FileNotFoundError, match='valannot/c.png'):
        CamVid(root, 'val')[0]


def test_labels_of_another_space_are_refused(root, write_image):
    write_image(root / 'valannot' / 'c.png', np.full((8, 12), 31, np.uint8))
    with pytest.raises(ValueError, match=r'\[31\]'):
        CamVid(root, 'val')[0]


def test_real_frames(data_root):
    assert len(CamVid(data_root / 'camvid', 'train')) == 367
    validation = CamVid(data_root / 'camvid', 'val')
    assert len(validation) == 101
    space = LabelSpace.load('camvid11')
    height = validation[0].labels.shape[0]
    sky = np.nonzero(validation[0].labels == space.index('sky'))[0].mean()
    road = np.nonzero(validation[0].labels == space.index('road'))[0].mean()
    assert sky < height / 2 < road
