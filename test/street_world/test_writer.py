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


"""What is written is read back by the reader of the real Virtual KITTI 2."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.datasets.vkitti2 import VirtualKitti2
from sync_perception.labels import LabelSpace
from sync_perception.street_world import StreetWorld, write_vkitti2
from sync_perception.street_world.world import kinds_to_ids

SIZE = (60, 200)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """Return a folder with two scenes of two frames, one variant of them foggy."""
    return write_vkitti2(
        tmp_path_factory.mktemp('vkitti'), worlds=2, frames=2, height=SIZE[0], width=SIZE[1],
        seed=4, variants=('clone', 'fog', '15-deg-left'), stereo=True, progress=False)


def test_the_reader_finds_every_frame(written):
    data = VirtualKitti2(written, 'train')
    assert len(data) == 2 * 3 * 2 * 2
    assert data.ids[0] == 'Scene01/clone/Camera_0/00000'
    assert {i.split('/')[0] for i in data.ids} == {'Scene01', 'Scene02'}


def test_files_hold_what_was_rendered(written):
    sample = VirtualKitti2(written, variants=('clone',), cameras=(0,))[1]
    rendered = StreetWorld(4, SIZE, frames=2).render(1)
    assert np.abs(sample.image.astype(int) - rendered.frame.image).mean() < 6
    solid = np.isfinite(rendered.depth)
    np.testing.assert_array_equal(np.isfinite(sample.depth), solid)
    np.testing.assert_allclose(sample.depth[solid], np.minimum(rendered.depth[solid], 655.34),
                               atol=0.0051)
    np.testing.assert_array_equal(sample.labels, kinds_to_ids('vkitti2')[rendered.kinds])
    np.testing.assert_allclose(sample.K, rendered.frame.K, rtol=1e-6)


def test_depth_is_sixteen_bits_of_centimetres_with_the_sky_at_the_top(written):
    path = written / 'Scene01/clone/frames/depth/Camera_0/depth_00000.png'
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    rendered = StreetWorld(4, SIZE, frames=2).render(0)
    assert depth.dtype == np.uint16 and depth.shape == SIZE
    np.testing.assert_array_equal(depth == 65535, np.isinf(rendered.depth))


def test_colours_are_those_of_the_colour_table(written):
    lines = (written / 'Scene01/clone/colors.txt').read_text().splitlines()
    assert lines[0] == 'Category r g b' and 'Terrain 210 0 200' in lines
    table = {tuple(map(int, line.split()[1:])) for line in lines[1:]}
    path = written / 'Scene01/clone/frames/classSegmentation/Camera_0/classgt_00000.png'
    image = cv2.imread(str(path))[..., ::-1]
    assert {tuple(c) for c in image.reshape(-1, 3).tolist()} <= table
    assert len(table) == len(LabelSpace.load('vkitti2'))


def test_poses_come_back_and_the_right_camera_sits_to_the_right(written):
    data = VirtualKitti2(written)
    world = StreetWorld(4, SIZE, frames=2)
    left = data.pose('Scene01/clone/Camera_0/00001')
    np.testing.assert_allclose(left, world.pose(1), atol=1e-5)
    right = data.pose('Scene01/clone/Camera_1/00001')
    np.testing.assert_allclose(np.linalg.inv(left) @ right, np.block([
        [np.eye(3), np.array([[0.532725], [0], [0]])], [0, 0, 0, 1]]), atol=1e-5)
    turned = data.pose('Scene01/15-deg-left/Camera_0/00001')
    angle = np.degrees(np.arccos((np.trace(turned[:3, :3] @ left[:3, :3].T) - 1) / 2))
    assert angle == pytest.approx(15, abs=0.1)


def test_instances_are_numbered_from_one_and_only_on_things(written):
    path = written / 'Scene01/clone/frames/instanceSegmentation/Camera_0/instancegt_00000.png'
    instances = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    rendered = StreetWorld(4, SIZE, frames=2).render(0)
    np.testing.assert_array_equal(instances > 0, rendered.instances > 0)
    pairs = {(a, b) for a, b in zip(instances.flat, rendered.instances.flat)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match='frames.*0'):
        write_vkitti2(tmp_path, frames=0)
    with pytest.raises(ValueError, match='hail'):
        write_vkitti2(tmp_path, variants=('hail',))


def test_every_keeps_some_moments_of_the_same_drive(tmp_path):
    size = {'height': 32, 'width': 64, 'worlds': 1, 'seed': 3, 'progress': False}
    write_vkitti2(tmp_path / 'all', frames=4, **size)
    write_vkitti2(tmp_path / 'some', frames=2, every=2, **size)
    poses = [(tmp_path / name / 'Scene01' / 'clone' / 'extrinsic.txt').read_text().splitlines()
             for name in ('all', 'some')]
    assert [row.split()[2:] for row in poses[1][1:]] == [
        poses[0][1 + moment].split()[2:] for moment in (0, 2)]
    images = sorted((tmp_path / 'some').rglob('rgb_*.jpg'))
    assert [path.name for path in images] == ['rgb_00000.jpg', 'rgb_00001.jpg']


def test_cameras_vary_from_street_to_street_where_asked_for(tmp_path):
    write_vkitti2(tmp_path, worlds=2, frames=1, height=32, width=64, vary_camera=True,
                  progress=False)
    focal = [float(path.read_text().splitlines()[1].split()[2])
             for path in sorted(tmp_path.rglob('intrinsic.txt'))]
    assert len(focal) == 2 and focal[0] != focal[1]
