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

"""Corrects the scale of predicted depth by the camera's known height above the ground."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from sync_perception.geometry import pixel_rays
from sync_perception.types import Prediction

ROW_STEP, COLUMN_STEP = 4, 8
"""Every so many rows and columns are looked at: the ground is smooth."""


@dataclass(frozen=True)
class Mount:
    """
    How a camera is mounted above flat ground.

    :param height: of the optical centre above the ground, metres.
    :param pitch: radians by which the camera looks down; negative if it looks up.
    :param roll: radians by which it is turned clockwise about its optical axis.
    :raises ValueError: if the height is not positive, or an angle not within a quarter turn.
    """

    height: float
    pitch: float = 0.0
    roll: float = 0.0

    def __post_init__(self):
        """Refuse what no camera has."""
        if not (math.isfinite(self.height) and self.height > 0):
            raise ValueError(f'camera height: expected positive metres, got {self.height}')
        for name, angle in (('pitch', self.pitch), ('roll', self.roll)):
            if not abs(angle) < math.pi / 2:
                raise ValueError(f'camera {name}: expected radians within pi / 2, got {angle}')

    @property
    def down(self) -> np.ndarray:
        """Return the direction to the ground in the optical frame, float64 (3,), a unit vector."""
        level = math.cos(self.pitch)
        return np.array([
            level * math.sin(self.roll), level * math.cos(self.roll), math.sin(self.pitch)])


@dataclass(frozen=True)
class Limits:
    """
    When the ground in a frame is believed.

    :param near: metres along z from which on ground is looked at.
    :param far: metres along z up to which it is looked at; beyond it a small error of the pitch is
        a great one of the depth.
    :param share: of the image's pixels that must be ground within reach.
    :param tolerance: difference of ln(ratio) up to which pixels agree on a factor.
    :param agreeing: share of those pixels that must agree.
    :param slope: greatest difference of ln(factor) between the near and the far half: the bonnet,
        a hill or a wrong pitch, unlike a wrong scale, give different factors there.
    :param greatest: factor, and its inverse, beyond which a frame is not believed.
    :param memory: share of the former factor that a frame's factor keeps.
    """

    near: float = 2.0
    far: float = 15.0
    share: float = 0.01
    tolerance: float = 0.1
    agreeing: float = 0.5
    slope: float = 0.15
    greatest: float = 1.6
    memory: float = 0.8


class MountScale:
    """
    One factor a frame that brings the predicted ground to where the mount says that it is.

    Ground at a pixel with the ray r, r_z = 1, lies at z = height / (down . r). The factor is the
    median of z over the predicted depth, believed within `Limits` and smoothed over frames; where
    a frame shows no ground that can be believed, the last factor stays. Until the first believed
    frame it is 1.

    :param mount: of the camera.
    :param ground: ids of the classes that are flat ground at the height of the wheels.
    :param limits: when ground is believed.
    :ivar factor: metres per predicted metre.
    :ivar doubt: why the last frame was not believed; empty if it was.
    :ivar frames: frames that were believed.
    """

    def __init__(self, mount: Mount, ground: np.ndarray, limits: Limits | None = None):
        self.mount, self.limits = mount, limits or Limits()
        self.is_ground = np.zeros(256, bool)
        self.is_ground[np.asarray(ground, int)] = True
        self.factor, self.doubt, self.frames = 1.0, 'no frame yet', 0
        self._plane: tuple[tuple, np.ndarray] | None = None

    def update(self, depth: np.ndarray, labels: np.ndarray, K: np.ndarray) -> float:
        """
        Look at a frame and return the factor.

        :param depth: float (H, W), predicted metres along z, NaN invalid.
        :param labels: uint8 (H, W).
        :param K: float64 (3, 3), pixels.
        """
        grid = np.s_[ROW_STEP // 2::ROW_STEP, COLUMN_STEP // 2::COLUMN_STEP]
        plane = self.plane(K, depth.shape)
        predicted = depth[grid]
        used = (self.is_ground[labels[grid]] & (plane > self.limits.near)
                & (plane < self.limits.far) & (predicted > 0))
        self.doubt = self.consider(np.log(plane[used] / predicted[used]), plane[used], plane.size)
        return self.factor

    def plane(self, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the ground's depth at the pixels that are looked at; inf above the horizon."""
        key = (size, tuple(np.asarray(K, float).ravel()))
        if self._plane is None or self._plane[0] != key:
            rays = pixel_rays(np.asarray(K, np.float64), size)[
                ROW_STEP // 2::ROW_STEP, COLUMN_STEP // 2::COLUMN_STEP]
            towards = rays @ self.mount.down
            depth = np.full(towards.shape, np.inf)
            np.divide(self.mount.height, towards, out=depth, where=towards > 1e-6)
            self._plane = key, depth
        return self._plane[1]

    def consider(self, ratios: np.ndarray, plane: np.ndarray, pixels: int) -> str:
        """
        Take a frame's ratios into the factor, or say why not.

        :param ratios: ln(ground's depth / predicted depth), (N,).
        :param plane: the ground's depth, (N,).
        :param pixels: how many were looked at.
        """
        limits = self.limits
        if len(ratios) < limits.share * pixels:
            return f'{len(ratios) / pixels:.1%} of the image is ground within reach'
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
            return f'the ground gives the scale {math.exp(middle):.2f}, which is not believed'
        former = math.log(self.factor) if self.frames else middle
        self.factor = math.exp(limits.memory * former + (1 - limits.memory) * middle)
        self.frames += 1
        return ''

    def apply(self, prediction: Prediction) -> None:
        """Multiply depth and its uncertainty by the factor, in place."""
        for values in (prediction.depth, prediction.uncertainty):
            if values is not None and self.factor != 1:
                np.multiply(values, np.float32(self.factor), out=values)
