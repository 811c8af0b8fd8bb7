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

"""Scale correction of predicted depth from the camera's known height above the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any

import numpy as np
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace, with_flags
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame, Prediction

ROW_STEP, COLUMN_STEP = 4, 8
"""Strides of the sampled rows and columns; the ground is smooth."""
PATIENCE = 100
"""Number of frames among which at least one should have been accepted."""
SCALED_MAPS = frozenset({'depth', 'uncertainty'})
"""Outputs that are scaled."""
MOUNT_SCALE_MAPS = frozenset({'depth', 'labels'})
"""Outputs that are needed to estimate the scale."""


@dataclass(frozen=True)
class Mount:
    """
    Pose of a camera above flat ground.

    :param height: height of the optical centre above the ground, metres.
    :param pitch: downward pitch in radians; negative if the camera looks up.
    :param roll: clockwise rotation about the optical axis, radians.
    :raises ValueError: if the height is not positive, or an angle is not within a quarter turn.
    """

    height: float
    pitch: float = 0.0
    roll: float = 0.0

    def __post_init__(self):
        """Validate the height and the angles."""
        if not (math.isfinite(self.height) and self.height > 0):
            raise ValueError(f'camera height: expected positive metres, got {self.height}')
        for name, angle in (('pitch', self.pitch), ('roll', self.roll)):
            if not abs(angle) < math.pi / 2:
                raise ValueError(f'camera {name}: expected radians within pi / 2, got {angle}')

    @property
    def down(self) -> np.ndarray:
        """Return the unit vector to the ground in the optical frame, float64 (3,)."""
        level = math.cos(self.pitch)
        return np.array([
            level * math.sin(self.roll), level * math.cos(self.roll), math.sin(self.pitch)])

    @classmethod
    def from_transform(
            cls, translation: Sequence[float], rotation: Sequence[float]) -> Mount:
        """
        Return the mount for the transform ground_T_camera.

        :param translation: x, y, z in metres of the optical frame in a ground frame, whose z axis
            points up and is 0 on the ground.
        :param rotation: quaternion x, y, z, w of the optical frame in the ground frame.
        :raises ValueError: if a camera with this pose does not see the ground ahead.
        """
        length = math.hypot(*rotation)
        if not (math.isfinite(length) and length > 0):
            raise ValueError(f'camera rotation: expected a quaternion, got {tuple(rotation)}')
        x, y, z, w = (value / length for value in rotation)
        # the ground frame's -z axis in the optical frame: the negated third row of the rotation
        down = 2 * (w * y - x * z), -2 * (y * z + w * x), 2 * (x * x + y * y) - 1
        if not down[1] > 0:
            raise ValueError(
                'camera rotation: expected an optical frame, z forward and y down, above the '
                f"ground's z axis; got one in which {down[0]:.2f}, {down[1]:.2f}, {down[2]:.2f} "
                'points down')
        return cls(float(translation[2]), math.asin(max(-1.0, min(1.0, down[2]))),
                   math.atan2(down[0], down[1]))


def mount_of(height: float, pitch: float, roll: float) -> Mount | None:
    """
    Return the mount that a user has specified, or None if the height is 0.

    :raises ValueError: if the mount is invalid, or angles are specified without a height.
    """
    if height == 0 and (pitch or roll):
        raise ValueError(
            f'camera pitch {pitch:g} and roll {roll:g} have no effect without the camera height; '
            'got the height 0, expected positive metres')
    return None if height == 0 else Mount(height, pitch, roll)


@dataclass(frozen=True)
class MountLimits:
    """
    Conditions under which the factor of a frame is accepted, and how factors are averaged.

    :param near: least depth along z of the ground used, metres.
    :param far: greatest depth along z of the ground used, metres; beyond it, a small error of the
        pitch causes a large error of the depth.
    :param share: fraction of the image's pixels that must be ground in this range.
    :param tolerance: difference of ln(ratio) up to which pixels agree on a factor.
    :param agreeing: fraction of the ground pixels that must agree.
    :param slope: greatest difference of ln(factor) between the near and the far half. Unlike a
        wrong scale, the bonnet, a hill or a wrong pitch give the halves different factors.
    :param greatest: greatest accepted factor; its inverse is the smallest.
    :param memory: greatest weight of the previous mean in the moving mean of the factor.
    :param prior: weight of the predicted scale (factor 1) in the mean, in frames. It dampens the
        error of a single frame, whose pitch varies as the vehicle sways.
    """

    near: float = 2.0
    far: float = 15.0
    share: float = 0.01
    tolerance: float = 0.1
    agreeing: float = 0.6
    slope: float = 0.1
    greatest: float = 1.6
    memory: float = 0.8
    prior: float = 1.0


class MountScale:
    """
    Estimate of the factor that aligns the predicted ground with the ground plane of the mount.

    The ground at a pixel with ray r, r_z = 1, lies at z = height / (down . r). The factor of a
    frame is the median of z / predicted depth over its ground pixels; `MountLimits` decides
    whether it is accepted. The result is the geometric mean of the accepted factors, which starts
    at 1 with the weight `prior` and becomes an exponential moving mean. Rejected frames do not
    change it.

    :param mount: mount of the camera.
    :param ground: ids of the classes that are flat ground at the height of the wheels.
    :param limits: conditions of acceptance.
    :ivar factor: metres per predicted metre.
    :ivar rejection: why the last frame was rejected; empty if it was accepted.
    :ivar last_rejection: reason of the last rejection.
    :ivar frames: number of accepted frames.
    :ivar seen: number of frames.
    """

    def __init__(self, mount: Mount, ground: np.ndarray, limits: MountLimits | None = None):
        self.mount, self.limits = mount, limits or MountLimits()
        self.is_ground = np.zeros(256, bool)
        self.is_ground[np.asarray(ground, int)] = True
        self.factor, self.frames, self.seen = 1.0, 0, 0
        self.rejection, self.last_rejection = 'no frame yet', ''
        self._plane: tuple[tuple, np.ndarray] | None = None

    def update(self, depth: np.ndarray, labels: np.ndarray, K: np.ndarray) -> float:
        """
        Update the factor with a frame, and return it.

        :param depth: float (H, W), predicted metres along z, NaN invalid.
        :param labels: uint8 (H, W).
        :param K: float64 (3, 3), pixels.
        """
        grid = np.s_[ROW_STEP // 2::ROW_STEP, COLUMN_STEP // 2::COLUMN_STEP]
        plane = self.plane(K, depth.shape)
        predicted = depth[grid]
        used = (self.is_ground[labels[grid]] & (plane > self.limits.near)
                & (plane < self.limits.far) & (predicted > 0))
        ratios = np.log(plane[used] / predicted[used])
        self.rejection = self.update_factor(ratios, plane[used], plane.size)
        self.last_rejection = self.rejection or self.last_rejection
        self.seen += 1
        return self.factor

    def describe(self) -> str:
        """Return a description of the factor and of the frames it was estimated from."""
        found = (f'scale from the camera height: {self.factor:.3f}, reliable ground in '
                 f'{self.frames} of {self.seen} frames')
        return found + (f'; reason of the last rejection: {self.last_rejection}'
                        if self.last_rejection else '')

    @property
    def problem(self) -> str:
        """Return a warning if none of many frames was accepted; otherwise an empty string."""
        if self.frames or self.seen < PATIENCE:
            return ''
        return ('the scale of depth is not corrected by the camera height of '
                f'{self.mount.height:g} m: none of {self.seen} frames shows reliable ground; '
                f'reason for the last: {self.rejection}')

    def plane(self, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the depth of the ground plane at the sampled pixels; inf above the horizon."""
        key = (size, tuple(np.asarray(K, float).ravel()))
        if self._plane is None or self._plane[0] != key:
            grid = np.array([[1 / COLUMN_STEP, 0, -(COLUMN_STEP // 2) / COLUMN_STEP],
                             [0, 1 / ROW_STEP, -(ROW_STEP // 2) / ROW_STEP], [0, 0, 1]])
            rays = pixel_rays(grid @ np.asarray(K, np.float64), tuple(
                len(range(step // 2, side, step))
                for side, step in zip(size, (ROW_STEP, COLUMN_STEP))))
            towards = rays @ self.mount.down
            depth = np.full(towards.shape, np.inf)
            np.divide(self.mount.height, towards, out=depth, where=towards > 1e-6)
            self._plane = key, depth
        return self._plane[1]

    def update_factor(self, ratios: np.ndarray, plane: np.ndarray, pixels: int) -> str:
        """
        Update the factor with the ratios of a frame, or return why the frame is rejected.

        :param ratios: ln(depth of the ground plane / predicted depth), (N,).
        :param plane: depth of the ground plane, (N,).
        :param pixels: number of sampled pixels.
        """
        limits = self.limits
        if len(ratios) < limits.share * pixels:
            return f'{len(ratios) / pixels:.1%} of the image is ground within range'
        middle = float(np.median(ratios))
        agreeing = float(np.mean(np.abs(ratios - middle) < limits.tolerance))
        if agreeing < limits.agreeing:
            return f'only {agreeing:.0%} of the ground agree on a scale'
        near = plane < np.median(plane)
        halves = [float(np.median(part)) for part in (ratios[near], ratios[~near]) if len(part)]
        if max(halves) - min(halves) > limits.slope:
            return (f'near and far ground give the scales {math.exp(halves[0]):.2f} and '
                    f'{math.exp(halves[-1]):.2f}')
        if abs(middle) > math.log(limits.greatest):
            return f'the ground gives the scale {math.exp(middle):.2f}, which is implausible'
        self.frames += 1
        own = max(1 - limits.memory, 1 / (limits.prior + self.frames))
        self.factor = math.exp((1 - own) * math.log(self.factor) + own * middle)
        return ''

    def apply(self, prediction: Prediction, max_depth: float = math.inf) -> None:
        """
        Multiply depth and its uncertainty by the factor, in place.

        :param max_depth: metres beyond which both become NaN.
        """
        maps = [map_ for map_ in (prediction.depth, prediction.uncertainty) if map_ is not None]
        if self.factor == 1:
            return
        for values in maps:
            np.multiply(values, np.float32(self.factor), out=values)
        if self.factor > 1 and prediction.depth is not None:
            beyond = prediction.depth > max_depth
            for values in maps:
                np.copyto(values, np.float32('nan'), where=beyond)

    def correct(self, prediction: Prediction, K: np.ndarray, max_depth: float) -> None:
        """
        Update the factor with a frame and apply it to the frame's maps, in place.

        :param prediction: with depth and labels.
        :param K: float64 (3, 3), pixels.
        :param max_depth: metres beyond which depth is NaN.
        """
        self.update(prediction.depth, prediction.labels, K)
        self.apply(prediction, max_depth)


def wheel_ground(space: LabelSpace) -> np.ndarray:
    """
    Return the ids of the classes that are flat ground at the height of the wheels.

    These are the road classes, since pavements and grass beside a road lie higher or lower. In a
    space without road they are all classes with the ground flag, such as the floor indoors. For a
    union they are those of each part.
    """
    if space.parts:
        starts = np.cumsum([0, *map(len, space.parts)])
        return np.concatenate([
            start + wheel_ground(part) for start, part in zip(starts, space.parts)])
    road = [index for index, name in enumerate(space.names)
            if (space.pivot[index] == ('road',) if space.pivot else name.lower() == 'road')]
    return np.array(road or np.flatnonzero(with_flags(space).ground), int)


def missing_maps(available: frozenset[str]) -> str:
    """Return why the maps of a model cannot be scaled by the mount; empty if they can."""
    missing = sorted(MOUNT_SCALE_MAPS - available)
    return (f'a camera height corrects depth by the ground that the labels show, but the '
            f'model gives no {" and no ".join(missing)}: depth stays as it is') if missing else ''


def correct_scale(
        prediction: Prediction, frame: Frame, mount: Mount | None, predictor: Predictor
        ) -> dict[str, Any]:
    """
    Correct the depth scale of one image by the ground in it, in place.

    :return: `mount_scale`, the factor, and `mount_rejected`, why the ground was rejected.
    """
    if mount is None:
        return {}
    scale = MountScale(mount, wheel_ground(predictor.labels))
    scale.correct(prediction, frame.K, predictor.max_depth)
    found = {'mount_scale': round(scale.factor, 4)}
    return {**found, 'mount_rejected': scale.rejection} if scale.rejection else found
