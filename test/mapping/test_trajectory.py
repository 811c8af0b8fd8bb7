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


"""Poses between stamps agree with scipy; a missing or implausible pose says why."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp
from sync_perception.mapping.trajectory import PoseLimits, SECOND, Trajectory


def pose(x: float = 0, turn: float = 0) -> np.ndarray:
    """Return a pose x metres to the right, turned about the camera's vertical axis."""
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(np.array([0, float(turn), 0]))[0]
    matrix[0, 3] = x
    return matrix


@pytest.fixture
def walk() -> Trajectory:
    """Return ten poses, 0.1 s and 0.1 m apart, at times that float64 seconds cannot hold."""
    start = 1_700_000_000 * SECOND + 1
    return Trajectory([start + index * SECOND // 10 for index in range(10)],
                      [pose(0.1 * index, 0.02 * index) for index in range(10)])


def test_interpolation_is_linear_and_slerp():
    """Positions agree with a line, and rotations with scipy's slerp."""
    turns = Rotation.random(2, random_state=3)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[:, :3, :3] = turns.as_matrix()
    poses[:, :3, 3] = np.random.default_rng(0).normal(size=(2, 3))
    trajectory = Trajectory([0, SECOND], poses, PoseLimits(gap=2))
    for share in (0.0, 0.125, 0.5, 0.9, 1.0):
        found = trajectory.at(round(share * SECOND)).world_T_camera
        np.testing.assert_allclose(
            found[:3, :3], Slerp([0, 1], turns)(share).as_matrix(), atol=1e-12)
        np.testing.assert_allclose(
            found[:3, 3], (1 - share) * poses[0, :3, 3] + share * poses[1, :3, 3], atol=1e-12)


def test_a_recorded_pose_is_returned_unchanged(walk):
    """A frame with a pose of its own needs no neighbours."""
    for stamp, recorded in walk:
        np.testing.assert_allclose(walk.at(stamp).world_T_camera, recorded, atol=1e-14)
        assert walk.at(stamp).reason == ''


@pytest.mark.parametrize(('offset', 'reason'), [(-SECOND, 'first'), (2 * SECOND, 'last')])
def test_no_pose_outside_of_the_range(walk, offset, reason):
    """Poses are not extrapolated."""
    found = walk.at(walk.stamps[0] + offset)
    assert found.world_T_camera is None
    assert reason in found.reason


def test_no_pose_in_a_long_gap(walk):
    """Neighbours that are too far apart in time give no pose, but they themselves do."""
    walk.append(walk.stamps[-1] + SECOND, pose(1))
    assert 'apart' in walk.at(walk.stamps[-1] - SECOND // 2).reason
    assert walk.at(walk.stamps[-1]).world_T_camera is not None


@pytest.mark.parametrize(('jumped', 'reason'), [
    (pose(20, 0.18), 'jump'), (pose(0.9, 0.18 + 2), 'turn')])
def test_no_motion_over_a_jump(walk, jumped, reason):
    """Neither poses within a jump nor motions over one are accepted."""
    last = walk.stamps[-1]
    walk.append(last + SECOND // 10, jumped)
    walk.append(last + SECOND // 5, jumped)
    assert reason in walk.at(last + SECOND // 20).reason
    assert reason in walk.motion(last - SECOND // 10, last + SECOND // 5).reason
    assert walk.motion(last + SECOND // 10, last + SECOND // 5).reason == ''


def test_motion_is_between_cameras(walk):
    """A point fixed in the world moves in the camera's frame by the motion."""
    earlier, later = walk.stamps[2], walk.stamps[5]
    point = np.array([1.0, 2.0, 3.0, 1.0])
    here, there = (np.linalg.inv(walk.at(stamp).world_T_camera) @ point
                   for stamp in (earlier, later))
    np.testing.assert_allclose(
        walk.motion(earlier, later).world_T_camera @ here, there, atol=1e-12)


def test_old_poses_are_forgotten():
    """A node's trajectory stays small."""
    trajectory = Trajectory(keep=5)
    for index in range(1000):
        trajectory.append(index, np.eye(4))
    assert len(trajectory) == 5
    assert 'first' in trajectory.at(3).reason


def test_times_must_ascend(walk):
    """Two poses at one time are refused, and so is a pose from the past."""
    with pytest.raises(ValueError, match='ascending'):
        walk.append(walk.stamps[-1], pose())
    with pytest.raises(ValueError, match='2 poses at 1 times'):
        Trajectory([0], [pose(), pose()])
    assert 'no poses' in Trajectory().at(0).reason


def test_rotations_are_made_orthogonal():
    """Rounded rotations of text files become exact ones, so that inverses are rigid."""
    rounded = np.round(pose(1, math.radians(30)), 3)
    rotation = Trajectory([0], [rounded]).at(0).world_T_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)


@pytest.mark.parametrize('name', ['gap', 'speed', 'turn_rate'])
def test_limits_are_positive(name):
    """A limit of zero would accept nothing."""
    with pytest.raises(ValueError, match=name):
        PoseLimits(**{name: 0.0})
