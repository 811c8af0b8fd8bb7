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

"""Boundary F1 of depth discontinuities against dense true depth."""

from __future__ import annotations

import numpy as np
from sync_perception.evaluation.metrics import MAX_DEPTH, MIN_DEPTH
from sync_perception.evaluation.summed_metric import SummedMetric
import torch

THRESHOLDS = np.linspace(1.05, 1.25, 10)
WEIGHTS = THRESHOLDS / THRESHOLDS.sum()
DENSE_SHARE = 0.5


class BoundaryMetrics(SummedMetric):
    """
    F1 of depth discontinuities, averaged over images (Bochkovskii et al., "Depth Pro", 2024).

    A pixel occludes its neighbour at a threshold t if its depth is less than 1 / t of the
    neighbour's. Precision and recall of these relations are averaged over the four directions;
    their F1 is averaged over ten thresholds from 1.05 to 1.25, weighted by t. The metric is
    invariant to the scale of depth.

    Only pairs of pixels with true depth in range count, and only images in which at least half of
    the pixels have it: sparse laser points do not show boundaries.

    :param min_depth: metres, exclusive.
    :param max_depth: metres, exclusive.
    """

    NAMES = ('boundary_f1',)

    def __init__(self, min_depth: float = MIN_DEPTH, max_depth: float = MAX_DEPTH):
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        self.add_sum('image_count')
        self.add_sum('score_sum', dtype=torch.float64)

    @property
    def images(self) -> int:
        """Return the number of images with dense true depth."""
        return int(self.image_count)

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """
        Add an image; one without dense true depth is not counted.

        :param prediction: float (H, W), positive, in any unit.
        :param truth: float (H, W), metres; values out of range are invalid.
        :raises ValueError: if the sizes differ.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f'expected a prediction of the size of the truth {truth.shape}, got '
                f'{prediction.shape}')
        valid = (truth > self.min_depth) & (truth < self.max_depth)
        if valid.mean() < DENSE_SHARE:
            return
        true = np.where(valid, truth, np.nan)
        scores = [f1(prediction, true, threshold) for threshold in THRESHOLDS]
        self.increase('image_count', 1)
        self.increase('score_sum', np.dot(WEIGHTS, scores))

    def compute(self) -> dict[str, float]:
        """
        Return the metric by name.

        :raises ValueError: if no image had dense true depth.
        """
        if not self.images:
            raise ValueError('no image had dense true depth')
        return {'boundary_f1': float(self.score_sum) / self.images}


def f1(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """
    Return the F1 of one image's occlusions at a threshold; 0 if nothing agrees.

    :param prediction: float (H, W), positive.
    :param truth: float (H, W), NaN where unknown.
    """
    precisions, recalls = [], []
    for found, true in zip(occlusions(prediction, threshold), occlusions(truth, threshold)):
        found = found & np.isfinite(neighbour_sums(truth, found.shape))
        agreeing = np.count_nonzero(found & true)
        precisions.append(agreeing / max(np.count_nonzero(found), 1))
        recalls.append(agreeing / max(np.count_nonzero(true), 1))
    precision, recall = np.mean(precisions), np.mean(recalls)
    return 0.0 if precision + recall == 0 else float(
        2 * precision * recall / (precision + recall))


def occlusions(depth: np.ndarray, threshold: float) -> list[np.ndarray]:
    """
    Return masks of pixels that occlude their right, left, lower and upper neighbour.

    :return: two bool (H, W - 1) and two bool (H - 1, W); false where a depth is NaN.
    """
    with np.errstate(invalid='ignore'):
        across, down = depth[:, 1:] / depth[:, :-1], depth[1:] / depth[:-1]
        return [across > threshold, across < 1 / threshold,
                down > threshold, down < 1 / threshold]


def neighbour_sums(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the sums of horizontal or vertical neighbours, whichever match the shape."""
    if shape == values[:, 1:].shape:
        return values[:, 1:] + values[:, :-1]
    return values[1:] + values[:-1]
