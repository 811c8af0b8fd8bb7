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

"""Training crops: what is cut out must stay where the intrinsics say it is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sync_perception.datasets.sample import Sample
from sync_perception.datasets.views import random_view, training_arrays, View
from sync_perception.geometry import normals_from_points, pixel_rays, project, resize_intrinsics

K = np.array([[200.0, 0, 160], [0, 200, 110], [0, 0, 1]])
SIZE = (240, 320)


def plane_sample():
    """Return a view of the ground 1.5 m below the camera; the image shows u and v."""
    rays = pixel_rays(K, SIZE)
    with np.errstate(divide='ignore'):
        depth = np.where(rays[..., 1] > 0, 1.5 / rays[..., 1], np.inf).astype(np.float32)
    v, u = np.mgrid[:SIZE[0], :SIZE[1]]
    image = np.stack([u * 255 / SIZE[1], v * 255 / SIZE[0], 0 * u], axis=-1).astype(np.uint8)
    labels = (u // 40).astype(np.uint8)
    return Sample(id='plane', image=image, K=K, depth=depth, labels=labels)


@pytest.mark.parametrize('view', [
    View(0.5, 10, 20, (96, 128)),
    View(0.7, -8, 30, (160, 128), mirror=True),
    View(1.5, 250, 200, (96, 128)),
])
def test_depth_fits_the_views_intrinsics(view):
    arrays = training_arrays(plane_sample(), view, stride=2)
    K_view = view.intrinsics(K, SIZE)
    assert arrays['focal'] == pytest.approx(K_view[0, 0])
    v = np.arange(0, view.size[0], 2)[:, None] + 0.5  # the middle of two rows
    height = arrays['depth'] * (v - K_view[1, 2]) / K_view[1, 1]
    known = np.isfinite(arrays['depth']) & (arrays['depth'] < 10)
    assert known.mean() > 0.1
    np.testing.assert_allclose(height[known], 1.5, atol=0.08)
    assert abs(height[known].mean() - 1.5) < 0.02


@pytest.mark.parametrize('seed', range(12))
def test_intrinsics_follow_what_the_image_shows(seed):
    """A bright spot, seen along a ray, lies where the view's intrinsics project that ray."""
    rng = np.random.default_rng(seed)
    camera = np.array([[rng.uniform(150, 300), 0, rng.uniform(120, 200)],
                       [0, rng.uniform(150, 300), rng.uniform(80, 160)], [0, 0, 1]])
    view = random_view(rng, SIZE, (120, 160), (0.45, 1.8))
    v, u = np.mgrid[:SIZE[0], :SIZE[1]]
    seen = 0
    for spot_u, spot_v in rng.uniform((20, 20), (300, 220), (30, 2)):
        ray = np.linalg.solve(camera, (spot_u, spot_v, 1))
        if view.mirror:
            ray[0] *= -1
        expected = project(ray, view.intrinsics(camera, SIZE))
        if not ((expected > 15) & (expected < (145, 105))).all():
            continue
        spot = 255 * np.exp(-((u - spot_u) ** 2 + (v - spot_v) ** 2) / (2 * 2.5 ** 2))
        shown = view.image(np.dstack([spot.round().astype(np.uint8)] * 3))[..., 0].astype(float)
        shown[shown == 127] = 0  # outside of the recording
        shown[shown < 8] = 0
        centre = [(shown * np.arange(160)).sum(), (shown * np.arange(120)[:, None]).sum()]
        np.testing.assert_allclose(np.array(centre) / shown.sum(), expected, atol=0.12)
        seen += 1
    assert seen >= 1


def test_sky_is_no_target():
    depth = training_arrays(plane_sample(), View(0.5, 0, 0, (96, 128)), 2)['depth']
    assert np.isnan(depth[:20]).all()


def test_image_labels_and_mirror_agree():
    view = View(0.8, 20, 40, (96, 128))
    mirrored = View(0.8, 20, 40, (96, 128), mirror=True)
    straight = training_arrays(plane_sample(), view, 1)
    flipped = training_arrays(plane_sample(), mirrored, 1)
    for name in ('image', 'labels', 'depth'):
        np.testing.assert_array_equal(flipped[name], straight[name][:, ::-1])
    u = straight['image'][..., 0].astype(float) * SIZE[1] / 255
    np.testing.assert_allclose(straight['labels'] * 40 + 20, u, atol=22)


def test_outside_of_the_recording_nothing_is_known():
    arrays = training_arrays(plane_sample(), View(0.25, -20, -30, (128, 160)), 2)
    assert (arrays['labels'][:9] == 255).all() and (arrays['labels'][:, :14] == 255).all()
    assert np.isnan(arrays['depth'][:, :14]).all()
    assert (arrays['image'][:19] == 127).all()


def test_sparse_depth_moves_point_by_point():
    rng = np.random.default_rng(0)
    points = rng.uniform((-4, 0.3, 4), (4, 1.5, 30), (300, 3))
    depth = np.full(SIZE, np.nan, np.float32)
    uv = np.round(project(points, K)).astype(int)
    inside = ((uv >= 0) & (uv < (SIZE[1], SIZE[0]))).all(axis=1)
    uv, z = uv[inside], points[inside, 2]
    depth[uv[:, 1], uv[:, 0]] = z
    view = View(0.5, 5, 10, (112, 144))
    carried = training_arrays(Sample('s', np.zeros((*SIZE, 3), np.uint8), K, depth), view, 2)
    expected = np.full((56, 72), np.inf)
    for (u, v), value in zip(uv, depth[uv[:, 1], uv[:, 0]]):
        row, column = int((v + 0.5) * 0.5 - 5) // 2, int((u + 0.5) * 0.5 - 10) // 2
        if (v + 0.5) * 0.5 >= 5 and (u + 0.5) * 0.5 >= 10 and row < 56 and column < 72:
            expected[row, column] = min(expected[row, column], value)
    expected[np.isinf(expected)] = np.nan
    assert np.isfinite(expected).sum() > 100
    np.testing.assert_array_equal(carried['depth'], expected)


@pytest.mark.parametrize('mirror', [False, True])
def test_normals_stay_normal_to_the_surface_that_the_view_shows(mirror):
    # A wall across the view, turned by 30 degrees: its depth, carried over as depth is, spans
    # the surface in the view's camera; its normals, carried over, are normal to that surface.
    normal = np.array([np.sin(np.pi / 6), 0.1, -np.cos(np.pi / 6)])
    normal /= np.linalg.norm(normal)
    rays = pixel_rays(K, SIZE)
    depth = (normal @ [0, 0, 8] / (rays @ normal)).astype(np.float32)
    normals = np.broadcast_to(normal, (*SIZE, 3)).astype(np.float32)
    sample = Sample('wall', np.zeros((*SIZE, 3), np.uint8), K, depth, normals=normals)
    view = View(2.0, 20, 40, (320, 384), mirror)
    arrays = training_arrays(sample, view, 2)
    assert arrays['normals'].shape == (3, 160, 192) and arrays['normals'].dtype == np.float32
    K_cells = resize_intrinsics(view.intrinsics(K, SIZE), (320, 384), (160, 192))
    points = pixel_rays(K_cells, (160, 192)) * arrays['depth'][..., None]
    found = normals_from_points(points)[1:-1, 1:-1]
    np.testing.assert_allclose(
        found, arrays['normals'].transpose(1, 2, 0)[1:-1, 1:-1], atol=1e-3)


def test_normals_are_unknown_outside_of_the_recording_and_where_there_are_none():
    sample = plane_sample()
    view = View(0.25, -20, -30, (128, 160))
    assert np.isnan(training_arrays(sample, view, 2)['normals']).all()
    normals = np.full((*SIZE, 3), np.nan, np.float32)
    normals[120:] = (0, -1, 0)
    carried = training_arrays(replace(sample, normals=normals), view, 2)['normals']
    known = np.isfinite(carried).all(axis=0)
    assert known[25:40, 15:55].all()
    assert known.sum() == 15 * 40
    np.testing.assert_array_equal(carried[:, known][1], -1)


def test_missing_annotations_stay_missing():
    arrays = training_arrays(
        Sample('bare', np.zeros((*SIZE, 3), np.uint8)), View(1.0, 0, 0, (64, 64)), 2)
    assert np.isnan(arrays['depth']).all() and np.isnan(arrays['focal'])
    assert (arrays['labels'] == 255).all() and (arrays['expert_labels'] == 255).all()


@pytest.mark.parametrize('view', [
    View(0.7, -8, 30, (160, 128), mirror=True), View(1.5, 250, 200, (96, 128))])
def test_soft_targets_lie_where_the_labels_lie(view):
    """The first class is the label in every crop; probabilities stay beside their classes."""
    sample = plane_sample()
    classes = np.stack([sample.labels, (sample.labels + 3) % 8], axis=-1)
    soft = replace(
        sample, expert_labels=sample.labels, expert_classes=classes,
        expert_probabilities=classes * 20 + 1)
    arrays = training_arrays(soft, view, 2)
    found, probabilities = arrays['expert_classes'], arrays['expert_probabilities']
    assert found.shape == probabilities.shape == (4, view.size[0] // 2, view.size[1] // 2)
    assert found.dtype == probabilities.dtype == np.uint8
    np.testing.assert_array_equal(found[0], arrays['expert_labels'])
    known = found[0] != 255
    assert known.mean() > 0.2 and (found[:, ~known] == 255).all()
    np.testing.assert_array_equal(found[1, known], (found[0, known] + 3) % 8)
    np.testing.assert_array_equal(probabilities[:2, known], found[:2, known] * 20 + 1)
    assert (found[2:] == 255).all() and (probabilities[2:] == 0).all()
    bare = training_arrays(sample, view, 2)
    assert bare['expert_classes'].shape == found.shape
    assert (bare['expert_classes'] == 255).all() and (bare['expert_probabilities'] == 0).all()


def test_random_views_are_seeded_and_in_range():
    draws = [random_view(np.random.default_rng(7), SIZE, (96, 128), (0.5, 1.5)) for _ in '12']
    assert draws[0] == draws[1]
    rng = np.random.default_rng(8)
    views = [random_view(rng, SIZE, (96, 128), (0.5, 1.5)) for _ in range(200)]
    scales = [view.scale for view in views]
    assert 0.5 <= min(scales) < 0.55 and 1.4 < max(scales) <= 1.5
    assert {view.mirror for view in views} == {True, False}
    for view in views:
        height, width = view.resized(SIZE)
        assert 0 <= view.top <= height - 96 and 0 <= view.left <= width - 128


def test_image_is_opencvs_resize():
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    window = View(0.5, 7, 9, (64, 96)).image(image)
    resized = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(window, resized[7:71, 9:105])
