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

"""The scale from the mount: planes with known answers, and ground that is not believed."""

from __future__ import annotations

import math

from flat_street import K, OTHER, ROAD, SIZE, street
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace
from sync_perception.runtime.mount_scale import (
    missing_maps,
    Mount,
    MountLimits,
    MountScale,
    PATIENCE,
    wheel_ground,
)
from sync_perception.types import Prediction

AT_ONCE = MountLimits(memory=0.0, prior=0.0)


@pytest.mark.parametrize('pitch, roll', [(0.0, 0.0), (0.06, 0.0), (-0.04, 0.05), (0.1, -0.1)])
@pytest.mark.parametrize('error', [0.8, 1.0, 1.25])
def test_the_factor_undoes_a_wrong_scale(pitch, roll, error):
    depth, labels = street(1.6, pitch, roll)
    scale = MountScale(Mount(1.6, pitch, roll), np.array([ROAD]), AT_ONCE)
    assert scale.update(depth * np.float32(error), labels, K) == pytest.approx(1 / error, rel=2e-3)
    assert scale.rejection == '' and scale.frames == 1


def test_it_is_robust_to_a_third_of_wrong_ground_and_to_noise():
    depth, labels = street()
    rng = np.random.default_rng(0)
    predicted = depth * 1.2 * np.exp(rng.normal(0, 0.04, SIZE))
    predicted[:, :200] *= 1.5  # a kerb, or another class that was taken for road
    scale = MountScale(Mount(1.6), np.array([ROAD]), AT_ONCE)
    assert scale.update(predicted, labels, K) == pytest.approx(1 / 1.2, rel=0.04)


def test_a_bonnet_or_a_wrong_pitch_are_not_believed():
    depth, labels = street()
    bonnet = depth.copy()
    bonnet[200:] = 1.3  # the bonnet, labelled as road
    scale = MountScale(Mount(1.6), np.array([ROAD]), AT_ONCE)
    assert scale.update(bonnet, labels, K) == 1.0
    assert scale.rejection
    tilted = MountScale(Mount(1.6, pitch=0.06), np.array([ROAD]), AT_ONCE)
    assert tilted.update(depth, labels, K) == 1.0
    assert 'near and far' in tilted.rejection or 'agree' in tilted.rejection


@pytest.mark.parametrize('change, said', [
    (lambda depth, labels: labels.fill(OTHER), '0.0%'),
    (lambda depth, labels: depth.fill(np.nan), '0.0%'),
    (lambda depth, labels: np.multiply(depth, 3, out=depth), '0.33')])
def test_what_cannot_be_believed_keeps_the_last_factor(change, said):
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]), AT_ONCE)
    scale.update(depth / np.float32(1.1), labels, K)
    change(depth, labels)
    assert scale.update(depth, labels, K) == pytest.approx(1.1, rel=1e-3)
    assert said in scale.rejection


def test_factors_are_averaged_and_the_prediction_counts_as_one_frame():
    """The mean of logarithms over the frames so far, then the moving one."""
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]))
    for share in (1 / 2, 2 / 3, 3 / 4, 4 / 5, 0.84, 0.872):
        found = scale.update(depth / np.float32(1.3), labels, K)
        assert math.log(found) == pytest.approx(share * math.log(1.3), rel=1e-2)
    for _ in range(30):
        found = scale.update(depth / np.float32(1.3), labels, K)
    assert found == pytest.approx(1.3, rel=1e-2)


def test_depth_and_uncertainty_are_scaled_and_the_rest_is_not():
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]), AT_ONCE)
    scale.update(depth / np.float32(1.25), labels, K)
    prediction = Prediction(
        depth=np.float32([[2, np.nan]]), labels=np.uint8([[1, 2]]),
        uncertainty=np.float32([[0.4, 0.8]]))
    scale.apply(prediction)
    np.testing.assert_allclose(prediction.depth, [[2.5, np.nan]], rtol=1e-3)
    np.testing.assert_allclose(prediction.uncertainty, [[0.5, 1.0]], rtol=1e-3)


@pytest.mark.parametrize('arguments', [(0.0,), (-1.0,), (float('nan'),), (1.5, 2.0), (1.5, 0, 4)])
def test_mounts_that_no_camera_has_are_refused(arguments):
    with pytest.raises(ValueError, match='camera'):
        Mount(*arguments)


def test_what_lies_beyond_the_greatest_depth_after_scaling_is_invalid():
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]), AT_ONCE)
    prediction = Prediction(
        depth=depth / np.float32(1.25), labels=labels, uncertainty=depth / np.float32(12.5))
    scale.correct(prediction, K, max_depth=40.0)
    np.testing.assert_allclose(
        prediction.depth, np.where(depth <= 40.001, depth, np.nan), rtol=2e-3)
    np.testing.assert_array_equal(np.isnan(prediction.uncertainty), np.isnan(prediction.depth))


@pytest.mark.parametrize('size', [SIZE, (301, 645), (37, 41)])
def test_the_plane_is_that_of_the_pixels_that_are_looked_at(size):
    mount = Mount(1.6, 0.1, 0.05)
    towards = pixel_rays(K, size)[2::4, 4::8] @ mount.down
    found = MountScale(mount, np.array([ROAD])).plane(K, size)
    assert found.shape == towards.shape
    below = towards > 1e-3
    np.testing.assert_allclose(found[below], 1.6 / towards[below], rtol=1e-4)
    assert np.isinf(found[towards < -1e-6]).all()


def test_only_ground_that_was_never_believed_is_a_problem_and_only_after_a_while():
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]))
    for _ in range(PATIENCE):
        assert scale.problem == ''
        scale.update(depth, np.full_like(labels, OTHER), K)
    assert '0.0%' in scale.problem and '1.6 m' in scale.problem
    scale.update(depth, labels, K)
    for _ in range(PATIENCE):
        scale.update(depth, np.full_like(labels, OTHER), K)
    assert scale.problem == '' and scale.rejection and scale.frames == 1


@pytest.mark.parametrize('pitch, roll, yaw', [
    (0, 0, 0), (0.1, 0, 1), (-0.2, 0.3, 2), (1.2, -0.5, -3), (0, 1.4, 0.5)])
def test_the_mount_is_read_off_a_transform(pitch, roll, yaw):
    """REP 103: a body looks along x with y to the left; the optical frame is fixed in it."""
    ground_R_body = Rotation.from_euler('ZYX', [yaw, pitch, roll])
    body_R_optical = Rotation.from_euler('ZYX', [-math.pi / 2, 0, -math.pi / 2])
    quaternion = 2 * (ground_R_body * body_R_optical).as_quat()  # its length does not matter
    mount = Mount.from_transform((0.4, -0.1, 1.55), quaternion)
    assert (mount.height, mount.pitch, mount.roll) == pytest.approx((1.55, pitch, roll), abs=1e-9)


@pytest.mark.parametrize('translation, rotation, said', [
    ((0, 0, 1.5), (0, 0, 0, 1), 'optical'),  # of the body, or looking straight up
    ((0, 0, 1.5), (1, 0, 0, 0), 'optical'),  # looking straight down
    ((0, 0, 1.5), (0, 0, 0, 0), 'quaternion'),
    ((0, 0, 1.5), (float('nan'), 0, 0, 1), 'quaternion'),
    ((0, 0, -0.2), (-0.5, 0.5, -0.5, 0.5), 'height')])
def test_transforms_of_no_such_camera_are_refused(translation, rotation, said):
    with pytest.raises(ValueError, match=said):
        Mount.from_transform(translation, rotation)


@pytest.mark.parametrize('space, names', [
    ('driving', ['road']), ('cityscapes19', ['road']), ('kitti6', ['road']),
    ('camvid11', ['road']), ('camvid32', ['LaneMkgsDriv', 'LaneMkgsNonDriv', 'Road']),
    ('idd7', ['drivable']), ('vkitti2', ['Road']), ('nyud40', ['floor', 'floor mat']),
    ('nyud40+kitti6', ['floor', 'floor mat', 'road'])])
def test_the_ground_under_the_wheels_is_road_or_where_there_is_none_what_is_flagged(space, names):
    space = LabelSpace.load(space)
    assert [space.names[index] for index in wheel_ground(space)] == names


@pytest.mark.parametrize('classes, expected', [
    ([('grass', True), ('tree', False)], [0]), ([('Road', False), ('path', True)], [0]),
    ([('wall', False)], [])])
def test_the_ground_of_spaces_that_nobody_related_to_streets(classes, expected):
    space = LabelSpace.from_dict({'name': 'own', 'classes': [
        {'name': name, 'color': [index, 0, 0], 'ground': ground}
        for index, (name, ground) in enumerate(classes)]})
    assert wheel_ground(space).tolist() == expected


def test_a_model_without_labels_or_depth_cannot_be_scaled():
    assert missing_maps(frozenset({'depth', 'labels', 'confidence'})) == ''
    assert 'labels' in missing_maps(frozenset({'depth'}))
    assert 'depth' in missing_maps(frozenset({'labels'}))
