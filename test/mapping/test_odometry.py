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


"""Odometry on rendered frames follows the true poses; a missing pose has a reason."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sync_perception.datasets import open_dataset
from sync_perception.labels import LabelSpace
from sync_perception.mapping.odometry import VisualOdometry
from sync_perception.mapping.trajectory import angle
from sync_perception.runtime.mount_scale import Mount
from sync_perception.types import Frame, Prediction

SPACE = LabelSpace.load('vkitti2')


@pytest.fixture(scope='module')
def drive(rendered_drive) -> list[tuple[Frame, Prediction, np.ndarray]]:
    """Return frames of a rendered street with their true maps and poses."""
    data = open_dataset('vkitti2', rendered_drive)
    frames = []
    for index, sample_id in enumerate(data.ids):
        sample = data.read(sample_id)
        depth = np.where(np.isinf(sample.depth), np.nan, sample.depth).astype(np.float32)
        frames.append((Frame(sample.image, sample.K, index * 100_000_000),
                       Prediction(depth=depth, labels=sample.labels), data.pose(sample_id)))
    return frames


def error(found: np.ndarray, drive) -> tuple[float, float]:
    """Return the error of the last pose: share of the way, and degrees."""
    poses = [pose for _, _, pose in drive]
    way = sum(np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in zip(poses, poses[1:]))
    off = np.linalg.inv(found) @ np.linalg.inv(poses[0]) @ poses[-1]
    return np.linalg.norm(off[:3, 3]) / way, np.degrees(angle(off[:3, :3]))


@pytest.mark.parametrize('scale', [1.0, 1.25])
def test_true_depth_gives_the_true_poses(drive, scale):
    """The error is below 2 % of the way, and the way has the unit of the depth."""
    odometry = VisualOdometry(SPACE)
    for frame, prediction, _ in drive:
        scaled = Prediction(depth=prediction.depth * np.float32(scale), labels=prediction.labels)
        located = odometry.update(frame, scaled)
        assert located.reason == ''
    pose = located.world_T_camera.copy()
    pose[:3, 3] /= scale
    share, degrees = error(pose, drive)
    assert share < 0.02
    assert degrees < 0.2
    assert odometry.trajectory.stamps == [frame.stamp for frame, _, _ in drive]


@pytest.mark.parametrize('apart', [8, 9])
def test_a_camera_that_is_fast_from_its_first_frame(drive, apart):
    """At more than 4 m between two frames near corners, which show the scale, are found ahead."""
    odometry, frames = VisualOdometry(SPACE), [drive[0], drive[apart]]
    for frame, prediction, _ in frames:
        uncertainty = np.where(prediction.depth < 20, 0.1, 0.4) * prediction.depth
        located = odometry.update(frame, replace(
            prediction, uncertainty=uncertainty.astype(np.float32)))
    assert error(located.world_T_camera, frames)[0] < 0.05


def test_depth_of_uncertain_pixels_is_no_matter(drive):
    """A third of the image with wrong depth, said to be uncertain, hardly changes the poses."""
    odometry = VisualOdometry(SPACE)
    for frame, prediction, _ in drive:
        depth = prediction.depth.copy()
        depth[:125] *= 1.6
        uncertainty = np.full_like(depth, 0.01)
        uncertainty[:125] = 0.5
        located = odometry.update(frame, Prediction(
            depth=depth, labels=prediction.labels, uncertainty=uncertainty * depth))
    share, degrees = error(located.world_T_camera, drive)
    assert share < 0.03
    assert degrees < 0.5


def test_things_that_may_move_are_not_tracked(drive):
    """A large textured car that drives along with the camera does not slow the odometry."""
    texture = cv2.resize(np.random.default_rng(0).integers(
        0, 256, (30, 80, 3), dtype=np.uint8), (320, 120), interpolation=cv2.INTER_NEAREST)
    odometry = VisualOdometry(SPACE)
    for frame, prediction, _ in drive:
        image, labels, depth = frame.image.copy(), prediction.labels.copy(), (
            prediction.depth.copy())
        image[100:220, 240:560] = texture
        labels[100:220, 240:560], depth[100:220, 240:560] = SPACE.index('Car'), 8
        located = odometry.update(
            Frame(image, frame.K, frame.stamp), Prediction(depth=depth, labels=labels))
    share, degrees = error(located.world_T_camera, drive)
    assert share < 0.02
    assert degrees < 0.3


def test_the_cameras_height_gives_the_scale(drive):
    """
    Depth that is wrong by a quarter does not matter where the height above the road is known.

    The rendered camera's pitch is not told; its motion shows it.
    """
    odometry = VisualOdometry(SPACE, mount=Mount(1.65))
    for frame, prediction, _ in drive:
        located = odometry.update(frame, Prediction(
            depth=prediction.depth * np.float32(1.25), labels=prediction.labels))
    share, degrees = error(located.world_T_camera, drive)
    assert share < 0.06
    assert degrees < 0.3


def test_a_blind_frame_has_no_pose_and_the_next_ones_go_on(drive):
    """The reason names the corners; afterwards there are poses again, near the true ones."""
    odometry = VisualOdometry(SPACE)
    reasons = []
    for index, (frame, prediction, _) in enumerate(drive):
        if index == 6:
            frame = Frame(np.full_like(frame.image, 30), frame.K, frame.stamp)
        located = odometry.update(frame, prediction)
        reasons.append(located.reason)
        assert (located.world_T_camera is None) == bool(located.reason)
    assert all('corners' in reason for reason in reasons[6:8])
    assert not any(reasons[:6] + reasons[8:])
    assert len(odometry.trajectory) == len(drive) - 2
    assert error(located.world_T_camera, drive)[0] < 0.1
