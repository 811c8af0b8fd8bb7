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


"""Visual odometry of one camera on predicted metric depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from sync_perception.labels import LabelSpace, with_flags
from sync_perception.mapping.ground_plane import GroundPlane
from sync_perception.mapping.landmarks import Landmarks
from sync_perception.mapping.pose_refinement import refine_pose
from sync_perception.mapping.trajectory import Located, PoseLimits, Trajectory
from sync_perception.runtime.mount_scale import Mount
from sync_perception.types import Frame, Prediction

TRACKING = {
    'winSize': (13, 13), 'maxLevel': 3,
    'criteria': (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03)}
"""Pyramidal Lucas-Kanade tracking: window in pixels, levels above the first, end of iterations."""
SCALE_FREE_DEVIATION = 1.0
"""Least deviation of predicted ln(depth) where the camera's height gives the scale."""
FORWARD_BACKWARD_ERROR = 0.5
"""Greatest forward-backward error of a tracked corner, pixels."""
STARTS = (0.0, 1.0, 2.5, 5.0)
"""Motions forward between two frames, metres, that are tried where the motion is not known."""
WINDOW, STEP = 5, 0.8
"""Pixels around a corner, and ratio of depths among them that is an edge."""
ODOMETRY_MAPS = frozenset({'depth', 'labels'})
"""Outputs that odometry needs of a prediction; uncertainty is used if available."""
ODOMETRY = 'odometry'
"""Name of the poses that the camera's own images give, as an argument of a user."""


@dataclass(frozen=True)
class OdometrySettings:
    """
    Settings of visual odometry.

    :param corners: number of corners that are tracked.
    :param refill: share of `corners` below which new ones are added.
    :param on_ground: share of new corners that lie on the ground, whose predicted depth is the
        most accurate; corners elsewhere are stronger and would leave none there.
    :param spacing: least distance of corners, pixels.
    :param quality: least strength of a corner, relative to the strongest of its region.
    :param deviation: standard deviation of the predicted ln(depth) beside its own uncertainty.
    :param max_uncertainty: uncertainty of ln(depth) beyond which predicted depth is not used: such
        a landmark constrains the rotation and the direction of the motion, but not its length.
    :param repeated: factor of the deviation of depth in later frames, whose errors resemble those
        of the first.
    :param pixel: standard deviation of a tracked pixel.
    :param outlier: whitened error beyond which a landmark does not agree with a pose.
    :param agreeing: share of the landmarks that must agree with a pose.
    :param fewest: number of landmarks that must agree with a pose.
    :param far: greatest depth of new landmarks, metres.
    """

    corners: int = 500
    refill: float = 0.8
    on_ground: float = 0.8
    spacing: int = 12
    quality: float = 0.002
    deviation: float = 0.05
    max_uncertainty: float = 0.15
    repeated: float = 2.0
    pixel: float = 0.7
    outlier: float = 3.0
    agreeing: float = 0.5
    fewest: int = 15
    far: float = 100.0


class VisualOdometry:
    """
    Poses of a moving camera from corners tracked over consecutive frames.

    Corners on static classes with predicted depth become landmarks. The pose of a frame minimises
    their reprojection errors, weighted by the uncertainty of depth (`refine_pose`). Landmarks are
    kept as long as they are tracked, and their depth is refined by parallax and by the depth that
    later frames predict, so that the error of a single frame's depth has little effect. The world
    frame is the first camera's frame.

    The scale of the trajectory is that of the predicted depth, or that of the camera's height if
    the mount is given (`GroundPlane`).

    :param space: label space of the predictions; classes that move or have no depth are excluded.
    :param settings: thresholds.
    :param limits: motions that are plausible.
    :param mount: mount of the camera on a vehicle; None if it is not known.
    :ivar trajectory: poses of the frames so far, except those rejected.
    :ivar reason: why the last frame has no pose; empty if it has one.
    """

    def __init__(self, space: LabelSpace, settings: OdometrySettings | None = None,
                 limits: PoseLimits | None = None, mount: Mount | None = None):
        self.settings = settings or OdometrySettings()
        self.plane = None if mount is None else GroundPlane(mount, space)
        self.static, self.ground = np.zeros((2, 256), np.uint8)
        self.static[:len(space)] = ~(space.dynamic | space.infinite)
        self.ground[:len(space)] = with_flags(space).ground
        self.trajectory = Trajectory(limits=limits)
        self.reason = ''
        self._landmarks = Landmarks.none()
        self._gray: np.ndarray | None = None
        self._pose = self._step = np.eye(4)
        self._moves_on = False
        self._nearest = np.empty((0, 0), np.float32)

    def update(self, frame: Frame, prediction: Prediction) -> Located:
        """
        Return the pose of a frame that follows the others, world_T_camera.

        A frame without enough agreeing corners has none. The next frames then continue from where
        the camera would be if it had kept its velocity.

        :param frame: rectified, later than the frames before.
        :param prediction: its depth and labels, and uncertainty if available.
        """
        gray = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        self._nearest = nearer_at_edges(prediction.depth)
        self.reason = ''
        if self._gray is not None:
            camera_T_world = self._follow(gray, frame.K, prediction.labels)
            pose = np.linalg.inv(camera_T_world)
            if self.reason:
                self._landmarks = Landmarks.none()
            else:
                self._step = camera_T_world @ self._pose
                if self.plane is not None:
                    self.plane.update(np.linalg.inv(self._step)[:3, 3])
                self._refine(frame.K, camera_T_world, prediction)
            self._pose, self._moves_on = pose, not self.reason
        self._add(gray, frame.K, prediction)
        self._gray = gray
        if self.reason:
            return Located(None, self.reason)
        self.trajectory.append(frame.stamp, self._pose)
        return Located(self._pose)

    def _follow(self, gray: np.ndarray, K: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """
        Return camera_T_world of a new image, and note why there is no pose.

        The camera is expected to move on as before. If its motion is not known, that of `STARTS`
        counts with which most landmarks of known depth are found again: after a few metres, near
        landmarks are too far from where they were, and those that are still found do not show the
        scale.
        """
        landmarks, best = self._landmarks, None
        for start in STARTS[:1] if self._moves_on else STARTS:
            self._landmarks = landmarks.where(slice(None))
            step = self._step.copy()
            step[2, 3] -= start
            expected = step @ np.linalg.inv(self._pose)
            self._track(gray, K, expected, labels)
            camera_T_world, reason = self._locate(K, expected)
            found = -1 if reason else int(self._landmarks.are_known.sum())
            if best is None or found > best[0]:
                best = found, camera_T_world, reason, self._landmarks
        _, camera_T_world, self.reason, self._landmarks = best
        return camera_T_world

    def _track(self, gray: np.ndarray, K: np.ndarray, expected: np.ndarray, labels: np.ndarray
               ) -> None:
        """Follow the landmarks into a new image; drop those that are lost or may move."""
        if not len(self._landmarks):
            return
        guess = self._landmarks.projected(K, expected)[0].astype(np.float32)
        pixel, found, _ = cv2.calcOpticalFlowPyrLK(
            self._gray, gray, self._landmarks.pixel, guess,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **TRACKING)
        back, returned, _ = cv2.calcOpticalFlowPyrLK(
            gray, self._gray, pixel, self._landmarks.pixel.copy(),
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **TRACKING)
        height, width = labels.shape
        kept = ((found & returned)[:, 0] > 0) & (
            np.abs(back - self._landmarks.pixel).max(axis=1) < FORWARD_BACKWARD_ERROR) & (
            pixel >= 0).all(axis=1) & (pixel <= (width - 1, height - 1)).all(axis=1)
        columns, rows = np.rint(pixel[kept]).astype(int).T
        kept[kept] = self.static[labels[rows, columns]] > 0
        self._landmarks.pixel = pixel
        self._landmarks = self._landmarks.where(kept)

    def _locate(self, K: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, str]:
        """Return camera_T_world by the landmarks, or the expected one and why there is no pose."""
        settings, count = self.settings, len(self._landmarks)
        if count < settings.fewest:
            return expected, f'{count} corners were found again, {settings.fewest} are needed'
        camera_T_world, agreeing = self._refined(K, expected)
        if agreeing.mean() < settings.agreeing:
            camera_T_world, agreeing = self._refined(K, self._by_ransac(K, expected))
        if agreeing.sum() < settings.fewest or agreeing.mean() < settings.agreeing:
            return expected, f'{agreeing.sum()} of {count} corners agree on a motion of the camera'
        self._landmarks = self._landmarks.where(agreeing)
        return camera_T_world, ''

    def _refined(self, K: np.ndarray, camera_T_world: np.ndarray
                 ) -> tuple[np.ndarray, np.ndarray]:
        """Return the refined pose, camera_T_world, and which landmarks agree with it."""
        settings = self.settings
        camera_T_world, squared = refine_pose(
            camera_T_world, self._landmarks, K, settings.pixel ** 2)
        return camera_T_world, squared < settings.outlier ** 2

    def _by_ransac(self, K: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Return an estimate of the pose, camera_T_world, that needs no good first guess."""
        found, turn, shift, _ = cv2.solvePnPRansac(
            self._landmarks.points, self._landmarks.pixel.astype(np.float64), K, None,
            reprojectionError=4.0, iterationsCount=300, flags=cv2.SOLVEPNP_SQPNP)
        if not found:
            return expected
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
        return pose

    def _refine(self, K: np.ndarray, camera_T_world: np.ndarray, prediction: Prediction) -> None:
        """Refine the depth of the landmarks by the latest frame, and drop implausible ones."""
        landmarks = self._landmarks
        pixels, points, slope = landmarks.projected(K, camera_T_world)
        landmarks.observe(slope, landmarks.pixel - pixels, self.settings.pixel ** 2)
        depth, deviation = self._depth_at(landmarks.pixel, prediction, K)
        landmarks.measure(depth, deviation * self.settings.repeated, points, camera_T_world)
        points = landmarks.projected(K, camera_T_world)[1]
        self._landmarks = landmarks.where((landmarks.inverse > 1e-4) & (points[:, 2] > 0.5))

    def _add(self, gray: np.ndarray, K: np.ndarray, prediction: Prediction) -> None:
        """Add landmarks at new corners, found in the image at half its size, if many are lost."""
        settings = self.settings
        if len(self._landmarks) >= settings.refill * settings.corners:
            return
        half = (gray.shape[1] // 2, gray.shape[0] // 2)
        scale = np.divide(gray.shape[::-1], half)
        small = cv2.resize(gray, half, interpolation=cv2.INTER_AREA)
        labels, nearest = (cv2.resize(values, half, interpolation=cv2.INTER_NEAREST)
                           for values in (prediction.labels, self._nearest))
        usable = cv2.LUT(labels, self.static) & (nearest < settings.far)
        for u, v in np.rint(self._landmarks.pixel / scale).astype(int).tolist():
            cv2.circle(usable, (u, v), settings.spacing // 2, 0, -1)
        ground = cv2.LUT(labels, self.ground)
        columns, rows = np.rint(self._landmarks.pixel).astype(int).T
        there = int(self.ground[prediction.labels[rows, columns]].sum())
        missing = int(settings.corners * settings.on_ground) - there
        for mask in (usable & ground, usable & (1 - ground)):
            corners = None if missing < 1 else cv2.goodFeaturesToTrack(
                small, missing, settings.quality, settings.spacing // 2, mask=mask)
            if corners is not None:
                pixel = ((corners[:, 0] + 0.5) * scale - 0.5).astype(np.float32)
                depth, deviation = self._depth_at(pixel, prediction, K)
                new = Landmarks.seen(pixel, K, self._pose, depth, deviation)
                self._landmarks = self._landmarks.joined(new.where(depth > 0))
            missing = settings.corners - len(self._landmarks)

    def _depth_at(self, pixel: np.ndarray, prediction: Prediction, K: np.ndarray
                  ) -> tuple[np.ndarray, np.ndarray]:
        """Return the depth at pixels, and the standard deviation of its logarithm."""
        columns, rows = np.rint(pixel).astype(int).T
        depth = self._nearest[rows, columns].astype(np.float64)
        deviation = np.full(len(depth), self.settings.deviation)
        if prediction.uncertainty is not None:
            own = prediction.uncertainty[rows, columns] / depth
            deviation = np.where(
                own < self.settings.max_uncertainty, np.hypot(deviation, own), 1.0)
        if self.plane is not None:
            ground = self.plane.depth(pixel, prediction.labels[rows, columns], K)
            known = np.isfinite(ground)
            depth = np.where(known, ground, depth)
            deviation = np.where(known, self.settings.deviation, np.maximum(
                deviation, SCALE_FREE_DEVIATION))
        return np.where(np.isfinite(depth), depth, np.nan), deviation


def check_outputs(purpose: str, predictor: Any) -> None:
    """
    Check that a model predicts what odometry needs.

    :param purpose: the argument that asks for it, for the message.
    :raises ValueError: if an output is missing.
    """
    missing = sorted(ODOMETRY_MAPS - predictor.available)
    if missing:
        raise ValueError(
            f'{purpose} needs {" and ".join(sorted(ODOMETRY_MAPS))}, but {predictor.model_name} '
            f'does not predict {" and ".join(missing)}')


def nearer_at_edges(depth: np.ndarray) -> np.ndarray:
    """
    Return depth in which pixels beside an edge have the depth of the nearer surface.

    A corner at an edge belongs to the nearer surface, but may be a pixel beside it.

    :param depth: float32 (H, W), metres, NaN where unknown.
    :return: float32 (H, W), inf where unknown.
    """
    filled = cv2.patchNaNs(depth.copy(), np.inf)
    nearest = cv2.erode(filled, np.ones((WINDOW, WINDOW), np.uint8))
    np.copyto(filled, nearest, where=nearest < STEP * filled)
    return filled
