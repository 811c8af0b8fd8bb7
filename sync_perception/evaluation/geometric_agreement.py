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

"""Geometric agreement of depth and labels, to exclude contradictions from training."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from sync_perception.geometry import backproject, pixel_rays
from sync_perception.labels import LabelSpace

GROUND = {'road', 'sidewalk', 'floor', 'floor mat'}
"""Flat classes: by the street classes that they comprise, else by their own names."""
HYPOTHESES, SAMPLED = 200, 3000
UPRIGHT = np.cos(np.radians(35))


@dataclass(frozen=True)
class AgreementLimits:
    """
    Thresholds of contradictions.

    :param height: greatest accepted distance of ground from the ground plane next to the camera,
        metres.
    :param slope: increase of this distance per metre of depth: roads bend, and a depth error of 10
        % lifts a road by 10 % of the camera's height at any distance.
    :param reach: greatest depth of the points for the plane fit, metres.
    :param sky: least accepted depth of sky, metres; None if the depth of sky is undefined, as for
        networks trained on laser scans.
    :param horizon: greatest accepted angle of sky below the ground plane's horizon, degrees.
    :param share: least share of the ground pixels within reach that must lie on the plane.
    :param pixels: least number of ground pixels within reach for a plane fit.
    """

    height: float = 0.35
    slope: float = 0.03
    reach: float = 30.0
    sky: float | None = None
    horizon: float = 3.0
    share: float = 0.5
    pixels: int = 200


@dataclass(frozen=True)
class Agreement:
    """
    Result of the check of depth against labels.

    :param agrees: bool (H, W); also true where nothing can be checked.
    :param plane: float64 (4,), unit normal n towards the camera and its height h above ground,
        metres, in the optical frame: n . point + h is a point's height. None if no ground plane
        was found, so that ground was not checked.
    """

    agrees: np.ndarray
    plane: np.ndarray | None


def find_contradictions(
        labels: np.ndarray, depth: np.ndarray, K: np.ndarray, space: LabelSpace,
        limits: AgreementLimits = AgreementLimits()) -> Agreement:
    """
    Find pixels whose label contradicts their depth.

    Contradictions are ground pixels far from the ground plane, and sky that is below the horizon
    or near.

    :param labels: uint8 (H, W), 255 void.
    :param depth: float (H, W), metres along z, NaN or inf where unknown.
    :param K: float64 (3, 3), intrinsics in pixels of the maps.
    :param space: label space.
    :raises ValueError: if the sizes differ.
    """
    if labels.shape != depth.shape:
        raise ValueError(
            f'expected depth of the size of the labels {labels.shape}, got {depth.shape}')
    rays, sky = pixel_rays(K, depth.shape), np.isin(labels, np.flatnonzero(space.infinite))
    contradicts = np.zeros(labels.shape, bool)
    if limits.sky is not None:
        with np.errstate(invalid='ignore'):
            contradicts = sky & (depth < limits.sky)
    ground = np.isin(labels, ground_ids(space)) & np.isfinite(depth) & (depth > 0)
    points = backproject(np.where(ground, depth, 0), rays)[ground]
    near = points[points[:, 2] < limits.reach].astype(np.float64)
    plane = fit_ground(near, limits) if len(near) >= max(limits.pixels, 3) else None
    if plane is not None:
        height = points @ plane[:3] + plane[3]
        contradicts[ground] |= np.abs(height) > limits.height + limits.slope * points[:, 2]
        descent = -(rays @ plane[:3]) / np.linalg.norm(rays, axis=-1)
        contradicts |= sky & (descent > np.sin(np.radians(limits.horizon)))
    return Agreement(~contradicts, plane)


def ground_ids(space: LabelSpace, kinds: Set[str] = GROUND) -> np.ndarray:
    """Return the ids of the classes that comprise only these kinds of flat ground."""
    members = space.pivot or tuple((name,) for name in space.names)
    return np.flatnonzero([bool(names) and set(names) <= kinds for names in members])


def fit_ground(points: np.ndarray, limits: AgreementLimits) -> np.ndarray | None:
    """
    Fit a ground plane to points by RANSAC (Fischler and Bolles, 1981).

    The camera must be above the ground, with roll and pitch of less than 35 degrees.

    :param points: float64 (N, 3), N >= 3, metres in the optical frame.
    :return: plane as in `Agreement.plane`; None if less than `limits.share` of the points are
        near.
    """
    rng = np.random.default_rng(0)
    if len(points) > SAMPLED:
        points = points[rng.choice(len(points), SAMPLED, replace=False)]
    a, b, c = points[rng.integers(len(points), size=(HYPOTHESES, 3))].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    proper = lengths > 1e-9
    normals = normals[proper] / lengths[proper, None]
    normals[normals[:, 1] > 0] *= -1  # y is down
    upright = -normals[:, 1] > UPRIGHT
    planes = np.c_[normals, -(normals * a[proper]).sum(axis=1)][upright]
    planes = planes[planes[:, 3] > 0]
    if not len(planes):
        return None
    tolerance = limits.height + limits.slope * points[:, 2]
    near = np.abs(planes[:, :3] @ points.T + planes[:, 3:]) < tolerance
    inliers = points[near[near.sum(axis=1).argmax()]]
    plane = least_squares(inliers)
    near = np.abs(points @ plane[:3] + plane[3]) < tolerance
    believed = near.mean() >= limits.share and -plane[1] > UPRIGHT and plane[3] > 0
    return plane if believed else None


def least_squares(points: np.ndarray) -> np.ndarray:
    """Return the least-squares plane of points, float64 (N, 3): unit normal to -y, offset."""
    middle = points.mean(axis=0)
    normal = np.linalg.eigh(np.cov((points - middle).T, ddof=0))[1][:, 0]
    normal = -normal if normal[1] > 0 else normal
    return np.r_[normal, -normal @ middle]
