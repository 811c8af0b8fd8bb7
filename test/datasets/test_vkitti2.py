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


"""Virtual KITTI 2: both archive layouts, letter case, units, colours, broken files."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.vkitti2 import VirtualKitti2
from sync_perception.labels import LabelSpace

FLAT = dict.fromkeys(('rgb', 'depth', 'classgt', 'text'), '')
ARCHIVES = {
    'rgb': 'vkitti_2.0.3_rgb', 'depth': 'vkitti_2.0.3_depth',
    'classgt': 'vkitti_2.0.3_classSegmentation', 'text': 'vkitti_2.0.3_textgt'}
COLORS = np.uint8([
    [210, 0, 200], [90, 200, 255], [0, 199, 0], [90, 240, 0], [140, 140, 140], [100, 60, 100],
    [250, 100, 255], [255, 255, 0], [200, 200, 0], [255, 130, 0], [80, 80, 80], [160, 60, 60],
    [255, 127, 80], [0, 139, 139], [0, 0, 0]])
SIZE = (4, 15)
ROW_MAJOR = tuple(np.ndindex(4, 4))


@pytest.fixture
def write(tmp_path, write_image, random_image):
    """Return a function that writes one variant: two frames of two cameras."""
    def write_variant(scene='Scene01', variant='clone', bases=FLAT, folder='classSegmentation'):
        intrinsic = ['frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]']
        extrinsic = ['frame cameraID ' + ' '.join(f'm{row}{column}' for row, column in ROW_MAJOR)]
        for frame in (0, 1):
            for camera in (0, 1):
                def path(kind, ending, name, camera=camera, frame=frame):
                    return (tmp_path / bases[kind] / scene / variant / 'frames' / name
                            / f'Camera_{camera}' / f'{kind}_{frame:05}.{ending}')
                write_image(path('rgb', 'jpg', 'rgb'), random_image(*SIZE))
                depth = np.full(SIZE, 1234 + frame, np.uint16)
                depth[0] = 65535
                write_image(path('depth', 'png', 'depth'), depth)
                write_image(path('classgt', 'png', folder), np.tile(COLORS, (4, 1, 1)))
                intrinsic.append(f'{frame} {camera} 725.0087 725.0087 620.5 187')
                extrinsic.append(f'{frame} {camera} 1 0 0 {frame} 0 1 0 {camera} 0 0 1 0 0 0 0 1')
        text = tmp_path / bases['text'] / scene / variant
        text.mkdir(parents=True, exist_ok=True)
        (text / 'intrinsic.txt').write_text('\n'.join(intrinsic))
        (text / 'extrinsic.txt').write_text('\n'.join(extrinsic))
        return tmp_path
    return write_variant


@pytest.mark.parametrize('bases', [FLAT, ARCHIVES])
@pytest.mark.parametrize('folder', ['classSegmentation', 'classsegmentation'])
def test_written_frames_come_back(write, bases, folder):
    dataset = VirtualKitti2(write(bases=bases, folder=folder))
    assert dataset.ids == [
        f'Scene01/clone/Camera_{camera}/{frame:05}' for camera in (0, 1) for frame in (0, 1)]
    sample = dataset[3]
    np.testing.assert_array_equal(
        sample.K, [[725.0087, 0, 620.5], [0, 725.0087, 187], [0, 0, 1]])
    assert (sample.depth[0] == np.inf).all()
    np.testing.assert_allclose(sample.depth[1:], 12.35)
    np.testing.assert_array_equal(sample.labels[0], [*range(14), 255])
    pose = np.eye(4)
    pose[:2, 3] = -1, -1  # the file holds its inverse
    np.testing.assert_array_equal(dataset.pose(sample.id), pose)


def test_neighbours_are_of_the_same_camera_in_the_same_weather(write):
    dataset = VirtualKitti2(write(variant='fog'))
    write(variant='clone')
    name = 'Scene01/fog/Camera_1/00001'
    before, after = dataset.neighbours(name)
    np.testing.assert_array_equal(before, dataset.read('Scene01/fog/Camera_1/00000').image)
    assert after is None
    assert dataset.has_neighbours(name, [-1]) and not dataset.has_neighbours(name)
    assert dataset.pose(name, -1)[0, 3] == 0 and dataset.pose(name)[0, 3] == -1
    assert dataset.pose(name, 1) is None


def test_colours_are_those_of_the_label_space():
    np.testing.assert_array_equal(LabelSpace.load('vkitti2').colors, COLORS[:-1])


def test_splits_variants_and_cameras(write):
    root = write('Scene20', 'fog')
    write('Scene02', 'fog')
    write('Scene02', '15-deg-left')
    assert {name.split('/')[0] for name in VirtualKitti2(root, 'val').ids} == {'Scene20'}
    assert {name.split('/')[0] for name in VirtualKitti2(root, 'train').ids} == {'Scene02'}
    chosen = VirtualKitti2(root, variants=['15-deg-left'], cameras=[1])
    assert chosen.ids == [f'Scene02/15-deg-left/Camera_1/{frame:05}' for frame in (0, 1)]


@pytest.mark.parametrize('options', [{'variants': ['snow']}, {'cameras': [2]}])
def test_unknown_variant_and_camera_are_refused(write, options):
    with pytest.raises(ValueError, match='snow|2'):
        VirtualKitti2(write(), **options)


def test_what_is_not_unpacked_is_none(write):
    root = write(bases=ARCHIVES)
    for name in ('depth', 'classSegmentation', 'textgt'):
        (root / f'vkitti_2.0.3_{name}').rename(root / f'elsewhere_{name}')
    with pytest.raises(FileNotFoundError, match='Scene01/clone/intrinsic.txt'):
        VirtualKitti2(root)
    (root / 'elsewhere_textgt').rename(root / 'vkitti_2.0.3_textgt')
    sample = VirtualKitti2(root)[0]
    assert sample.depth is None
    assert sample.labels is None
    (root / 'vkitti_2.0.3_textgt' / 'Scene01' / 'clone' / 'extrinsic.txt').unlink()
    assert VirtualKitti2(root).pose(sample.id) is None


def test_poses_that_are_none_are_refused(write):
    root = write()
    (root / 'Scene01' / 'clone' / 'extrinsic.txt').write_text('head\n' + '0 0 ' + '1 ' * 16)
    with pytest.raises(ValueError, match='extrinsic.txt.*00000.*0'):
        VirtualKitti2(root).pose('Scene01/clone/Camera_0/00000')


@pytest.mark.parametrize(('kind', 'name'), [
    ('depth', 'depth'), ('classgt', 'classSegmentation')])
def test_missing_frame_is_named(write, kind, name):
    root = write()
    (root / 'Scene01' / 'clone' / 'frames' / name / 'Camera_0' / f'{kind}_00001.png').unlink()
    dataset = VirtualKitti2(root)
    assert dataset[0].depth is not None
    with pytest.raises(FileNotFoundError, match='00001.*Scene01/clone/Camera_0'):
        dataset[1]


@pytest.mark.parametrize(('array', 'message'), [
    (np.zeros(SIZE, np.uint8), r'classgt_00000.png is uint8 \(4, 15\), expected three'),
    (np.zeros((5, 15, 3), np.uint8), 'is 15x5, expected 15x4'),
    (np.full((*SIZE, 3), 7, np.uint8), 'none of the colours of the space vkitti2')])
def test_malformed_labels_are_refused(write, write_image, array, message):
    root = write()
    folder = root / 'Scene01' / 'clone' / 'frames' / 'classSegmentation' / 'Camera_0'
    write_image(folder / 'classgt_00000.png', array)
    with pytest.raises(ValueError, match=message):
        VirtualKitti2(root)[0]


def test_eight_bit_depth_is_refused(write, write_image):
    root = write()
    folder = root / 'Scene01' / 'clone' / 'frames' / 'depth' / 'Camera_0'
    write_image(folder / 'depth_00000.png', np.zeros(SIZE, np.uint8))
    with pytest.raises(ValueError, match='depth_00000.png.*8.*16'):
        VirtualKitti2(root)[0]


@pytest.mark.parametrize(('text', 'message'), [
    ('head\n0 0 725 725 620.5', 'has 5 columns, expected frame, camera and 4'),
    ('head\n0 0 a b c d', 'intrinsic.txt'),
    ('head\n0 0 725 725 620.5 187', 'no row for frame 00001 of camera 0')])
def test_malformed_intrinsics_are_refused(write, text, message):
    root = write()
    (root / 'Scene01' / 'clone' / 'intrinsic.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
        VirtualKitti2(root)
