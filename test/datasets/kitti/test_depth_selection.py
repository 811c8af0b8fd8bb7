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


"""KITTI's depth selection: names, splits, intrinsics, real frames, broken files."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.kitti.depth_selection import KittiDepthSelection

HELD_OUT = ['000031', '000038', '000114', '000134', '007347']
TAIL = '0000000005_image_02'
SCENES = [
    '2011_09_26_drive_0002_sync', 'ddad_scene_01_CAMERA_05', 'kitti_object_train_000001',
    'kitti_object_train_000002', 'kitti_object_train_000003', 'kitti_object_train_000004',
    'kitti_object_train_000005']


@pytest.fixture
def folder(tmp_path, write_image, random_image):
    """Write seven frames, one of DDAD."""
    folder = tmp_path / 'val_selection_cropped'
    (folder / 'intrinsics').mkdir(parents=True)
    for index, scene in enumerate(SCENES):
        write_image(folder / 'image' / f'{scene}_image_{TAIL}.png', random_image())
        depth = np.zeros((8, 12), np.uint16)
        depth[7, 11] = 256 * (index + 1)
        write_image(
            folder / 'groundtruth_depth' / f'{scene}_groundtruth_depth_{TAIL}.png', depth)
        (folder / 'intrinsics' / f'{scene}_image_{TAIL}.txt').write_text(
            f'{700 + index} 0 6 0 700 4 0 0 1')
    return folder


def scenes(dataset: KittiDepthSelection) -> list[str]:
    return [sample_id.removesuffix(f'_image_{TAIL}') for sample_id in dataset.ids]


@pytest.mark.parametrize('above', [True, False])
def test_written_frames_come_back(folder, above):
    dataset = KittiDepthSelection(folder.parent if above else folder)
    assert scenes(dataset) == SCENES
    sample = dataset[3]
    assert sample.K[0, 0] == 703
    assert sample.depth[7, 11] == 4
    assert np.isfinite(sample.depth).sum() == 1
    assert sample.labels is None
    assert sample.expert_labels is None


def test_splits(folder):
    kitti = [scene for scene in SCENES if not scene.startswith('ddad')]
    assert scenes(KittiDepthSelection(folder, 'val')) == SCENES[2:]
    assert scenes(KittiDepthSelection(folder, 'train')) == SCENES[:2]
    assert scenes(KittiDepthSelection(folder, 'kitti')) == kitti
    assert scenes(KittiDepthSelection(folder, 'ddad')) == [SCENES[1]]


def test_experts(folder, write_image):
    name = f'{SCENES[0]}_image_{TAIL}.png'
    write_image(folder / 'expert_semantics' / name, np.full((8, 12), 255, np.uint8))
    write_image(folder / 'expert_confidence' / name, np.full((8, 12), 255, np.uint8))
    sample = KittiDepthSelection(folder)[0]
    assert (sample.expert_labels == 255).all()
    assert (sample.expert_confidence == 1).all()


@pytest.mark.parametrize('path', [
    f'groundtruth_depth/{SCENES[0]}_groundtruth_depth_{TAIL}.png',
    f'intrinsics/{SCENES[0]}_image_{TAIL}.txt'])
def test_missing_file_is_named(folder, path):
    (folder / path).unlink()
    with pytest.raises(FileNotFoundError, match=path.split('/')[1]):
        KittiDepthSelection(folder)[0]


def test_eight_bit_depth_is_refused(folder, write_image):
    path = folder / 'groundtruth_depth' / f'{SCENES[0]}_groundtruth_depth_{TAIL}.png'
    write_image(path, np.zeros((8, 12), np.uint8))
    with pytest.raises(ValueError, match='8 bits.*16'):
        KittiDepthSelection(folder)[0]


def test_real_held_out_frames(data_root):
    root = data_root / 'depth_selection'
    held_out = KittiDepthSelection(root, 'val')
    assert [sample_id.split('_')[3] for sample_id in held_out.ids] == HELD_OUT
    train = KittiDepthSelection(root, 'train')
    assert not set(train.ids) & set(held_out.ids)
    assert len(train) == 18
    assert len(KittiDepthSelection(root, 'ddad')) == 9
    for index in range(len(held_out)):
        sample = held_out[index]
        assert 2 < np.nanmin(sample.depth) < np.nanmax(sample.depth) < 80
        assert sample.K[0, 0] == pytest.approx(714, rel=0.02)


def test_frames_are_left_out_by_name(folder):
    """Such as those that show what another data set is validated on."""
    dropped = [f'{SCENES[2]}_image_{TAIL}', f'{SCENES[1]}_image_{TAIL}']
    dataset = KittiDepthSelection(folder, exclude=dropped)
    assert scenes(dataset) == [SCENES[0], *SCENES[3:]]
    with pytest.raises(ValueError, match='nowhere'):
        KittiDepthSelection(folder, exclude=['nowhere'])


def test_every_folder_of_the_larger_selection_reads(data_root):
    """Frames, depth within the protocol's range, and the crop of KITTI's frames alone."""
    root = data_root / 'depth_selection_more'
    counts = {'kitti_lidar': 24, 'kitti_dense': 14, 'narrow_view': 3, 'offroad': 1, 'carla': 27}
    for name, count in counts.items():
        dataset = KittiDepthSelection(root / name)
        assert len(dataset) == count
        sample = dataset[0]
        known = np.isfinite(sample.depth)
        assert sample.depth.shape == sample.image.shape[:2] and known.sum() > 1000
        assert 0 < sample.depth[known].min() < sample.depth[known].max() < 260
        assert (dataset.crop(sample.id) == 'garg') == name.startswith('kitti')
