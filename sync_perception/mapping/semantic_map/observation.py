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

"""Observation of one frame: the space in front of the camera, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sync_perception.labels import LabelSpace, VOID
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.types import Frame, Prediction

LEAST_SLOPE = 0.04
"""
Least cosine between the line of sight and the normal of ground and of surfaces without a label.
"""
LEAST_SLOPE_OTHERS = 0.15
"""
The same for other classes. Where depth changes more steeply, it is mostly the edge of an object,
and the pixel lies between two surfaces.
"""
BASELINE = 2
"""Pixels between which the gradient of depth is measured."""
SURE = 0.999
"""Largest probability of a label; certainty would outweigh everything else."""


@dataclass(frozen=True)
class Observation:
    """
    Measurements of one frame, as flat arrays of H * W pixels.

    :param K: float64 (3, 3), intrinsics in pixels.
    :param size: height and width.
    :param depth: float32, metres along z; inf where only free space is seen; NaN if unknown.
    :param surface: bool, pixels that add a surface.
    :param slope: float32, cosine between the line of sight (scaled to z = 1) and the normal: the
        distance from the surface is the difference of depths times this.
    :param normals: float32 (H * W, 3), unit normals in the optical frame, away from the camera.
    :param weight: float32, weight of the distance from the surface.
    :param sigma: float32, standard deviation of depth divided by depth.
    :param labels: uint8, class ids, 255 void.
    :param evidence: float32, log-odds of the label against each other class.
    :param colors: uint8 (H * W, 3), RGB.
    """

    K: np.ndarray
    size: tuple[int, int]
    depth: np.ndarray
    surface: np.ndarray
    slope: np.ndarray
    normals: np.ndarray
    weight: np.ndarray
    sigma: np.ndarray
    labels: np.ndarray
    evidence: np.ndarray
    colors: np.ndarray


def observe(
        frame: Frame, prediction: Prediction, space: LabelSpace, settings: MapSettings
        ) -> Observation:
    """
    Return what a frame adds to the map.

    Movable classes are unknown space. Infinite classes (sky) are free space without end.

    :raises ValueError: if the prediction has no depth, or maps of another size than the frame.
    """
    check_prediction(frame, prediction)
    labels = prediction.labels
    if labels is None:
        labels = np.full(frame.size, VOID, np.uint8)
    depth = prediction.depth.astype(np.float32, copy=True)
    depth[~(depth > 0)] = np.nan
    with np.errstate(invalid='ignore', divide='ignore'):
        slope, normals = slopes(depth, frame.K)
        sigma = np.full(frame.size, settings.relative_sigma, np.float32)
        if prediction.uncertainty is not None:
            given = prediction.uncertainty / depth
            sigma = np.where(np.isfinite(given) & (given > 0), given, sigma).astype(np.float32)
        depth[_members(labels, space.infinite)] = np.inf
        depth[_members(labels, space.dynamic)] = np.nan
        others = ~_members(labels, space.ground) & (labels != VOID)
        least = np.where(others, np.float32(LEAST_SLOPE_OTHERS), np.float32(LEAST_SLOPE))
        surface = (depth <= settings.max_range) & (slope >= least)
        # pixels at the edges of objects say nothing about either side
        depth[(depth <= settings.max_range) & ~surface] = np.nan
        variance = np.square(sigma * depth * slope / settings.voxel)
    return Observation(
        K=np.asarray(frame.K, np.float64), size=frame.size, depth=depth.ravel(),
        surface=surface.ravel(), slope=np.where(surface, slope, 1).astype(np.float32).ravel(),
        normals=normals.reshape(-1, 3), weight=weight_of(variance).ravel(),
        sigma=sigma.ravel(), labels=labels.ravel(),
        evidence=log_odds(prediction.confidence, labels, len(space)).ravel(),
        colors=frame.image.reshape(-1, 3))


def check_prediction(frame: Frame, prediction: Prediction) -> None:
    """
    Check the maps of a prediction.

    :raises ValueError: if depth is missing, or a map has another size than the frame.
    """
    if prediction.depth is None:
        raise ValueError('a map needs predictions with depth, got none')
    for name in ('depth', 'labels', 'confidence', 'uncertainty'):
        values = getattr(prediction, name)
        if values is not None and values.shape != frame.size:
            raise ValueError(
                f'{name}: expected the size of the frame, {frame.size}, got {values.shape}')


def weight_of(variance: np.ndarray) -> np.ndarray:
    """
    Return the weight of a distance: the inverse of its variance, for a variance in voxels².

    A sixteenth is added, the square of a quarter of a voxel, since no voxel is exact.
    """
    return 1 / (variance + np.float32(1 / 16))


def slopes(depth: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return how a surface lies to the line of sight, and its normals.

    Inverse depth of a plane is linear in the pixel's coordinates, so its gradient gives the
    plane exactly. The gradient is that of the side on which it is smaller, so that it is right up
    to the edge of an object, and it is 0 where the sides contradict each other.

    :param depth: float32 (H, W), metres, NaN if unknown.
    :return: the cosine float32 (H, W) between the line of sight (scaled to z = 1) and the normal,
        NaN if unknown, and the unit normals float32 (H, W, 3) in the optical frame, away from the
        camera.
    """
    inverse = 1 / depth
    along_u = _gradient(inverse, 1) * np.float32(K[0, 0])
    along_v = _gradient(inverse, 0) * np.float32(K[1, 1])
    height, width = depth.shape
    x = ((np.arange(width) - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = ((np.arange(height) - K[1, 2]) / K[1, 1]).astype(np.float32)[:, None]
    along_z = inverse - x * along_u - y * along_v
    length = np.sqrt(along_u ** 2 + along_v ** 2 + along_z ** 2)
    normals = cv2.merge([part / length for part in (along_u, along_v, along_z)])
    return inverse / length, normals


def log_odds(confidence: np.ndarray | None, labels: np.ndarray, classes: int) -> np.ndarray:
    """
    Return log(p / q): p is the label's probability, and q that of each other class.

    The remaining probability is spread evenly over the other classes. The result is 0 for void
    labels, and at least 0, since a predicted label is the most probable class.

    :param confidence: float32 (H, W), p; None for 0.9.
    """
    p = np.full(labels.shape, 0.9, np.float32) if confidence is None else confidence
    p = np.clip(np.nan_to_num(p), 1 / classes, SURE)
    odds = np.log(p * np.float32(classes - 1) / (1 - p))
    return np.where(labels == VOID, 0, np.maximum(odds, 0)).astype(np.float32)


def _members(labels: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Return which labels have a flag, bool (H, W)."""
    table = np.zeros(256, np.uint8)
    table[:len(flags)] = flags
    return cv2.LUT(labels, table).view(bool)


def _gradient(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the gradient along an axis, per pixel, of the side where it is smaller."""
    rows = np.moveaxis(values, axis, 0)
    step = rows[BASELINE:] - rows[:-BASELINE]
    result = np.full_like(values, np.nan)
    both = np.moveaxis(result, axis, 0)
    after, before = step[BASELINE:], step[:-BASELINE]
    # 0 where the signs differ; a side that is not known does not count
    both[BASELINE:-BASELINE] = np.fmax(np.fmin(before, after), 0) + np.fmin(
        np.fmax(before, after), 0)
    both[:BASELINE], both[-BASELINE:] = np.nan_to_num(step[:BASELINE]), np.nan_to_num(
        step[-BASELINE:])
    result *= np.float32(1 / BASELINE)
    return result
