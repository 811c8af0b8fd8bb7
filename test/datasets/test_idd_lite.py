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


"""IDD-lite: coarse labels, expert labels that never contradict them, broken files."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.idd_lite import IddLite
from sync_perception.labels import correspondence, LabelSpace


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write a training frame with expert labels, and a validation frame without."""
    for split, sequence, name in (('train', '12', 'frame7'), ('val', '3', '0045')):
        write_image(
            tmp_path / 'leftImg8bit' / split / sequence / f'{name}_image.png', random_image())
        write_image(tmp_path / 'gtFine' / split / sequence / f'{name}_label.png',
                    np.tile(np.uint8([*range(7), 255, 0, 0, 0, 0]), (8, 1)))
    write_image(tmp_path / 'expert_semantics' / 'train' / '12' / 'frame7_label.png',
                np.full((8, 12), 18, np.uint8))
    return tmp_path


def test_written_set_comes_back(root):
    dataset = IddLite(root)
    assert dataset.ids == ['train/12/frame7', 'val/3/0045']
    train, validation = dataset[0], dataset[1]
    np.testing.assert_array_equal(train.labels[0], [*range(7), 255, 0, 0, 0, 0])
    assert (train.expert_labels == 18).all()
    assert validation.expert_labels is None
    assert train.expert_confidence is None


def test_missing_labels_are_named(root):
    (root / 'gtFine' / 'val' / '3' / '0045_label.png').unlink()
    with pytest.raises(FileNotFoundError, match='0045_label.png'):
        IddLite(root, 'val')[0]


def test_fine_ids_are_refused(root, write_image):
    write_image(root / 'gtFine' / 'val' / '3' / '0045_label.png', np.full((8, 12), 7, np.uint8))
    with pytest.raises(ValueError, match=r'\[7\]'):
        IddLite(root, 'val')[0]


def test_real_expert_chooses_within_the_coarse_class(data_root):
    dataset = IddLite(data_root / 'idd_lite', 'train')
    assert len(dataset) == 1403
    assert len(IddLite(data_root / 'idd_lite', 'val')) == 204
    allowed = np.zeros((256, 256), bool)
    allowed[:7, :19] = correspondence(LabelSpace.load('idd7'), LabelSpace.load('cityscapes19'))
    known = agreeing = 0
    for index in range(0, len(dataset), 100):
        sample = dataset[index]
        sure = (sample.expert_labels != 255) & (sample.labels != 255)
        known += sure.sum()
        agreeing += allowed[sample.labels[sure], sample.expert_labels[sure]].sum()
    assert known > 500_000
    assert agreeing == known
