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

"""Which blocks a frame concerns: new ones at the surfaces, and known ones in view."""

from __future__ import annotations

import numpy as np
from sync_perception.geometry import transform
from sync_perception.mapping.semantic_map.blocks import pack, unpack
from sync_perception.mapping.semantic_map.observation import Observation
from sync_perception.mapping.semantic_map.settings import MapSettings

CELL = 16
"""Pixels along the side of a cell of the finest level of depth limits."""
NEAREST_POINT = 0.05
"""Least depth of a voxel in view, metres."""


def surface_blocks(
        seen: Observation, world_T_camera: np.ndarray, settings: MapSettings) -> np.ndarray:
    """
    Return the keys of the blocks that the surfaces of a frame touch, with the truncation distance.

    Pixels are sampled so densely that no block is missed at the largest range.

    :return: int64 (N,), sorted.
    """
    height, width = seen.size
    across = settings.block / 4 * min(seen.K[0, 0], seen.K[1, 1]) / settings.max_range
    step = max(1, int(across))
    chosen = np.zeros(seen.size, bool)
    chosen[::step, ::step] = True
    at = np.flatnonzero(chosen.ravel() & seen.surface)
    pixels = np.stack([at % width, at // width, np.ones_like(at)], axis=-1)
    points = (pixels @ np.linalg.inv(seen.K).T).astype(np.float32) * seen.depth[at, None]
    aside = seen.normals[at] * np.float32(settings.margin)
    # half way, too: the truncation distance may be longer than a block
    layers = [points + aside * share for share in (-1, -0.5, 0, 0.5, 1)]
    layers = np.concatenate(layers).astype(np.float64)
    positions = np.floor(transform(layers, world_T_camera) / settings.block)
    return np.unique(pack(positions))


class DepthLimits:
    """
    Nearest and farthest depth in cells of an image, in a pyramid of cell sizes.

    A block that lies behind the farthest depth of its cells is hidden. One that lies in front of
    the nearest depth is in free space.
    """

    def __init__(self, seen: Observation, settings: MapSettings):
        reach = np.float32(settings.margin) / seen.slope
        known = ~np.isnan(seen.depth)
        nearest = np.where(known, seen.depth - reach, np.inf).reshape(seen.size)
        farthest = np.where(known, seen.depth + reach, -np.inf).reshape(seen.size)
        self.near = [_pooled(nearest, CELL, np.minimum, np.inf)]
        self.far = [_pooled(farthest, CELL, np.maximum, -np.inf)]
        while max(self.near[-1].shape) > 1:
            self.near.append(_pooled(self.near[-1], 2, np.minimum, np.inf))
            self.far.append(_pooled(self.far[-1], 2, np.maximum, -np.inf))

    def __call__(self, u: np.ndarray, v: np.ndarray, extent: np.ndarray
                 ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return limits of the depth within squares of the image.

        :param u: columns of the centres.
        :param v: rows of the centres.
        :param extent: half of the side of each square, pixels.
        :return: nearest and farthest depth; inf and -inf where nothing is known.
        """
        near, far = np.full(len(u), np.inf), np.full(len(u), -np.inf)
        level = np.ceil(np.log2(np.maximum(2 * extent / CELL, 1))).astype(int)
        level = np.minimum(level, len(self.near) - 1)
        for each in np.unique(level):
            at = np.flatnonzero(level == each)
            cell = CELL * 2.0 ** each
            rows, columns = self.near[each].shape
            for du in (-1, 1):
                column = np.clip((u[at] + du * extent[at]) // cell, 0, columns - 1).astype(int)
                for dv in (-1, 1):
                    row = np.clip((v[at] + dv * extent[at]) // cell, 0, rows - 1).astype(int)
                    near[at] = np.minimum(near[at], self.near[each][row, column])
                    far[at] = np.maximum(far[at], self.far[each][row, column])
        return near, far


def blocks_in_view(
        keys: np.ndarray, has_surface: np.ndarray, seen: Observation,
        camera_T_world: np.ndarray, settings: MapSettings) -> np.ndarray:
    """
    Return which blocks a frame may change.

    These are the blocks in view that are not hidden, except those in free space that have no
    surface to be removed.

    :param keys: int64 (N,), packed positions.
    :param has_surface: bool (N,), blocks that may contain a surface.
    :return: bool (N,).
    """
    centres = transform((unpack(keys) + 0.5) * settings.block, camera_T_world)
    radius = settings.block * np.sqrt(3) / 2
    x, y, z = centres.T
    height, width = seen.size
    # the planes through the camera and the image's sides, and the range
    inside = (z > -radius) & (z < settings.max_range + radius + settings.margin)
    f = np.array([seen.K[0, 0], seen.K[1, 1]])
    for ahead, low, high in ((x, -0.5 - seen.K[0, 2], width - 0.5 - seen.K[0, 2]),
                             (y, -0.5 - seen.K[1, 2], height - 0.5 - seen.K[1, 2])):
        focal, f = f[0], f[1:]
        inside &= focal * ahead - low * z > -radius * np.hypot(focal, low)
        inside &= high * z - focal * ahead > -radius * np.hypot(focal, high)
    at = np.flatnonzero(inside)
    close = z[at] <= 2 * radius  # too close for the square around its projection
    wanted = np.zeros(len(keys), bool)
    wanted[at[close]] = True
    at = at[~close]
    depth = z[at]
    u = seen.K[0, 0] * x[at] / depth + seen.K[0, 2]
    v = seen.K[1, 1] * y[at] / depth + seen.K[1, 2]
    # the projection of a sphere is an ellipse, longest at the border of the image
    slant = np.sqrt(1 + (x[at] / depth) ** 2 + (y[at] / depth) ** 2)
    extent = max(seen.K[0, 0], seen.K[1, 1]) * radius * slant / (depth - radius)
    near, far = DepthLimits(seen, settings)(u, v, extent)
    wanted[at] = (depth - radius <= far) & ((depth + radius >= near) | has_surface[at])
    return wanted


def _pooled(values: np.ndarray, size: int, pool, filling: float) -> np.ndarray:
    """
    Return the minimum or maximum of each cell; an incomplete cell is filled up.

    :param size: side of a cell, a power of 2.
    :param pool: np.minimum or np.maximum.
    """
    rows, columns = (-(-side // size) for side in values.shape)
    result = np.full((rows * size, columns * size), filling, np.float32)
    result[:values.shape[0], :values.shape[1]] = values
    while size > 1:  # pairs are much faster than a reduction of short axes
        result = pool(result[::2], result[1::2])
        result = pool(result[:, ::2], result[:, 1::2])
        size //= 2
    return result
