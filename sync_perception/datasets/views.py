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

"""Views of samples for training: scale, crop and mirror with consistent geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from sync_perception.datasets.sample import MAX_CLASSES, Sample
from sync_perception.geometry import crop_intrinsics, flip_intrinsics, resize_intrinsics
from sync_perception.labels import VOID

SPARSE_SHARE = 0.5


@dataclass(frozen=True)
class View:
    """
    A window of a resized, optionally mirrored image.

    :param scale: size of the resized image relative to the recording's.
    :param top: first row of the window in the resized image, pixels; may be negative.
    :param left: first column before mirroring, pixels; may be negative.
    :param size: height and width of the window.
    :param mirror: whether the window is mirrored.
    """

    scale: float
    top: int
    left: int
    size: tuple[int, int]
    mirror: bool = False

    def intrinsics(self, K: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Return the window's intrinsics, float64 (3, 3), given the recording's."""
        K = resize_intrinsics(K, image_size, self.resized(image_size))
        K = crop_intrinsics(K, self.top, self.left)
        return flip_intrinsics(K, self.size[1]) if self.mirror else K

    def resized(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of the resized image."""
        return round(image_size[0] * self.scale), round(image_size[1] * self.scale)

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return the window of a uint8 (H, W, 3) image; mid-grey outside of the image."""
        height, width = self.resized(image.shape[:2])
        interpolation = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, (width, height), interpolation=interpolation)
        window = np.full((*self.size, 3), 127, np.uint8)
        top, left = max(self.top, 0), max(self.left, 0)
        part = resized[top:self.top + self.size[0], left:self.left + self.size[1]]
        row, column = top - self.top, left - self.left
        window[row:row + part.shape[0], column:column + part.shape[1]] = part
        return window[:, ::-1] if self.mirror else window

    def nearest(self, image: np.ndarray, stride: int, void: Any) -> np.ndarray:
        """
        Return the window of a map, sampled by nearest neighbour at the centre of each cell.

        A cell is stride x stride pixels of the window, which one pixel of a network's map covers.

        :param image: (H, W) or (H, W, C).
        :return: (h / stride, w / stride) or (h / stride, w / stride, C); `void` outside of the
            recording.
        """
        rows, columns = self._centres(image.shape, stride)
        inside = ((rows >= 0) & (rows < image.shape[0]))[:, None] & (
            (columns >= 0) & (columns < image.shape[1]))
        inside = inside.reshape(*inside.shape, *[1] * (image.ndim - 2))
        picked = image[rows.clip(0, image.shape[0] - 1)][:, columns.clip(0, image.shape[1] - 1)]
        window = np.where(inside, picked, np.asarray(void, image.dtype))
        return window[:, ::-1] if self.mirror else window

    def scatter(self, depth: np.ndarray, stride: int) -> np.ndarray:
        """
        Return the window of a sparse (H, W) depth map, by point; the nearest point of a cell wins.

        :return: float32 (h / stride, w / stride), NaN where no point falls.
        """
        v, u = np.nonzero(np.isfinite(depth))
        values = depth[v, u]
        height, width = self.resized(depth.shape)
        row = np.floor(((v + 0.5) * height / depth.shape[0] - self.top) / stride).astype(int)
        column = np.floor(((u + 0.5) * width / depth.shape[1] - self.left) / stride).astype(int)
        shape = self.size[0] // stride, self.size[1] // stride
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
        window = np.full(shape, np.inf, np.float32)
        np.minimum.at(window, (row[inside], column[inside]), values[inside])
        window[np.isinf(window)] = np.nan
        return window[:, ::-1] if self.mirror else window

    def depth(self, depth: np.ndarray, stride: int) -> np.ndarray:
        """Return the window of dense or sparse depth: float32 (h / stride, w / stride), NaN."""
        if np.isnan(depth).mean() > SPARSE_SHARE:
            return self.scatter(depth, stride)
        return self.nearest(depth, stride, np.nan)

    def normals(self, normals: np.ndarray, stride: int) -> np.ndarray:
        """
        Return the window of unit normals in the optical frame; mirroring negates their x.

        :param normals: float (H, W, 3), NaN where unknown.
        :return: (h / stride, w / stride, 3), NaN where unknown and outside of the recording.
        """
        window = self.nearest(normals, stride, np.nan)
        return window * np.array([-1, 1, 1], window.dtype) if self.mirror else window

    def _centres(self, shape: tuple[int, int], stride: int) -> tuple[np.ndarray, np.ndarray]:
        resized = self.resized(shape)
        axes = zip(self.size, (self.top, self.left), shape, resized)
        positions = [
            (np.arange(0, extent, stride) + stride / 2 + start) * old / new
            for extent, start, old, new in axes]
        return tuple(np.floor(position).astype(int) for position in positions)


def random_view(
        rng: np.random.Generator, image_size: tuple[int, int], crop: tuple[int, int],
        scale_range: tuple[float, float]) -> View:
    """
    Draw a random view: log-uniform scale, uniform position, mirrored with probability 1/2.

    :param crop: height and width of the window.
    :param scale_range: least and greatest size of the resized image relative to the recording's.
    """
    scale = float(np.exp(rng.uniform(*np.log(scale_range))))
    resized = round(image_size[0] * scale), round(image_size[1] * scale)
    top, left = (_random_start(rng, whole, part) for whole, part in zip(resized, crop))
    return View(scale, top, left, crop, mirror=bool(rng.integers(2)))


def training_arrays(sample: Sample, view: View, stride: int) -> dict[str, Any]:
    """
    Return a view of a sample as arrays for training.

    :param stride: side of the targets' cells, pixels of the window.
    :return: image uint8 (h, w, 3); focal (pixels of the window, NaN if unknown); depth float32
        (h', w') metres, NaN where unknown or infinite; labels, expert_labels uint8 (h', w');
        expert_confidence float32 (h', w'); expert_classes uint8 (MAX_CLASSES, h', w'), void where
        missing, and expert_probabilities, of the same shape and dtype, in PROBABILITY_UNITS;
        normals float32 (3, h', w'), NaN where unknown; with h' = h / stride.
    """
    shape = view.size[0] // stride, view.size[1] // stride
    void = np.full(shape, VOID, np.uint8)
    depth = np.full(shape, np.nan, np.float32)
    if sample.depth is not None and sample.K is not None:
        depth = view.depth(sample.depth, stride)
        depth[np.isinf(depth)] = np.nan
    normals = np.full((*shape, 3), np.nan, np.float32)
    if sample.normals is not None:
        normals = view.normals(sample.normals, stride)
    expert = sample.expert_labels
    confidence = np.ones(shape, np.float32)
    if sample.expert_confidence is not None:
        confidence = view.nearest(sample.expert_confidence, stride, 0)
    focal = float('nan')
    if sample.K is not None:
        focal = view.intrinsics(sample.K, sample.image.shape[:2])[0, 0]
    arrays = {
        'image': view.image(sample.image),
        'depth': depth,
        'labels': void if sample.labels is None else view.nearest(sample.labels, stride, VOID),
        'expert_labels': void if expert is None else view.nearest(expert, stride, VOID),
        'expert_confidence': confidence,
        **soft_targets(sample, view, stride),
        'normals': normals.transpose(2, 0, 1)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {**arrays, 'focal': np.float32(focal)}


def soft_targets(sample: Sample, view: View, stride: int) -> dict[str, np.ndarray]:
    """
    Return a view of an expert's most probable classes and their probabilities.

    The shapes are the same for every sample, also for those without soft labels, so that they can
    be stacked; they take eight bytes per cell.

    :return: expert_classes and expert_probabilities, uint8 (MAX_CLASSES, h / stride, w / stride).
    """
    shape = MAX_CLASSES, view.size[0] // stride, view.size[1] // stride
    maps = {'expert_classes': (sample.expert_classes, VOID),
            'expert_probabilities': (sample.expert_probabilities, 0)}
    targets = {name: np.full(shape, void, np.uint8) for name, (_, void) in maps.items()}
    for name, (given, void) in maps.items():
        if given is not None:
            window = view.nearest(given, stride, void)
            targets[name][:window.shape[2]] = window.transpose(2, 0, 1)
    return targets


def _random_start(rng: np.random.Generator, whole: int, part: int) -> int:
    spare = whole - part
    return int(rng.integers(min(spare, 0), max(spare, 0) + 1))
