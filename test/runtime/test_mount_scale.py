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

import numpy as np
import pytest
from sync_perception.runtime.mount_scale import Mount, MountScale
from sync_perception.types import Prediction

K = np.array([[700.0, 0, 320], [0, 700, 150], [0, 0, 1]])
SIZE = (300, 640)
ROAD, OTHER = 0, 5


def street(height=1.6, pitch=0.0, roll=0.0):
    """Return true depth and labels of flat ground, computed point by point from rotations."""
    cp, sp, cr, sr = math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll)
    # camera = Rz(-roll) Rx(-pitch) world, in optical axes: x right, y down, z forward
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    camera_R_world = about_z @ about_x
    v, u = np.mgrid[:SIZE[0], :SIZE[1]]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(SIZE)], axis=-1)
    towards = (rays @ camera_R_world)[..., 1]  # along the world's y, down
    depth = np.where(towards > 1e-3, height / np.maximum(towards, 1e-3), np.nan)
    depth[depth > 60] = np.nan
    labels = np.where(np.isfinite(depth), ROAD, OTHER).astype(np.uint8)
    return depth.astype(np.float32), labels


@pytest.mark.parametrize('pitch, roll', [(0.0, 0.0), (0.06, 0.0), (-0.04, 0.05), (0.1, -0.1)])
@pytest.mark.parametrize('error', [0.8, 1.0, 1.25])
def test_the_factor_undoes_a_wrong_scale(pitch, roll, error):
    depth, labels = street(1.6, pitch, roll)
    scale = MountScale(Mount(1.6, pitch, roll), np.array([ROAD]))
    assert scale.update(depth * np.float32(error), labels, K) == pytest.approx(1 / error, rel=2e-3)
    assert scale.doubt == '' and scale.frames == 1


def test_it_is_robust_to_a_third_of_wrong_ground_and_to_noise():
    depth, labels = street()
    rng = np.random.default_rng(0)
    predicted = depth * 1.2 * np.exp(rng.normal(0, 0.04, SIZE))
    predicted[:, :200] *= 1.5  # a kerb, or another class that was taken for road
    scale = MountScale(Mount(1.6), np.array([ROAD]))
    assert scale.update(predicted, labels, K) == pytest.approx(1 / 1.2, rel=0.04)


def test_a_bonnet_or_a_wrong_pitch_are_not_believed():
    depth, labels = street()
    bonnet = depth.copy()
    bonnet[200:] = 1.3  # the bonnet, labelled as road
    scale = MountScale(Mount(1.6), np.array([ROAD]))
    assert scale.update(bonnet, labels, K) == 1.0
    assert scale.doubt
    tilted = MountScale(Mount(1.6, pitch=0.06), np.array([ROAD]))
    assert tilted.update(depth, labels, K) == 1.0
    assert 'near and far' in tilted.doubt or 'agree' in tilted.doubt


@pytest.mark.parametrize('change, said', [
    (lambda depth, labels: labels.fill(OTHER), '0.0%'),
    (lambda depth, labels: depth.fill(np.nan), '0.0%'),
    (lambda depth, labels: np.multiply(depth, 3, out=depth), '0.33')])
def test_what_cannot_be_believed_keeps_the_last_factor(change, said):
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]))
    scale.update(depth / np.float32(1.1), labels, K)
    change(depth, labels)
    assert scale.update(depth, labels, K) == pytest.approx(1.1, rel=1e-3)
    assert said in scale.doubt


def test_factors_are_smoothed_over_frames():
    """After the first frame a new factor counts a fifth, in logarithms."""
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]))
    scale.update(depth, labels, K)
    found = scale.update(depth / np.float32(1.3), labels, K)
    assert math.log(found) == pytest.approx(0.2 * math.log(1.3), rel=1e-2)
    for _ in range(30):
        found = scale.update(depth / np.float32(1.3), labels, K)
    assert found == pytest.approx(1.3, rel=1e-2)


def test_depth_and_uncertainty_are_scaled_and_the_rest_is_not():
    depth, labels = street()
    scale = MountScale(Mount(1.6), np.array([ROAD]))
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
