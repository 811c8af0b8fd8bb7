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

"""Depth and labels that contradict each other, on a street that is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.evaluation.geometric_agreement import (
    AgreementLimits,
    find_contradictions,
    fit_ground,
    ground_ids,
)
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace

K = np.array([[120.0, 0, 79.5], [0, 120.0, 39.5], [0, 0, 1]])
SIZE = (80, 160)
HEIGHT, PITCH = 1.6, np.radians(4)
NORMAL = np.array([0, -np.cos(PITCH), -np.sin(PITCH)])
SPACE = LabelSpace.load('driving')
ROAD, SKY, CAR = (SPACE.index(name) for name in ('road', 'sky', 'car'))


@pytest.fixture
def street():
    """Return labels and depth: a plane 1.6 m below a pitched camera, and sky without depth."""
    down = -(pixel_rays(K, SIZE) @ NORMAL)
    ground = down > HEIGHT / 60
    depth = np.where(ground, HEIGHT / np.where(ground, down, 1), np.nan).astype(np.float32)
    return np.where(ground, ROAD, SKY).astype(np.uint8), depth


def test_a_true_street_agrees(street):
    """Nothing is dropped, and the plane is the one that was drawn."""
    found = find_contradictions(*street, K, SPACE)
    assert found.agrees.all()
    np.testing.assert_allclose(found.plane, [*NORMAL, HEIGHT], atol=1e-3)


def test_a_wall_called_road_is_dropped(street):
    """A patch 6 m away, upright, that the labels call road: only its foot is near the ground."""
    labels, depth = street
    patch = np.s_[30:60, 60:100]
    depth[patch] = 6.0
    labels[patch] = ROAD
    found = find_contradictions(labels, depth, K, SPACE)
    rays = pixel_rays(K, SIZE)
    height = (rays * 6.0) @ NORMAL + HEIGHT
    limit = AgreementLimits().height + AgreementLimits().slope * 6
    expected = np.ones(SIZE, bool)
    expected[patch] = (np.abs(height) <= limit)[patch]
    clear = np.abs(np.abs(height) - limit) > 0.1  # the patch's foot pulls at the plane
    assert (~expected & clear).sum() > 400
    np.testing.assert_array_equal(found.agrees[clear], expected[clear])
    np.testing.assert_allclose(found.plane, [*NORMAL, HEIGHT], atol=0.1)


def test_the_same_patch_called_car_is_kept(street):
    """Only classes that are ground must lie on the ground."""
    labels, depth = street
    depth[30:60, 60:100] = 6.0
    labels[30:60, 60:100] = CAR
    assert find_contradictions(labels, depth, K, SPACE).agrees.all()


def test_near_sky_is_dropped(street):
    """Where depth knows the sky, sky at 8 m is a mistake; at 150 m or without depth it is not."""
    labels, depth = street
    depth[:5] = 8.0
    depth[5:10] = 150.0
    assert (labels[:10] == SKY).all()
    assert find_contradictions(labels, depth, K, SPACE).agrees.all()
    found = find_contradictions(labels, depth, K, SPACE, AgreementLimits(sky=20.0))
    assert not found.agrees[:5].any()
    assert found.agrees[5:].all()


def test_sky_on_the_ground_is_dropped(street):
    """A puddle that mirrors the sky, called sky: 15 degrees below the horizon at row 31."""
    labels, depth = street
    puddle = np.s_[64:72, 70:90]
    labels[puddle] = SKY
    found = find_contradictions(labels, depth, K, SPACE)
    assert not found.agrees[puddle].any()
    assert found.agrees.sum() == labels.size - 8 * 20


def test_noise_is_no_contradiction(street):
    """Depth that errs by 5 % lifts the road by centimetres."""
    labels, depth = street
    rng = np.random.default_rng(0)
    noisy = depth * rng.normal(1, 0.05, depth.shape).astype(np.float32)
    found = find_contradictions(labels, noisy, K, SPACE)
    assert found.agrees.mean() > 0.999
    np.testing.assert_allclose(found.plane, [*NORMAL, HEIGHT], atol=0.05)


def test_without_a_plane_ground_is_not_judged(street):
    """Too little ground, or ground that is everywhere: nothing can be said about it."""
    labels, depth = street
    few = np.full_like(labels, CAR)
    few[-1, :20] = ROAD
    assert find_contradictions(few, depth, K, SPACE).plane is None
    rng = np.random.default_rng(1)
    scattered = rng.uniform(2, 25, depth.shape).astype(np.float32)
    found = find_contradictions(np.full_like(labels, ROAD), scattered, K, SPACE)
    assert found.plane is None and found.agrees.all()


def test_no_ground_above_the_camera():
    """A ceiling is no ground, however flat."""
    x, z = np.meshgrid(np.linspace(-3, 3, 20), np.linspace(2, 8, 20))
    ceiling = np.stack([x, np.full_like(x, -1.0), z], axis=-1).reshape(-1, 3)
    assert fit_ground(ceiling, AgreementLimits()) is None
    floor = ceiling * [1, -1, 1]
    np.testing.assert_allclose(fit_ground(floor, AgreementLimits()), [0, -1, 0, 1], atol=1e-9)


def test_ground_in_other_spaces():
    """Through what a class comprises, or by its name indoors; mixtures are no ground."""
    def names(space: str) -> list[str]:
        space = LabelSpace.load(space)
        return [space.names[index] for index in ground_ids(space)]
    assert names('camvid11') == ['road', 'pavement']
    assert names('nyud40') == ['floor', 'floor mat']
    assert names('driving') == ['road', 'sidewalk']


def test_unlike_sizes_are_refused(street):
    """Labels and depth must cover the same pixels."""
    with pytest.raises(ValueError, match=r'\(80, 160\)'):
        find_contradictions(street[0], street[1][:, :-1], K, SPACE)
