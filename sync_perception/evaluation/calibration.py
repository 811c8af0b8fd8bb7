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

"""Calibration: whether uncertainties and confidences say how often a prediction is right."""

from __future__ import annotations

import numpy as np
from sync_perception.evaluation.metrics import MAX_DEPTH, MIN_DEPTH
from sync_perception.evaluation.summed_metric import SummedMetric
from sync_perception.labels import VOID
import torch

CALIBRATION_BINS = 15


class DepthCalibration(SummedMetric):
    """
    Fractions of errors of ln(depth) within one and two predicted standard deviations.

    Pooled over all pixels of all images. For calibrated Gaussian errors, 68.3 % lie within one
    standard deviation and 95.4 % within two; lower fractions mean overconfidence.

    :param min_depth: metres, exclusive.
    :param max_depth: metres, exclusive.
    """

    NAMES = ('depth_within_1_sigma', 'depth_within_2_sigma')

    def __init__(self, min_depth: float = MIN_DEPTH, max_depth: float = MAX_DEPTH):
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        self.add_sum('pixel_count')
        self.add_sum('within', (2,))

    @property
    def pixels(self) -> int:
        """Return the number of pixels with a valid true depth."""
        return int(self.pixel_count)

    def update(
            self, prediction: np.ndarray, truth: np.ndarray, deviation: np.ndarray,
            crop: tuple[slice, slice] | None = None) -> None:
        """
        Add an image.

        :param prediction: float (H, W), metres, positive.
        :param truth: float (H, W), metres; values out of range are invalid.
        :param deviation: float (H, W), standard deviation of ln(depth).
        :param crop: rows and columns to evaluate; None for all.
        :raises ValueError: if the sizes differ.
        """
        if not prediction.shape == truth.shape == deviation.shape:
            raise ValueError(
                f'expected depth and deviation of the size of the truth {truth.shape}, got '
                f'{prediction.shape} and {deviation.shape}')
        if crop is not None:
            prediction, truth, deviation = prediction[crop], truth[crop], deviation[crop]
        valid = (truth > self.min_depth) & (truth < self.max_depth)
        error = np.abs(np.log(prediction[valid].astype(np.float64)) - np.log(truth[valid]))
        self.increase('pixel_count', error.size)
        self.increase(
            'within', [np.count_nonzero(error <= k * deviation[valid]) for k in (1, 2)])

    def compute(self) -> dict[str, float]:
        """
        Return the fractions by name.

        :raises ValueError: if no image had a valid pixel.
        """
        if not self.pixels:
            raise ValueError('no image had a pixel with a valid true depth')
        return dict(zip(self.NAMES, (self.within.cpu().numpy() / self.pixels).tolist()))


class LabelCalibration(SummedMetric):
    """
    Expected calibration error of labels (Guo et al., ICML 2017) over BINS bins of equal width.

    The confidence is the greatest probability of a pixel; its mean in each bin should equal the
    fraction of right labels there. Pooled over all pixels of all images, void excluded.
    """

    NAMES = ('label_calibration_error',)

    def __init__(self):
        super().__init__()
        self.add_sum('pixels', (CALIBRATION_BINS,))
        self.add_sum('right', (CALIBRATION_BINS,))
        self.add_sum('confidence', (CALIBRATION_BINS,), torch.float64)

    def update(self, prediction: np.ndarray, confidence: np.ndarray, truth: np.ndarray) -> None:
        """
        Add an image.

        :param prediction: int (H, W), labels.
        :param confidence: float (H, W), in [0, 1].
        :param truth: uint8 (H, W), labels, 255 void.
        :raises ValueError: if the sizes differ.
        """
        if not prediction.shape == confidence.shape == truth.shape:
            raise ValueError(
                f'expected labels and confidence of the size of the truth {truth.shape}, got '
                f'{prediction.shape} and {confidence.shape}')
        valid = truth != VOID
        sure = confidence[valid].astype(np.float64)
        place = np.minimum((sure * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        right = prediction[valid] == truth[valid]
        self.increase('pixels', np.bincount(place, minlength=CALIBRATION_BINS))
        self.increase('right', np.bincount(place[right], minlength=CALIBRATION_BINS))
        self.increase('confidence', np.bincount(place, weights=sure, minlength=CALIBRATION_BINS))

    def compute(self) -> dict[str, float]:
        """
        Return the error by name, in [0, 1].

        :raises ValueError: if no image had a pixel with a true label.
        """
        pixels = int(self.pixels.sum())
        if not pixels:
            raise ValueError('no image had a pixel with a true label')
        error = (self.confidence - self.right).abs().sum().item() / pixels
        return {self.NAMES[0]: error}
