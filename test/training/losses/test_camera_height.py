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

"""The height above the road: of planes made by hand, of rendered streets, by labels or without."""

from __future__ import annotations

import math

import pytest
from sync_perception.datasets.synthetic import Synthetic
from sync_perception.datasets.views import training_arrays, View
from sync_perception.geometry import camera_rays
from sync_perception.labels import LabelSpace
from sync_perception.training.losses.camera_height import (
    camera_height_loss,
    find_ground,
    Ground,
    road_ids,
)
import torch

SIZE = (40, 64)
K = torch.tensor([[[50.0, 0, 31.5], [0, 50, 15.5], [0, 0, 1]]])
WALL = 60.0


@pytest.fixture(scope='module')
def street():
    """Return rendered streets, seen from 1.65 m above the road, and one of their images."""
    data = Synthetic(size=(96, 320), frames_per_world=1, interleave=1, vary_camera=False,
                     weather='overcast')
    return data, data[0]


def plane(height: float = 1.65, tilt: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return depth of a plane below a camera before a wall, and the rays.

    :param tilt: radians by which the camera looks down.
    """
    rays = camera_rays(K, SIZE)
    descent = math.cos(tilt) * rays[..., 1] + math.sin(tilt) * rays[..., 2]
    return torch.where(descent > height / WALL, height / descent, WALL)[:, None], rays


def labels_of(rays: torch.Tensor, space: str = '', expert: str = '', value: int = 0) -> dict:
    """Return a batch of one sample with all of one class, of a data set or of an expert."""
    void = torch.full(rays.shape[:3], 255, dtype=torch.uint8)
    return {'labels': torch.full_like(void, value) if space else void, 'space': [space],
            'expert_labels': torch.full_like(void, value) if expert else void,
            'expert_space': [expert or 'cityscapes19']}


@pytest.mark.parametrize('tilt', [0.0, 0.1, -0.05])
@pytest.mark.parametrize('factor, expected', [(1.0, 0.0), (0.5, math.log(2)), (2, math.log(2))])
def test_a_plane_by_hand(factor, expected, tilt):
    """Also of a camera that is a little tilted."""
    depth, rays = plane(tilt=tilt)
    loss = camera_height_loss(depth * factor, rays, find_ground(labels_of(rays), rays), 1.65)
    assert loss.item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize('factor', [0.5, 2.0])
def test_the_gradient_is_that_of_a_common_factor_of_the_grounds_depth(factor):
    depth, rays = plane()
    ground = find_ground(labels_of(rays), rays)
    candidates = ground.candidates_bhw
    depth = (depth * factor).requires_grad_()
    camera_height_loss(depth, rays, ground, 1.65).backward()
    of_logarithm = (depth.grad * depth.detach())[:, 0]
    learning = of_logarithm != 0
    assert not (learning & ~candidates).any() and learning.sum() > 0.9 * candidates.sum()
    expected = math.copysign(1 / learning.sum().item(), math.log(factor))
    torch.testing.assert_close(
        of_logarithm[learning], torch.full_like(of_logarithm[learning], expected))


def test_the_median_does_not_mind_a_third_of_wrong_ground():
    depth, rays = plane()
    ground = find_ground(labels_of(rays), rays)
    depth[:, :, :, 36:] *= 0.5  # something lies there
    assert camera_height_loss(depth, rays, ground, 1.65).item() == pytest.approx(0, abs=0.02)


def test_what_is_not_level_is_no_ground():
    _, rays = plane()
    ground = find_ground(labels_of(rays), rays)
    wall = torch.full((1, 1, *SIZE), 5.0)
    assert camera_height_loss(wall, rays, ground, 1.65) is None
    noise = 1 + 20 * torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    assert camera_height_loss(noise, rays, ground, 1.65) is None


def test_where_labels_say_road_a_camera_is_level_until_depth_has_normals():
    """Depth of a wall: the height of its median road pixel is its depth times y / z."""
    _, rays = plane()
    ground = find_ground(labels_of(rays, 'cityscapes19'), rays)
    slopes = rays[..., 1][ground.candidates_bhw]
    for metres in (5.0, 20.0):
        wall = torch.full((1, 1, *SIZE), metres)
        expected = abs(math.log(metres * slopes.median().item() / 1.65))
        loss = camera_height_loss(wall, rays, ground, 1.65)
        assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_samples_without_ground_count_as_0():
    depth, rays = plane()
    candidates, known = find_ground(labels_of(rays), rays)
    both = torch.cat([depth * 0.5, torch.full_like(depth, 5.0)]).requires_grad_()
    loss = camera_height_loss(
        both, rays.expand(2, -1, -1, -1),
        Ground(candidates.expand(2, -1, -1), known.expand(2)), 1.65)
    assert loss.item() == pytest.approx(math.log(2) / 2, abs=0.01)
    loss.backward()
    assert both.grad[0].any() and not both.grad[1].any()


def test_labels_say_where_the_road_is_before_experts_and_geometry():
    _, rays = plane()
    anywhere, known = find_ground(labels_of(rays), rays)
    below = rays[..., 1] > 0.1
    assert not known.any()
    assert 0 < anywhere.sum() < below.sum() and not (anywhere & ~below).any()
    space = LabelSpace.load('cityscapes19')
    for known in ({'space': 'cityscapes19'}, {'expert': 'cityscapes19'}):
        road, pavement = (
            find_ground(labels_of(rays, value=space.index(name), **known), rays)
            for name in ('road', 'sidewalk'))
        assert torch.equal(road.candidates_bhw, below) and road.known_b.all()
        assert not pavement.candidates_bhw.any()
    batch = {**labels_of(rays, space='cityscapes19', value=space.index('building')),
             'expert_labels': torch.zeros(1, *SIZE, dtype=torch.uint8)}
    found = find_ground(batch, rays)  # the truth counts, not the expert's road
    assert found.known_b.all() and not found.candidates_bhw.any()


def test_the_classes_that_are_road():
    assert road_ids('') == ()
    for space, names in (
            ('driving', ['road']), ('nyud40', ['floor', 'floor mat']), ('vkitti2', ['Road']),
            ('camvid32', ['LaneMkgsDriv', 'LaneMkgsNonDriv', 'Road'])):
        assert [LabelSpace.load(space).names[index] for index in road_ids(space)] == names


@pytest.mark.parametrize('labelled', [True, False])
def test_the_true_depth_of_a_rendered_street_gives_the_height_of_its_camera(street, labelled):
    data, sample = street
    for mirror in (False, True):
        view = View(1.0, 0, 0, (96, 320), mirror)
        arrays = training_arrays(sample, view, 1)
        intrinsics = torch.from_numpy(view.intrinsics(sample.K, (96, 320))).float()
        rays = camera_rays(intrinsics[None], (96, 320))
        batch = labels_of(rays)
        if labelled:
            batch.update(labels=torch.from_numpy(arrays['labels'])[None],
                         space=[data.label_space])
        depth = torch.from_numpy(arrays['depth'])[None, None].nan_to_num(200)
        ground = find_ground(batch, rays)
        for factor, expected in ((1.0, 0), (0.5, math.log(2))):
            loss = camera_height_loss(depth * factor, rays, ground, 1.65)
            assert loss.item() == pytest.approx(expected, abs=0.02)


def test_a_camera_on_the_road_is_refused():
    depth, rays = plane()
    with pytest.raises(ValueError, match='-1.6'):
        camera_height_loss(depth, rays, find_ground(labels_of(rays), rays), -1.6)
