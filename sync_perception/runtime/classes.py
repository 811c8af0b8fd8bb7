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

"""Most probable class of each camera pixel, on a CPU, with OpenCV and NumPy."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

CHUNK = 1 << 15
"""Border pixels computed at once: few enough that their maps fit in the cache."""


class Axis(NamedTuple):
    """
    Positions of the n' target pixels of one axis between its n source pixels.

    The positions are those of bilinear resizing. Target pixels between the same two source pixels
    form a run; there are R runs of at most K target pixels.

    :param nearest: int (n',), one of the two source pixels beside each target pixel.
    :param low: int (R,), source pixel before each run.
    :param high: int (R,), source pixel after each run.
    :param target: int (K, R), target pixels of each run; short runs repeat their last pixel.
    :param weight: float32 (K, R), interpolation weight of the source pixel after the run.
    """

    nearest: np.ndarray
    low: np.ndarray
    high: np.ndarray
    target: np.ndarray
    weight: np.ndarray


@lru_cache(maxsize=16)
def axis(target: int, source: int) -> Axis:
    """
    Return the positions of target pixels between source pixels, with centres at integers.

    :param target: number of pixels after resizing.
    :param source: number of pixels before.
    """
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    before = np.floor(position).astype(np.intp)
    first = np.flatnonzero(np.diff(before, prepend=before[0] - 1))
    count = np.diff(first, append=target)
    member = first + np.minimum(np.arange(count.max())[:, None], count - 1)
    low, high = before[first].clip(0), (before[first] + 1).clip(max=source - 1)
    return Axis(before.clip(0), low, high, member, (position - before).astype(np.float32)[member])


def most_probable(
        logits_hwc: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """
    Interpolate the class probabilities bilinearly; return the largest and its class.

    Where the four surrounding network pixels have the same class, only its probability is
    interpolated. All classes are interpolated only along class borders.

    :param logits_hwc: float32 (h, w, C), in any memory order.
    :param size: height and width of the result.
    :return: labels uint8 (H, W), probabilities float32 (H, W).
    """
    height, width, classes = logits_hwc.shape
    if logits_hwc.flags.c_contiguous:
        planes = cv2.transpose(logits_hwc.reshape(-1, classes)).reshape(classes, -1)
    else:
        planes = logits_hwc.transpose(2, 0, 1).reshape(classes, -1).copy()
    best = planes.max(axis=0)
    label = _first_equal(planes, best).reshape(height, width)
    planes -= best
    cv2.exp(planes, dst=planes)
    np.reciprocal(planes.sum(axis=0), out=best)
    rows, columns = axis(size[0], height), axis(size[1], width)
    labels = label.take(columns.nearest, axis=1).take(rows.nearest, axis=0)
    confidence = cv2.resize(
        best.reshape(height, width), size[::-1], interpolation=cv2.INTER_LINEAR)
    row, column = np.divmod(np.flatnonzero(_borders(label, rows, columns)), len(columns.low))
    cells = max(1, CHUNK // (len(rows.target) * len(columns.target)))
    for start in range(0, len(row), cells):
        own = slice(start, start + cells)
        _interpolate(planes, best, width, rows, columns, row[own], column[own],
                     labels, confidence)
    return labels, confidence


def _first_equal(planes: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the index of the first plane that equals the best value: uint8 (N,)."""
    last = np.uint8(len(planes) - 1)
    rank = np.zeros(best.shape, np.uint8)
    for index, plane in enumerate(planes):
        equal = np.equal(plane, best).view(np.uint8)
        np.maximum(rank, np.multiply(equal, last - np.uint8(index), out=equal), out=rank)
    return np.subtract(last, rank, out=rank)


def _borders(label: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Return for each pair of runs whether the classes of its four source pixels differ."""
    left, right = label.take(columns.low, axis=1), label.take(columns.high, axis=1)
    across = left != right
    down = left.take(rows.low, axis=0) != left.take(rows.high, axis=0)
    return down | across.take(rows.low, axis=0) | across.take(rows.high, axis=0)


def _interpolate(
        planes: np.ndarray, scale: np.ndarray, width: int, rows: Axis, columns: Axis,
        row: np.ndarray, column: np.ndarray, labels: np.ndarray, confidence: np.ndarray) -> None:
    """
    Interpolate all classes at border pixels, and write labels and confidence in place.

    :param planes: float32 (C, h w); class probabilities are `planes` times `scale` (h w,).
    :param row: int (M,), run of rows of each cell.
    :param column: int (M,), run of columns of each cell.
    """
    above, below = rows.low[row] * width, rows.high[row] * width
    left, right = columns.low[column], columns.high[column]
    corners = np.stack([above + left, above + right, below + left, below + right])
    corner_scale = scale.take(corners)
    # take() keeps the pixels of a run contiguous in memory, unlike fancy indexing
    weight_y, weight_x = rows.weight.take(row, axis=1), columns.weight.take(column, axis=1)
    shape = (len(weight_y), len(weight_x), len(row))
    best, value = np.zeros(shape, np.float32), np.empty(shape, np.float32)
    label = np.zeros(shape, np.uint8)
    for index, plane in enumerate(planes):
        probability = plane.take(corners) * corner_scale
        if probability.max() < 0.99 / len(planes):
            continue  # the largest of C probabilities is at least 1 / C
        top, bottom = probability[:2], probability[2:]
        sides = top + (bottom - top) * weight_y[:, None]
        np.multiply((sides[:, 1] - sides[:, 0])[:, None], weight_x, out=value)
        value += sides[:, :1]
        better = (value > best).view(np.uint8)
        np.maximum(best, value, out=best)
        np.maximum(label, np.multiply(better, np.uint8(index), out=better), out=label)
    pixel = (rows.target * labels.shape[1]).take(row, axis=1)[:, None] + (
        columns.target.take(column, axis=1))
    labels.reshape(-1)[pixel] = label
    confidence.reshape(-1)[pixel] = best
