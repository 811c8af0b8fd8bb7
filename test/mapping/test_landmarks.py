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


"""Landmarks project as geometry does, and their depth is fused as textbooks say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sync_perception.geometry import project, transform
from sync_perception.mapping.landmarks import Landmarks
from sync_perception.mapping.pose_refinement import moved, pose_jacobian, refine_pose

K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def pose(angles, shift) -> np.ndarray:
    """Return a rigid transform."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', angles).as_matrix()
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture
def landmarks() -> Landmarks:
    """Return points first seen by a camera away from the origin."""
    random = np.random.default_rng(0)
    pixel = random.uniform((0, 0), (640, 480), (200, 2)).astype(np.float32)
    return Landmarks.seen(pixel, K, pose((0.1, -0.2, 0.05), (1, 2, 3)),
                          random.uniform(3, 30, 200), np.full(200, 0.1))


def test_landmarks_project_to_where_they_were_seen(landmarks):
    """In the first camera, the points lie at their pixels."""
    there = np.linalg.inv(pose((0.1, -0.2, 0.05), (1, 2, 3)))
    pixels, points, _ = landmarks.projected(K, there)
    np.testing.assert_allclose(pixels, landmarks.pixel, atol=1e-4)
    np.testing.assert_allclose(project(points, K), pixels)
    np.testing.assert_allclose(points, transform(landmarks.points, there))


def test_slopes_are_derivatives(landmarks):
    """The derivatives by inverse depth and by the pose agree with differences."""
    there = np.linalg.inv(pose((0.1, -0.1, 0.0), (1.5, 2, 4)))
    pixels, points, slope = landmarks.projected(K, there)
    landmarks.inverse += 1e-7
    np.testing.assert_allclose(
        (landmarks.projected(K, there)[0] - pixels) / 1e-7, slope, rtol=1e-3, atol=1e-2)
    landmarks.inverse -= 1e-7
    jacobian = pose_jacobian(points, K)
    for axis in range(6):
        step = np.eye(6)[axis] * 1e-7
        difference = (landmarks.projected(K, moved(there, step))[0] - pixels) / 1e-7
        np.testing.assert_allclose(jacobian[..., axis], difference, rtol=1e-3, atol=1e-2)


def test_a_second_depth_gives_the_textbook_mean(landmarks):
    """Two inverse depths with known variances give the mean weighted by 1 / variance."""
    there = np.linalg.inv(pose((0.1, -0.2, 0.05), (1, 2, 3)))
    before, first = 1 / landmarks.inverse, 1 / landmarks.variance
    second = before * 1.05
    deviation = np.full(len(second), 0.2)
    landmarks.measure(second, deviation, landmarks.projected(K, there)[1], there)
    weight = 1 / (deviation / second) ** 2
    expected = (first / before + weight / second) / (first + weight)
    np.testing.assert_allclose(landmarks.inverse, expected, rtol=1e-6)
    np.testing.assert_allclose(landmarks.variance, 1 / (first + weight), rtol=1e-6)


def test_a_depth_that_contradicts_is_not_used(landmarks):
    """A depth beyond three deviations changes nothing, and neither does NaN."""
    there = np.linalg.inv(pose((0.1, -0.2, 0.05), (1, 2, 3)))
    before = landmarks.inverse.copy()
    points = landmarks.projected(K, there)[1]
    for depth in (points[:, 2] * 3, np.full(len(points), np.nan)):
        landmarks.measure(depth, np.full(len(points), 0.1), points, there)
        np.testing.assert_array_equal(landmarks.inverse, before)


def test_parallax_corrects_depth(landmarks):
    """Seen from the side, points with wrong depth move to the true depth."""
    true = landmarks.inverse.copy()
    there = np.linalg.inv(pose((0.1, -0.2, 0.05), (3, 2, 3)))
    seen = landmarks.projected(K, there)[0]
    landmarks.inverse = true * 1.05
    for _ in range(3):
        pixels, _, slope = landmarks.projected(K, there)
        landmarks.observe(slope, seen - pixels, 0.01 ** 2)
    np.testing.assert_allclose(landmarks.inverse, true, rtol=1e-3)


def test_the_pose_is_found_despite_outliers(landmarks):
    """A tenth of wrong pixels hardly moves the pose."""
    true = np.linalg.inv(pose((0.12, -0.25, 0.05), (1.2, 2.1, 3.8)))
    landmarks.pixel = landmarks.projected(K, true)[0].astype(np.float32)
    landmarks.pixel[::10] += 30
    start = np.linalg.inv(pose((0.1, -0.2, 0.05), (1, 2, 3)))
    found, squared = refine_pose(start, landmarks, K, 0.25)
    np.testing.assert_allclose(found, true, atol=5e-3)
    assert (squared[::10] > 9).mean() > 0.8
    assert (np.delete(squared, np.s_[::10]) < 1).all()


def test_unknown_depth_leaves_the_direction(landmarks):
    """With depths wrong by half but said to be unknown, the direction of motion is right."""
    true = np.linalg.inv(pose((0.1, -0.2, 0.05), (1.3, 2, 3.9)))
    start = np.linalg.inv(pose((0.1, -0.2, 0.05), (1, 2, 3)))
    landmarks.pixel = landmarks.projected(K, true)[0].astype(np.float32)
    random = np.random.default_rng(1)
    landmarks.inverse *= np.exp(random.normal(0, 0.4, len(landmarks)))
    landmarks.variance = (landmarks.inverse * 0.8) ** 2
    found, _ = refine_pose(start, landmarks, K, 0.1)
    steps = [np.linalg.inv(start @ np.linalg.inv(each))[:3, 3] for each in (true, found)]
    cosine = steps[0] @ steps[1] / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])
    assert np.degrees(np.arccos(cosine)) < 2
