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

"""Agreement between a depth map and labels: what contradicts the geometry is not learned from."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from sync_perception.geometry import backproject, pixel_rays
from sync_perception.labels import LabelSpace

GROUND = {'road', 'sidewalk', 'floor', 'floor mat'}
"""Flat classes: by what they comprise of street scenes, else by their own names."""
HYPOTHESES, SAMPLED = 200, 3000
UPRIGHT = np.cos(np.radians(35))


@dataclass(frozen=True)
class Limits:
    """
    How much is taken for a contradiction.

    :param height: metres from the ground plane up to which ground is believed beside the camera.
    :param slope: metres that this grows with every metre of depth: roads bend, and an error of
        depth of 10 % lifts a road by 10 % of the camera's height wherever it is.
    :param reach: metres of depth up to which the plane is fitted.
    :param sky: metres of depth below which sky is not believed; None if the depth says nothing
        about the sky, as that of networks that learned from laser scans.
    :param horizon: degrees below the ground plane's horizon from which on sky is not believed.
    :param share: of the ground pixels within reach that must lie on the plane for it to count.
    :param pixels: of ground within reach, fewer of which fit no plane.
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
    Where depth and labels can both be true.

    :param agrees: bool (H, W); true where nothing can be said.
    :param plane: float64 (4,), unit normal n towards the camera and its height h above ground,
        metres, in the optical frame: n . point + h is a point's height. None where no ground
        plane was found, and ground was therefore not checked.
    """

    agrees: np.ndarray
    plane: np.ndarray | None


def check_agreement(
        labels: np.ndarray, depth: np.ndarray, K: np.ndarray, space: LabelSpace,
        limits: Limits = Limits()) -> Agreement:
    """
    Find pixels whose label and depth contradict each other.

    Ground whose point is not near the plane through most of the ground; sky that is below the
    horizon, or near.

    :param labels: uint8 (H, W), 255 void.
    :param depth: float (H, W), metres along z, NaN or inf where there is none.
    :param K: float64 (3, 3), intrinsics in pixels of the maps.
    :param space: of the labels.
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
    """Return the ids of the classes that are flat ground, of these kinds, and nothing else."""
    members = space.pivot or tuple((name,) for name in space.names)
    return np.flatnonzero([bool(names) and set(names) <= kinds for names in members])


def fit_ground(points: np.ndarray, limits: Limits, seed: int = 0) -> np.ndarray | None:
    """
    Fit the plane that the most points lie near (RANSAC, Fischler and Bolles, 1981).

    The camera stands above the ground and rolls and pitches by less than 35 degrees.

    :param points: float64 (N, 3), N >= 3, metres in the optical frame.
    :param seed: of the choice of points.
    :return: as `Agreement.plane`; None if less than `limits.share` of the points are near.
    """
    rng = np.random.default_rng(seed)
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
    """Return the plane nearest to points, float64 (N, 3): unit normal against y, and offset."""
    middle = points.mean(axis=0)
    normal = np.linalg.eigh(np.cov((points - middle).T, ddof=0))[1][:, 0]
    normal = -normal if normal[1] > 0 else normal
    return np.r_[normal, -normal @ middle]
