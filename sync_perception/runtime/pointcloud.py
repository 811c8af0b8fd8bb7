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

"""Organized semantic point cloud, in the byte layout in which it is published."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace, VOID
from sync_perception.types import Frame, Prediction

COLORS = ('camera', 'label')
POINT = np.dtype({
    'names': ['x', 'y', 'z', 'rgb', 'label', 'confidence'],
    'formats': ['<f4', '<f4', '<f4', '<u4', '<u4', '<f4'],
    'offsets': [0, 4, 8, 16, 20, 24],
    'itemsize': 32})
"""
Layout of one point: x, y, z in metres in the optical frame; rgb packed as in PCL (0x00RRGGBB,
which consumers read as float32); label id; probability of the label. Bytes 12-15 and 28-31 are
zero.
"""
SEMANTIC_POINT = np.dtype({
    'names': [*POINT.names, 'semantic_color'],
    'formats': [*(POINT[name] for name in POINT.names), '<u4'],
    'offsets': [*(POINT.fields[name][1] for name in POINT.names), 28],
    'itemsize': POINT.itemsize})
"""`POINT` with the label's colour in bytes 28-31, packed like rgb; void is black."""
WORDS = POINT.itemsize // 4
WORD = {name: offset // 4 for name, (_, offset, *_) in SEMANTIC_POINT.fields.items()}
"""Index of each field among the 32-bit words of a point."""
BLOCK = 10_000
"""Points written at once: few enough that their fields fit in the cache."""


def point_cloud(
        frame: Frame, prediction: Prediction, space: LabelSpace, color: str = 'camera',
        stride: int = 1, organized: bool = True, semantic_color: bool = False,
        out: np.ndarray | None = None) -> np.ndarray:
    """
    Return the point cloud of a prediction in the camera's optical frame.

    In an organized cloud, a pixel without depth has x = y = z = NaN but keeps its colour, label
    and confidence. A prediction without labels gives label 255, and one without confidence gives
    confidence NaN.

    :param frame: source of the intrinsics and colours.
    :param prediction: with a depth map of the frame's size.
    :param space: colours of the labels.
    :param color: source of rgb, 'camera' or 'label'.
    :param stride: take every stride-th row and column, from the first.
    :param organized: keep the image's rows and columns; otherwise drop points without depth.
    :param semantic_color: add a separate field with the label's colour.
    :param out: writable buffer of exactly the cloud's bytes, for an organized cloud; all bytes are
        overwritten.
    :return: `POINT` or `SEMANTIC_POINT` (H', W'), or (N,) if not organized; H' = ceil(H / stride).
    :raises ValueError: if an argument is not as stated.
    """
    check_cloud_arguments(frame, prediction, color, stride, semantic_color)
    size = cloud_size(frame.size, stride)
    points = _allocate(size, SEMANTIC_POINT if semantic_color else POINT, out)
    step = (slice(None, None, stride), slice(None, None, stride))
    _write(points.view('<f4').reshape(-1, WORDS), frame, prediction, space, color, step,
           semantic_color)
    if organized:
        return points
    # copied as whole words, since NumPy copies only the fields and leaves padding undefined
    words = points.view('<u4').reshape(-1, WORDS)
    valid = np.flatnonzero(~np.isnan(prediction.depth[step]))
    return words.take(valid, axis=0).view(points.dtype)[:, 0]


def _write(
        points: np.ndarray, frame: Frame, prediction: Prediction, space: LabelSpace, color: str,
        step: tuple[slice, slice], semantic_color: bool) -> None:
    """
    Write an organized cloud in blocks of rows.

    The fields of a block are computed as separate planes, since contiguous memory is faster, and
    then transposed to points.

    :param points: float32 (N, WORDS).
    :param step: slices of the frame's rows and columns that become points.
    """
    rays_x, rays_y = _rays(np.asarray(frame.K, np.float64).tobytes(), frame.size)
    rays_x, rays_y = rays_x[step[1]], rays_y[step[0], None]
    depth, image = prediction.depth[step], frame.image[step]
    labels = _or_constant(prediction.labels, np.uint8(VOID), frame.size)[step]
    confidence = _or_constant(prediction.confidence, np.float32('nan'), frame.size)[step]
    palette = _pack(space.palette[None])[0]
    height, width = depth.shape
    block = min(height, max(1, BLOCK // width))
    buffer = np.zeros((WORDS, block * width), np.float32)  # padding stays zero
    for start in range(0, height, block):
        rows = slice(start, min(start + block, height))
        flat = buffer[:, :(rows.stop - start) * width]
        planes = flat.reshape(WORDS, -1, width)
        words = planes.view(np.uint32)
        np.multiply(depth[rows], rays_x, out=planes[WORD['x']])
        np.multiply(depth[rows], rays_y[rows], out=planes[WORD['y']])
        planes[WORD['z']] = depth[rows]
        painted = palette[labels[rows]] if semantic_color or color == 'label' else None
        words[WORD['rgb']] = _pack(image[rows]) if color == 'camera' else painted
        if semantic_color:
            words[WORD['semantic_color']] = painted
        words[WORD['label']] = labels[rows]
        planes[WORD['confidence']] = confidence[rows]
        cv2.transpose(flat, points[start * width:rows.stop * width])


def cloud_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return the height and width of the organized cloud of an image."""
    return -(-size[0] // stride), -(-size[1] // stride)


def check_cloud_arguments(frame: Frame, prediction: Prediction, color: str, stride: int,
                          semantic_color: bool = False) -> None:
    """
    Check the arguments of `point_cloud`.

    :raises ValueError: if an argument is invalid; the message names what was expected.
    """
    if color not in COLORS:
        raise ValueError(f'color must be one of {COLORS}, got {color!r}')
    if stride < 1:
        raise ValueError(f'stride must be at least 1, got {stride}')
    if frame.K[0, 1] != 0 or frame.K[1, 0] != 0:
        raise ValueError(f'a cloud needs intrinsics without skew, got {frame.K.tolist()}')
    if prediction.depth is None:
        raise ValueError('a cloud needs a prediction with depth')
    if color == 'label' and prediction.labels is None:
        raise ValueError("color 'label' needs a prediction with labels")
    if semantic_color and prediction.labels is None:
        raise ValueError('semantic_color needs a prediction with labels')
    for name in ('depth', 'labels', 'confidence'):
        values = getattr(prediction, name)
        if values is not None and values.shape != frame.size:
            raise ValueError(
                f'{name} is {values.shape}, but the frame is {frame.size} (height, width)')


def _allocate(
        size: tuple[int, int], dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return np.zeros(size, dtype)
    needed = size[0] * size[1] * dtype.itemsize
    if out.nbytes != needed or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f'out must be {needed} writable, contiguous bytes for a cloud of {size}, got '
            f'{out.nbytes}')
    return out.reshape(-1).view(np.uint8).view(dtype).reshape(size)


def _or_constant(
        values: np.ndarray | None, constant: np.generic, size: tuple[int, int]) -> np.ndarray:
    return np.broadcast_to(constant, size) if values is None else values


@lru_cache(maxsize=8)
def _rays(K: bytes, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return x / z per column and y / z per row, which suffice for a camera without skew."""
    rays = pixel_rays(np.frombuffer(K).reshape(3, 3), size)
    return rays[0, :, 0].copy(), rays[:, 0, 1].copy()


def _pack(image: np.ndarray) -> np.ndarray:
    """Pack uint8 (h, w, 3) RGB to uint32 (h, w), 0x00RRGGBB."""
    bgra = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGRA)
    return bgra.view('<u4')[..., 0] & np.uint32(0x00FFFFFF)
