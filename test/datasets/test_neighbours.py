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

"""Neighbours: what lies where they are warped to, mirrored or not, in time and by stereo."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from small_batches import write_streets
from sync_perception.datasets.cityscapes import Cityscapes
from sync_perception.datasets.neighbours import (
    Neighbour,
    neighbour_arrays,
    read_neighbours,
    STEREO,
)
from sync_perception.datasets.sample import Sample
from sync_perception.datasets.synthetic import Synthetic
from sync_perception.datasets.views import training_arrays, View
from sync_perception.datasets.vkitti2 import VirtualKitti2
from sync_perception.geometry import backproject, pixel_rays, project, transform, warp
from sync_perception.street_world import write_vkitti2
from sync_perception.training.feeding.mixture import Mixture, MixtureData, MixtureSource
import torch

OFFSETS = (-1, 1, STEREO)
MOMENT = '0_000000_00006'
SIZE = (96, 320)


@pytest.fixture(scope='module')
def street():
    """Return a rendered street; only `MOMENT` and its neighbours are looked at."""
    return Synthetic(
        size=SIZE, frames_per_world=1, interleave=1, vary_camera=False, weather='overcast')


def visible(street, sample, offset):
    """Say where the neighbour sees the sample's points: rendered depth agrees; (H, W)."""
    if offset == STEREO:
        world, frame = street.moment(MOMENT)
        source, pose = world.render(frame, right=0.54).depth, street.partner_pose(MOMENT)
    else:
        source = street.read(f'0_000000_{6 + offset:05}').depth
        pose = np.linalg.inv(street.pose(MOMENT, offset)) @ street.pose(MOMENT)
    near = np.isfinite(sample.depth)
    depth = np.where(near, sample.depth, 1.0)
    points = transform(backproject(depth, pixel_rays(sample.K, SIZE)), pose)
    uv = np.rint(project(points, sample.K)).astype(int)
    inside = near & (points[..., 2] > 0) & (uv >= 0).all(-1) & (uv < (SIZE[1], SIZE[0])).all(-1)
    u, v = np.where(inside[..., None], uv, 0).transpose(2, 0, 1)
    return inside & (abs(source[v, u] / points[..., 2] - 1) < 0.02)


@pytest.mark.parametrize('view', [
    View(1.0, 0, 0, SIZE), View(1.0, 0, 0, SIZE, mirror=True),
    View(1.0, 4, 24, (88, 256), mirror=True)], ids=['whole', 'mirrored', 'mirrored crop'])
def test_the_warp_by_known_depth_and_pose_reproduces_the_image(street, view):
    sample = street.read(MOMENT)
    neighbours = read_neighbours(street, MOMENT, OFFSETS)
    cut = training_arrays(sample, view, 1)
    arrays = neighbour_arrays(sample, neighbours, OFFSETS, view)
    assert arrays['neighbour_there'].all()
    assert arrays['neighbour_offset'].tolist() == list(OFFSETS)
    depth = torch.from_numpy(np.where(np.isnan(cut['depth']), 1e4, cut['depth']))[None, None]
    for place, offset in enumerate(OFFSETS):
        source = torch.from_numpy(arrays['neighbours'][place]).permute(2, 0, 1)[None].float()
        warped, valid = warp(
            source, depth.float(), torch.from_numpy(arrays['K'])[None],
            torch.from_numpy(arrays['neighbour_pose'][place])[None])
        image = torch.from_numpy(cut['image']).permute(2, 0, 1)[None].float()
        seen = view.nearest(visible(street, sample, offset), 1, False)
        seen &= valid[0, 0].numpy()
        assert seen.mean() > 0.3
        error, still = ((x - image).abs().mean(dim=1)[0].numpy()[seen] for x in (warped, source))
        # of 255: interpolation, and the noise of both exposures
        assert np.median(error) < 5 and error.mean() < 0.4 * still.mean()


def test_a_mirrored_image_with_the_pose_of_the_plain_one_does_not_fit(street):
    """What the correction is worth: the stereo partner would be on the wrong side."""
    sample = street.read(MOMENT)
    view = View(1.0, 0, 0, SIZE, mirror=True)
    arrays = neighbour_arrays(sample, read_neighbours(street, MOMENT, [STEREO]), [STEREO], view)
    np.testing.assert_allclose(arrays['neighbour_pose'][0, :3, 3], [0.54, 0, 0], atol=1e-6)
    cut = training_arrays(sample, view, 1)
    depth = torch.from_numpy(np.where(np.isnan(cut['depth']), 1e4, cut['depth']))[None, None]
    source, image = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float()
                     for x in (arrays['neighbours'][0], cut['image']))
    K, right = (torch.from_numpy(x)[None] for x in (arrays['K'], arrays['neighbour_pose'][0]))
    wrong = right.clone()
    wrong[:, 0, 3] *= -1
    errors = [(warp(source, depth.float(), K, pose)[0] - image).abs().mean().item()
              for pose in (right, wrong)]
    assert errors[0] < 0.6 * errors[1]


def test_intrinsics_are_those_of_the_crop(street):
    sample = street.read(MOMENT)
    view = View(0.5, 3, 10, (32, 64), mirror=True)
    arrays = neighbour_arrays(sample, [None], [1], view)
    np.testing.assert_allclose(arrays['K'], view.intrinsics(sample.K, SIZE), rtol=1e-6)
    assert not arrays['neighbour_there'].any() and np.isnan(arrays['neighbour_pose']).all()
    assert arrays['neighbours'].shape == (1, 32, 64, 3)


def still_sample(**changes):
    sample = Sample('here', np.zeros((8, 12, 3), np.uint8), K=np.diag([9.0, 9, 1]))
    return replace(sample, **changes)


def test_neighbours_of_another_size_are_refused():
    view = View(1.0, 0, 0, (8, 12))
    neighbour = Neighbour(np.zeros((8, 12, 3), np.uint8), None)
    with pytest.raises(ValueError, match='1.*6x8.*12x8'):
        neighbour_arrays(still_sample(), [replace(neighbour, image=neighbour.image[:, :6])], [1],
                         view)
    blind = neighbour_arrays(still_sample(K=None), [neighbour], [1], view)
    assert np.isnan(blind['K']).all() and blind['neighbour_there'].all()


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """Write four moments of a street, by both cameras."""
    return write_vkitti2(tmp_path_factory.mktemp('streets'), worlds=1, frames=4, height=48,
                         width=160, seed=1, stereo=True)


def test_the_partner_of_virtual_kitti(written):
    data = VirtualKitti2(written, cameras=[0])
    name = data.ids[1]
    both = VirtualKitti2(written, cameras=[1])
    right = both.ids[1]
    np.testing.assert_array_equal(data.partner_image(name), both.read(right).image)
    np.testing.assert_array_equal(both.partner_image(right), data.read(name).image)
    pose = data.partner_pose(name)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-5)
    assert -0.6 < pose[0, 3] < -0.4 and abs(pose[1:3, 3]).max() < 1e-4
    np.testing.assert_allclose(both.partner_pose(right) @ pose, np.eye(4), atol=1e-5)


def test_batches_bring_what_there_is(written):
    source = MixtureSource('vkitti2', str(written), split='all', scale=(1, 1),
                    arguments={'cameras': [0]})
    data = MixtureData([source], samples=4, batch_size=4, crop=(32, 64), stride=2, workers=0,
                       neighbours=[-1, 1], stereo=True)
    batch, = data.train_dataloader()
    assert batch['neighbours'].shape == (4, 3, 32, 64, 3)
    assert batch['neighbours'].dtype == torch.uint8
    assert batch['K'].shape == (4, 3, 3) and batch['neighbour_pose'].shape == (4, 3, 4, 4)
    frames = [int(name.rsplit('/')[-1]) for name in batch['id']]
    for row, frame in enumerate(frames):
        there = batch['neighbour_there'][row].tolist()
        assert there == [frame > 0, frame < 3, True]
        finite = torch.isfinite(batch['neighbour_pose'][row]).flatten(1).all(dim=1)
        assert finite.tolist() == there
    plain = MixtureData([source], samples=4, batch_size=4, crop=(32, 64), stride=2, workers=0)
    bare, = plain.train_dataloader()
    assert not {'neighbours', 'K', 'neighbour_pose', 'neighbour_there'} & set(bare)
    assert torch.equal(bare['image'], batch['image'])  # the views are the same ones


def test_a_source_may_leave_its_neighbours_out(written):
    plain = MixtureSource('vkitti2', str(written), split='all', scale=(1, 1), neighbours=False)
    moving = MixtureSource('vkitti2', str(written), split='all', scale=(1, 1))
    mixture = Mixture([plain, moving], 12, (32, 64), 2, offsets=[1, -1])
    there = [bool(mixture[place]['neighbour_there'].any()) for place in range(12)]
    assert there == [index == 1 for index in mixture.source_of]


def test_recordings_without_neighbours_are_refused(tmp_path, write_image, random_image):
    write_image(tmp_path / 'train' / '0.png', random_image(64, 96))
    write_image(tmp_path / 'trainannot' / '0.png', np.zeros((64, 96), np.uint8))
    source = MixtureSource('camvid', str(tmp_path), scale=(1, 1))
    with pytest.raises(ValueError, match=r'\[-1, 1\].*3'):
        Mixture([source], 4, (32, 64), 2, offsets=[-1, 1])
    with pytest.raises(ValueError, match='in no source'):
        Mixture([replace(source, neighbours=False)], 4, (32, 64), 2, offsets=[-1, 1])


def test_recordings_that_are_too_short_are_refused(written, tmp_path):
    """Two frames have a neighbour each, but neither has both."""
    for path in (written / 'Scene01' / 'clone').rglob('*'):
        target = tmp_path / path.relative_to(written)
        if path.is_file() and not path.stem.endswith(('_00002', '_00003')):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    source = MixtureSource('vkitti2', str(tmp_path), split='all', scale=(1, 1),
                    arguments={'cameras': [0]})
    with pytest.raises(ValueError, match=r'vkitti2.*\[-1, 1\]:.*2.*3'):
        Mixture([source], 2, (32, 64), 2, offsets=[-1, 1])
    Mixture([source], 2, (32, 64), 2, offsets=[1])
    with pytest.raises(ValueError, match=r'\[2\].*vkitti2.*3'):
        Mixture([source], 2, (32, 64), 2, offsets=[2])


def test_no_partner_is_refused_even_where_there_are_neighbours_in_time(tmp_path):
    root = write_vkitti2(tmp_path, worlds=1, frames=3, height=48, width=160, seed=1)
    source = MixtureSource('vkitti2', str(root), split='all', scale=(1, 1))
    Mixture([source], 2, (32, 64), 2, offsets=[-1, 1])
    with pytest.raises(ValueError, match='vkitti2'):
        Mixture([source], 2, (32, 64), 2, offsets=[-1, 1, STEREO])


def test_poses_are_known_where_a_sample_and_its_neighbour_have_one(written, tmp_path):
    def knows(root, *offsets):
        source = MixtureSource('vkitti2', str(root), split='all', scale=(1, 1))
        return Mixture([source], 2, (32, 64), 2, offsets=offsets).knows_poses()

    assert knows(written, -1, 1) and knows(written, 1, STEREO)
    assert not knows(written, STEREO)
    assert not knows(write_streets(tmp_path), -1, 1)


@pytest.mark.parametrize('neighbours', [[0], [1, 1]])
def test_bad_offsets_are_refused(neighbours):
    with pytest.raises(ValueError, match=r'0.*\[-1, 1\]'):
        MixtureData([MixtureSource('synthetic', scale=(1, 1))], samples=1, neighbours=neighbours)


def test_broken_neighbours_are_skipped_with_their_sample(written, tmp_path):
    name = 'Scene01/clone/frames/rgb/Camera_0'
    for path in (written / 'Scene01').rglob('*'):
        target = tmp_path / path.relative_to(written)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / name / 'rgb_00003.jpg').write_bytes(b'none')
    source = MixtureSource('vkitti2', str(tmp_path), split='all', scale=(1, 1),
                    arguments={'cameras': [0]})
    mixture = Mixture([source], 12, (32, 64), 2, skip_bad=True, offsets=[1])
    frames = {int(mixture[place]['id'].rsplit('/')[-1]) for place in range(12)}
    assert frames == {0, 1} and mixture.skipped() == {'vkitti2': 2}


def test_the_partner_of_kitti(tmp_path, data_root, write_image, random_image):
    """The right colour camera is 0.53 m away; the calibration says so of the real drive."""
    from sync_perception.datasets.kitti.raw import KittiRaw
    data = KittiRaw(data_root / 'kitti')
    assert data.partner_pose(data.ids[0]) is None  # its images are not in the copy
    with pytest.raises(ValueError, match='has no stereo partner'):
        data.partner_image(data.ids[0])
    real = data_root / 'kitti' / '2011_09_26'
    drive = tmp_path / '2011_09_26' / '2011_09_26_drive_0001_sync'
    shown = {camera: write_image(
        drive / f'image_{camera:02}' / 'data' / f'{0:010}.png', random_image(375, 1242))
        for camera in (2, 3)}
    for path in real.glob('calib_*.txt'):
        (tmp_path / '2011_09_26' / path.name).write_bytes(path.read_bytes())
    for camera, other, sign in ((2, 3, -1), (3, 2, 1)):
        data = KittiRaw(tmp_path, camera=camera)
        np.testing.assert_array_equal(data.partner_image(data.ids[0]), shown[other])
        pose = data.partner_pose(data.ids[0])
        np.testing.assert_array_equal(pose[:3, :3], np.eye(3))
        assert pose[0, 3] == pytest.approx(sign * 0.5327, abs=1e-3)
        assert abs(pose[1:3, 3]).max() < 0.01


def test_the_partner_of_cityscapes(tmp_path, write_image, random_image):
    stem = 'train/ulm/ulm_000000_000019'
    write_image(tmp_path / 'leftImg8bit' / f'{stem}_leftImg8bit.png', random_image())
    data = Cityscapes(tmp_path, 'train')
    assert data.partner_pose(stem) is None
    right = write_image(tmp_path / 'rightImg8bit' / f'{stem}_rightImg8bit.png', random_image())
    assert data.partner_pose(stem) is None  # without a calibration
    camera = tmp_path / 'camera' / f'{stem}_camera.json'
    camera.parent.mkdir(parents=True)
    camera.write_text('{"intrinsic": {"fx": 9, "fy": 9, "u0": 6, "v0": 4}, '
                      '"extrinsic": {"baseline": 0.21}}')
    assert data.partner_pose(stem)[0, 3] == -0.21
    np.testing.assert_array_equal(data.partner_image(stem), right)
    assert cv2.norm(data.partner_image(stem), data.read(stem).image) > 0
