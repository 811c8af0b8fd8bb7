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

"""Navigation grid of a map: free, occupied and unknown cells of the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sync_perception.files.checks import number
from sync_perception.labels import LabelSpace, VOID
from sync_perception.mapping.semantic_map.surface import Surface

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
"""Values of cells, as in nav_msgs/OccupancyGrid."""
LEVEL = 0.7
"""Least cosine between up and the normal of ground."""


@dataclass(frozen=True)
class GridSettings:
    """
    Settings of a navigation grid.

    :param resolution: edge length of a cell, metres.
    :param step: height above the ground up to which a robot drives over things, metres.
    :param height: height above the ground beyond which things are no obstacles, metres.
    :param least_points: least number of vertices in a cell that make it occupied.
    """

    resolution: float = 0.2
    step: float = 0.3
    height: float = 2.0
    least_points: int = 2

    def __post_init__(self):
        """
        Check the values.

        :raises ValueError: if one is out of range.
        """
        number(0.01, 10)(self.resolution, 'resolution')
        number(0, 10)(self.step, 'step')
        number(self.step, 100)(self.height, 'height')


@dataclass(frozen=True)
class Grid:
    """
    Cells of the ground plane; row 0 has the lowest y, column 0 the lowest x.

    :param values: int8 (H, W), FREE, OCCUPIED or UNKNOWN.
    :param labels: uint8 (H, W), the most frequent class of the ground or the obstacle, 255 if
        unknown.
    :param ground: float32 (H, W), height of the ground, NaN where it was not seen, metres.
    :param resolution: edge length of a cell, metres.
    :param grid_T_world: float64 (4, 4), rotation that turns the map's up to z.
    :param origin: x and y of the lower corner of cell (0, 0) in the turned frame, metres.
    """

    values: np.ndarray
    labels: np.ndarray
    ground: np.ndarray
    resolution: float
    grid_T_world: np.ndarray
    origin: tuple[float, float]


def navigation_grid(
        surface: Surface, space: LabelSpace, up: np.ndarray,
        settings: GridSettings | None = None) -> Grid:
    """
    Return the cells in which the ground was seen, and those in which an obstacle stands on it.

    A cell is occupied if things other than level ground lie between the step and the height above
    the ground, which is the nearest ground where there is none in the cell itself. It is free if
    it has ground and no obstacle.

    :param up: float (3,), the vertical axis in the world frame.
    """
    settings = settings or GridSettings()
    grid_T_world = turn_up(np.asarray(up, np.float64))
    points = surface.points @ grid_T_world[:3, :3].T
    if not len(points):
        empty = np.zeros((0, 0))
        return Grid(empty.astype(np.int8), empty.astype(np.uint8), empty.astype(np.float32),
                    settings.resolution, grid_T_world, (0.0, 0.0))
    cells = np.floor(points[:, :2] / settings.resolution).astype(np.int64)
    first = cells.min(axis=0)
    column, row = (cells - first).T
    shape = (row.max() + 1, column.max() + 1)
    index = row * shape[1] + column
    flags = np.zeros(256, bool)
    flags[:len(space)] = space.ground
    is_ground = flags[surface.labels] & (surface.normals @ grid_T_world[2, :3] > LEVEL)
    ground = _mean(index[is_ground], points[is_ground, 2], shape)
    above = points[:, 2] - _nearest(ground).ravel()[index]
    obstacle = ~is_ground & (above > settings.step) & (above < settings.height)
    count = np.bincount(index[obstacle], minlength=ground.size).reshape(shape)
    occupied = count >= settings.least_points
    values = np.full(shape, UNKNOWN, np.int8)
    values[np.isfinite(ground)] = FREE
    values[occupied] = OCCUPIED
    labels = _most_frequent(index[is_ground], surface.labels[is_ground], shape)
    things = _most_frequent(index[obstacle], surface.labels[obstacle], shape)
    labels[occupied] = things[occupied]
    return Grid(values, labels, ground.astype(np.float32), settings.resolution, grid_T_world,
                tuple((first * settings.resolution).tolist()))


def turn_up(up: np.ndarray) -> np.ndarray:
    """Return the rotation (4, 4) that turns a direction to z by the shortest way."""
    axis = np.cross(up, [0.0, 0.0, 1.0])
    sine, cosine = np.linalg.norm(axis), float(up[2])
    if sine < 1e-9:
        axis, sine = np.array([1.0, 0.0, 0.0]), 1.0
    result = np.eye(4)
    result[:3, :3] = cv2.Rodrigues(axis / sine * np.arccos(np.clip(cosine, -1, 1)))[0]
    return result


def _mean(index: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    size = shape[0] * shape[1]
    count = np.bincount(index, minlength=size)
    total = np.bincount(index, values, minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(shape)


def _nearest(ground: np.ndarray) -> np.ndarray:
    """Return a map of heights whose holes have the nearest height; -inf if there is none."""
    known = np.isfinite(ground)
    if not known.any():
        return np.full(ground.shape, -np.inf)
    sources = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    heights = np.zeros(sources.max() + 1)
    heights[sources[known]] = ground[known]
    return heights[sources]


def _most_frequent(index: np.ndarray, labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the most frequent label in each cell, uint8; 255 where there is none."""
    result = np.full(shape[0] * shape[1], VOID, np.uint8)
    pairs, counts = np.unique(index * 256 + labels, return_counts=True)
    order = np.argsort(counts, kind='stable')
    result[pairs[order] // 256] = pairs[order] % 256
    return result.reshape(shape)
