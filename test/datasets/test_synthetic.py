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


"""The street world keeps the contract of a data set, in this process and in others."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.synthetic import Synthetic
from torch.utils.data import DataLoader

SIZE = (40, 64)


def test_samples_hold_what_the_contract_says():
    data = Synthetic(length=5, size=SIZE, seed=3)
    sample = data[1]
    assert len(data) == 5 and data.label_space == 'driving' and data.ids[1] == sample.id
    assert sample.image.shape == (*SIZE, 3) and sample.image.dtype == np.uint8
    assert sample.depth.shape == SIZE and sample.depth.dtype == np.float32
    assert sample.labels.shape == SIZE and sample.labels.dtype == np.uint8
    assert sample.normals.shape == (*SIZE, 3) and sample.K.shape == (3, 3)
    assert set(np.unique(sample.labels)) <= {*range(20), 255}


def test_a_sample_does_not_depend_on_what_was_read_before():
    first, second = (Synthetic(length=40, size=SIZE, seed=3, frames_per_world=2, interleave=2)
                     for _ in range(2))
    _ = second[0], second[6]
    np.testing.assert_array_equal(first[3].image, second[3].image)
    np.testing.assert_array_equal(first.read(second.ids[3]).depth, second[3].depth)
    assert (Synthetic(length=4, size=SIZE, seed=4)[3].image != first[3].image).any()


def test_neighbours_come_from_different_streets_and_each_is_built_once():
    data = Synthetic(length=16, size=SIZE, frames_per_world=3, interleave=4)
    places = [data.place(i) for i in range(12)]
    assert [world for world, _ in places] == [0, 1, 2, 3] * 3
    assert len(set(places)) == 12
    assert data.place(12)[0] == 4


def test_cameras_vary_between_streets_or_stay_kittis():
    varied, fixed = (Synthetic(length=8, size=SIZE, vary_camera=vary) for vary in (True, False))
    focal = [data.world(number).K[0, 0] for data in (varied, fixed) for number in (0, 1)]
    heights = [data.world(number).mount.height for data in (varied, fixed) for number in (0, 1)]
    assert focal[0] != focal[1] and heights[0] != heights[1]
    assert focal[2:] == pytest.approx([725.0087 * SIZE[1] / 1242] * 2)
    assert heights[2:] == [1.65, 1.65]


def test_neighbours_and_poses_are_a_tenth_of_a_second_away():
    data = Synthetic(length=8, size=SIZE, frames_per_world=2, interleave=1)
    first, second = data.ids[:2]
    before, after = data.neighbours(second)
    assert before.shape == after.shape == (*SIZE, 3)
    assert np.abs(before.astype(float) - after).mean() > 1
    steps = [data.pose(second, offset)[:3, 3] for offset in (-1, 0, 1)]
    way = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    assert (0.2 < way).all() and (way < 4).all()  # 7 to 140 km/h
    assert data.neighbours(first)[0] is None and data.pose(first, -1) is None
    assert data.has_neighbours(second) and not data.has_neighbours(first)
    assert data.neighbours(second, [12]) == [None]


def test_validation_streets_are_others():
    train, val = (Synthetic(split=split, size=SIZE, length=2) for split in ('train', 'val'))
    assert not set(train.ids) & set(val.ids)
    assert (train[0].image != val[0].image).any()
    np.testing.assert_array_equal(Synthetic(size=SIZE)[0].image, train[0].image)
    assert len(Synthetic(split='val')) == 200
    with pytest.raises(ValueError, match="got 'test'"):
        Synthetic(split='test')


@pytest.mark.parametrize('start', [
    'fork', pytest.param('spawn', marks=pytest.mark.exhaustive)])
def test_workers_render_what_this_process_renders(start):
    data = Synthetic(length=2, size=(16, 24), interleave=2)
    here = [data[i].depth for i in range(2)]
    loader = DataLoader(data, batch_size=2, num_workers=1, collate_fn=list, timeout=100,
                        multiprocessing_context=start)
    there = [sample.depth for batch in loader for sample in batch]
    np.testing.assert_array_equal(here, there)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match='length.*0'):
        Synthetic(length=0)
    with pytest.raises(ValueError, match='width must be at least 1'):
        Synthetic(size=(4, 0))
    with pytest.raises(IndexError):
        Synthetic(length=3)[3]
