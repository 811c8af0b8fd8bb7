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

"""Mixed batches: order, shares and annotations."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.training.data.mixture import Mixture, MixtureData, Source


@pytest.fixture
def sources(data_root):
    return [
        Source('camvid', str(data_root / 'camvid'), share=3, scale=(0.7, 1.2)),
        Source('kitti_depth', str(data_root / 'depth_selection'), share=1, focal=(360, 560))]


def test_the_sequence_is_seeded(sources):
    first, again, other = (Mixture(sources, 8, (64, 96), 2, seed) for seed in (1, 1, 2))
    for position in (0, 5):
        np.testing.assert_array_equal(first[position]['image'], again[position]['image'])
        assert first[position]['id'] == again[position]['id']
    assert [other[i]['id'] for i in range(8)] != [first[i]['id'] for i in range(8)]


def test_shares_and_rounds(sources):
    mixture = Mixture(sources, 400, (64, 96), 2)
    assert 0.65 < (mixture.source_of == 0).mean() < 0.85
    drawn = [int(mixture._order(1, 0)[turn]) for turn in range(18)]
    assert sorted(drawn) == list(range(len(mixture.datasets[1])))  # all before any twice


def test_each_sample_brings_what_it_has(sources):
    mixture = Mixture(sources, 40, (64, 96), 2)
    camvid = mixture[int(np.flatnonzero(mixture.source_of == 0)[0])]
    assert camvid['space'] == 'camvid11' and np.isnan(camvid['depth']).all()
    assert (camvid['labels'] != 255).any() and (camvid['expert_labels'] == 255).all()
    kitti = mixture[int(np.flatnonzero(mixture.source_of == 1)[0])]
    assert kitti['space'] == '' and 360 <= kitti['focal'] <= 560
    assert (kitti['labels'] == 255).all() and (kitti['expert_labels'] != 255).any()


def test_batches_collate(sources):
    data = MixtureData(sources, samples=4, batch_size=2, crop=(64, 96), workers=0)
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    assert batches[0]['image'].shape == (2, 64, 96, 3)
    assert batches[0]['depth'].shape == (2, 32, 48)
    assert len(batches[0]['space']) == 2


def test_bad_sources_are_refused(data_root):
    with pytest.raises(ValueError, match='either scale or focal'):
        Source('camvid', 'x', share=1)
    with pytest.raises(ValueError, match="no data set 'camvit'"):
        Source('camvit', 'x', share=1, scale=(1, 1)).load()
    mixture = Mixture(
        [Source('camvid', str(data_root / 'camvid'), share=1, focal=(300, 400))], 1, (64, 96), 2)
    with pytest.raises(ValueError, match='no intrinsics'):
        mixture[0]
