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


"""RGB-D sequences: written files come back, and real poses join real depth maps."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.sevenscenes import SevenScenes
from sync_perception.geometry import backproject, pixel_rays, project, transform

POSE = '0 -1 0 1\n1 0 0 2\n0 0 1 3\n0 0 0 1\n'


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write a scene of two sequences with a frame each."""
    for number in (1, 2):
        frame = tmp_path / f'seq-0{number}' / 'frame-000000'
        write_image(frame.with_suffix('.color.png'), random_image())
        depth = np.full((8, 12), 1500, np.uint16)
        depth[0], depth[1] = 0, 65535
        write_image(frame.with_suffix('.depth.png'), depth)
        frame.with_suffix('.pose.txt').write_text(POSE)
    (tmp_path / 'TestSplit.txt').write_text('sequence2\n')
    return tmp_path


def test_written_set_comes_back(root):
    dataset = SevenScenes(root)
    assert dataset.ids == ['seq-01/frame-000000', 'seq-02/frame-000000']
    sample = dataset[0]
    assert np.isnan(sample.depth[:2]).all()
    assert (sample.depth[2:] == 1.5).all()
    pose = dataset.pose(sample.id)
    np.testing.assert_array_equal(transform(np.array([1.0, 0, 0]), pose), [1, 3, 3])


def test_splits_are_lists_of_sequences(root):
    assert SevenScenes(root, 'test').ids == ['seq-02/frame-000000']
    with pytest.raises(FileNotFoundError, match='TrainSplit.txt'):
        SevenScenes(root, 'train')


@pytest.mark.parametrize('text, message', [
    ('1 2 3', 'holds 3 words'), (POSE.replace('-1', '-3'), 'rigid'), ('', 'holds 0 words')])
def test_broken_poses_are_named(root, text, message):
    path = root / 'seq-01' / 'frame-000000.pose.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'frame-000000.pose.txt {message}|{message}'):
        SevenScenes(root).pose('seq-01/frame-000000')
    path.unlink()
    assert SevenScenes(root).pose('seq-01/frame-000000') is None


def test_neighbours_are_those_of_the_recording(data_root):
    """Every 20th frame was kept: the next one is 20 away."""
    dataset = SevenScenes(data_root / 'sevenscenes')
    assert dataset.neighbours('frame-000140') == [None, None]
    before, after, none = dataset.neighbours('frame-000140', (-20, 20, -160))
    np.testing.assert_array_equal(before, dataset.read('frame-000120').image)
    np.testing.assert_array_equal(after, dataset.read('frame-000160').image)
    assert none is None
    np.testing.assert_array_equal(
        dataset.pose('frame-000140', 20), dataset.pose('frame-000160'))


def test_a_list_of_something_else_is_refused(root):
    (root / 'TestSplit.txt').write_text('sequence2\nheads\n')
    with pytest.raises(ValueError, match="TestSplit.txt.*'heads'"):
        SevenScenes(root, 'test')


def test_real_frames_meet_where_they_overlap(data_root):
    """Points of one frame, moved by the poses into the next kept one, fall on its surfaces."""
    dataset = SevenScenes(data_root / 'sevenscenes')
    assert len(dataset) == 50
    first, second = dataset.read('frame-000140'), dataset.read('frame-000160')
    K, size = first.K, first.depth.shape
    points = backproject(first.depth, pixel_rays(K, size)).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    second_T_first = np.linalg.inv(dataset.pose('frame-000160')) @ (
        dataset.pose('frame-000140'))
    moved = transform(points, second_T_first)
    u, v = np.rint(project(moved, K)).astype(int).T
    inside = (u >= 0) & (u < size[1]) & (v >= 0) & (v < size[0]) & (moved[:, 2] > 0)
    seen = second.depth[v[inside], u[inside]]
    error = np.abs(seen - moved[inside, 2])
    assert np.isfinite(error).mean() > 0.5
    assert np.nanmedian(error) < 0.03
