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

"""Odometry in a level frame: x ahead, y to the left, z up; it starts again when time goes back."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.mapping.level_odometry import LevelOdometry
from sync_perception.types import Frame, Prediction

SPACE = LabelSpace.load('driving')
SIZE = (60, 80)
K = np.array([[60.0, 0, 39.5], [0, 60, 29.5], [0, 0, 1]])


def update(odometry: LevelOdometry, stamp: int):
    """Return the pose of a camera at rest before a wall with corners."""
    image = np.kron(np.indices((12, 16)).sum(axis=0) % 2, np.ones((5, 5)))[..., None] * 200
    prediction = Prediction(np.full(SIZE, 5, np.float32),
                            np.full(SIZE, SPACE.index('building'), np.uint8))
    return odometry.update(Frame(image.repeat(3, axis=2).astype(np.uint8), K, stamp), prediction)


def test_the_first_pose_is_that_of_the_mount():
    """A camera 1.5 m above the ground looks down by the pitch."""
    pose = update(LevelOdometry(SPACE, height=1.5, pitch=0.1), 0).world_T_camera
    np.testing.assert_allclose(pose[:3, 3], [0, 0, 1.5])
    np.testing.assert_allclose(pose[:3, :3] @ [0, 0, 1], [np.cos(0.1), 0, -np.sin(0.1)])
    np.testing.assert_allclose(pose[:3, :3] @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_a_camera_at_rest_stays():
    """Without a height, the camera is the origin."""
    odometry = LevelOdometry(SPACE)
    poses = [update(odometry, stamp).world_T_camera for stamp in (1, 2, 3)]
    np.testing.assert_allclose(poses[-1], poses[0], atol=1e-3)
    np.testing.assert_allclose(poses[0][:3, 3], 0)
    assert odometry.restarts == 0


def test_it_starts_again_when_time_goes_back():
    """The poses before are forgotten."""
    odometry = LevelOdometry(SPACE, height=1.5)
    for stamp in (10, 20, 5, 15):
        located = update(odometry, stamp)
    assert odometry.restarts == 1
    assert odometry.odometry.trajectory.stamps == [5, 15]
    np.testing.assert_allclose(located.world_T_camera[:3, 3], [0, 0, 1.5], atol=1e-3)
