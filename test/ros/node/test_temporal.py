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

"""Frames of the perception node that are fused over time, by the poses of a topic."""

from __future__ import annotations

from conditions import wait_until
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from map_bench import header
from node_bench import Bench, K, picture, RELIABLE
import numpy as np
import pytest
from sync_perception.ros.io.map_messages import pose_message
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame

STEP = 10 ** 8
"""Nanoseconds between two frames."""


class Drive(Bench):
    """A camera whose images are noisy, and a robot that publishes its poses."""

    def __init__(self, model):
        super().__init__()
        self.network = Predictor(model, 'cpu')
        self.pose_publisher = self.others.create_publisher(PoseStamped, 'pose', RELIABLE)
        self.reports: list[DiagnosticStatus] = []
        self.others.create_subscription(DiagnosticArray, '/diagnostics', self._note, RELIABLE)
        self.random = np.random.default_rng(0)
        self.stamp = 10 ** 9

    def _note(self, array: DiagnosticArray) -> None:
        self.reports += [each for each in array.status if 'camera' in each.name]

    def fuse(self, **parameters) -> Drive:
        """Start the node with temporal fusion."""
        self.start(('depth', 'semantics'), lambda values: self.network, temporal='fuse',
                   **parameters)
        return self

    def follow(self, **parameters) -> Drive:
        """Start the node with temporal fusion by the poses of a topic."""
        self.fuse(poses__source='pose', **parameters)
        self.wait(lambda: self.pose_publisher.get_subscription_count()
                  and self.camera.waiting.poses.subscription.get_publisher_count())
        return self

    def look(self) -> np.ndarray:
        """Publish the next image with its calibration, and return it."""
        self.stamp += STEP
        noise = self.random.normal(0, 40, picture().shape)
        image = np.clip(picture() + noise, 0, 255).astype(np.uint8)
        self.send_info(self.stamp)
        self.send_image(self.stamp, image)
        return image

    def stand(self, stamp: int, x: float = 0.0, frame_id: str = 'odom') -> None:
        """Publish a pose."""
        pose = np.eye(4)
        pose[0, 3] = x
        self.pose_publisher.publish(
            PoseStamped(header=header(stamp, frame_id), pose=pose_message(pose)))

    def answer(self) -> np.ndarray:
        """Wait for the answer to the latest image, and return its depth."""
        def latest():
            return [each for each in self.received['depth'] if (
                each.header.stamp.sec * 10 ** 9 + each.header.stamp.nanosec) == self.stamp]
        self.wait(latest)
        return np.frombuffer(latest()[0].data, np.float32)

    @property
    def temporal(self):
        """Return what fuses the frames of the camera."""
        return self.camera.temporal.temporal


@pytest.fixture
def drive(ros, small_model):
    """Return a drive that is cleared away after the test."""
    made = Drive(small_model)
    yield made
    made.close()


def frame_of(image: np.ndarray) -> Frame:
    """Return the frame of an image."""
    return Frame(image, K)


def changes(depths) -> float:
    """Return the mean change of ln(depth) from frame to frame."""
    logs = np.log(depths)
    return float(np.nanmean(np.abs(np.diff(logs, axis=0))))


def test_frames_with_poses_become_steady(drive):
    """A camera at rest sees noise, which changes the fused depth less than half as much."""
    drive.follow(poses__patience=30.0)
    images, depths = [], []
    for index in range(7):
        if index % 2:  # the pose before the image, or after it
            drive.stand(drive.stamp + STEP)
            images.append(drive.look())
        else:
            images.append(drive.look())
            drive.stand(drive.stamp)
        depths.append(drive.answer())
        drive.temporal.fusion.dynamic = np.zeros(99, bool)  # the network is random
    single = [drive.network.predict(frame_of(image)).depth.ravel() for image in images]
    np.testing.assert_array_equal(depths[0], single[0])
    assert changes(depths[3:]) < 0.5 * changes(single[3:])
    assert drive.temporal.alone == 0 and not drive.camera.troubles


def test_a_frame_without_pose_is_predicted_alone_and_said(drive):
    """A pose that is missing or old, and poses that jump, are warnings; the frame is answered."""
    drive.follow(poses__patience=0.05)

    def alone(reason: str) -> None:
        before = drive.temporal.alone if drive.temporal else 0
        image = drive.look()
        depth = drive.answer()
        assert drive.temporal.alone == before + 1 and reason in drive.camera.troubles['pose']
        np.testing.assert_array_equal(depth, drive.network.predict(frame_of(image)).depth.flat)

    def fused() -> None:
        before = drive.temporal.alone
        drive.look()
        drive.answer()
        assert drive.temporal.alone == before and 'pose' not in drive.camera.troubles

    alone('no poses')
    wait_until(lambda: any('no poses' in each.message and each.level == DiagnosticStatus.WARN
                           for each in drive.reports))
    came(drive, 1, lambda: drive.stand(drive.stamp + STEP))
    fused()
    alone('older')
    came(drive, 2, lambda: drive.stand(drive.stamp + STEP, 500.0))
    alone('jump')
    came(drive, 3, lambda: drive.stand(drive.stamp + STEP, 500.1))
    fused()
    wait_until(lambda: any(value.key == 'frames predicted alone' and value.value == '3 of 5'
                           for value in drive.reports[-1].values))
    drive.stand(drive.stamp + STEP, 500.1, 'map')
    wait_until(lambda: drive.counters.refused['pose frame'] == 1)


def came(drive, count: int, send) -> None:
    """Send a pose and wait until the node has it."""
    send()
    wait_until(lambda: len(drive.camera.waiting.poses.trajectory) == count)


def test_a_recording_that_starts_again_is_fused_anew(drive):
    """The poses before are forgotten, and the first frame is not fused with the last one."""
    drive.follow(poses__patience=30.0)
    for x in (0.0, 400.0):
        drive.stamp = 10 ** 9 if x else 5 * 10 ** 9
        for _ in range(2):
            drive.look()
            drive.stand(drive.stamp, x)
            drive.answer()
    assert drive.temporal.alone == 0 and drive.counters.published == 4


def test_visual_odometry_gives_the_poses(drive):
    """Without other poses they are determined from the images; nothing need wait."""
    drive.fuse()
    for _ in range(3):
        drive.look()
        drive.answer()
    assert drive.camera.waiting is None and drive.temporal.poses is not None
    assert drive.temporal.frames == 3


@pytest.mark.parametrize(('parameters', 'named'), [
    ({'poses__source': 'pose', 'cameras': ['left', 'right']}, 'poses.source'),
    ({'poses__source': 'file'}, 'poses.file')])
def test_contradictions_keep_the_node_from_starting(drive, parameters, named):
    """The problem names the parameter."""
    drive.fuse(**parameters)
    assert drive.node.state != 'active' and named in drive.node.problem


def test_a_model_of_relative_depth_is_refused(drive, monkeypatch):
    """Depth without scale cannot be fused by poses, neither at the start nor later."""
    monkeypatch.setattr(type(drive.network), 'relative', 'depth is relative')
    drive.fuse()
    assert drive.node.state == 'unconfigured' and 'metric' in drive.node.problem
