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

"""Metrics of depth, normals and labels by standard protocols, accumulated over frames."""

from __future__ import annotations

import numpy as np
from sync_perception.datasets.nyuv2.crop import EIGEN_CROP, EIGEN_SIZE
from sync_perception.evaluation.summed_metric import SummedMetric
from sync_perception.labels import VOID
import torch

MIN_DEPTH = 1e-3
MAX_DEPTH = 80.0
# Rows and columns, as fractions of height and width (Garg et al., ECCV 2016).
GARG_ROWS = (0.40810811, 0.99189189)
GARG_COLUMNS = (0.03594771, 0.96405229)
DELTA = 1.25
METRIC_LABELS = {
    'miou': ('mean IoU', '', True), 'pixel_accuracy': ('pixel accuracy', '', True),
    'label_calibration_error': ('calibration error', '', False),
    'abs_rel': ('abs rel', '', False), 'sq_rel': ('sq rel', 'm', False),
    'rmse': ('RMSE', 'm', False), 'rmse_log': ('RMSE log', '', False),
    'silog': ('SILog', 'x 100', False), 'delta1': ('delta < 1.25', '', True),
    'delta2': ('delta < 1.25\N{SUPERSCRIPT TWO}', '', True),
    'delta3': ('delta < 1.25\N{SUPERSCRIPT THREE}', '', True),
    'boundary_f1': ('F1 of borders', '', True),
    'depth_within_1_sigma': ('error within 1 sigma', '', None),
    'depth_within_2_sigma': ('error within 2 sigma', '', None),
    'normals_mean': ('mean angle', 'degrees', False),
    'normals_median': ('median angle', 'degrees', False),
    'normals_within_11.25': ('within 11.25 degrees', '', True),
    'normals_within_22.5': ('within 22.5 degrees', '', True),
    'normals_within_30': ('within 30 degrees', '', True),
    'temporal_miou': ('mean IoU with the warped previous frame', '', True),
    'temporal_abs_rel': ('abs rel to the warped previous frame', '', False)}
"""Title and unit of each metric, and whether higher is better; None: the nominal is best."""


def garg_crop(size: tuple[int, int]) -> tuple[slice, slice]:
    """
    Return Garg's crop, in which depth is evaluated on KITTI.

    :param size: height and width in pixels.
    :return: slices of rows and columns; limits are truncated to integers.
    """
    return tuple(
        slice(int(share[0] * extent), int(share[1] * extent))
        for share, extent in zip((GARG_ROWS, GARG_COLUMNS), size))


def eigen_crop(size: tuple[int, int]) -> tuple[slice, slice]:
    """
    Return Eigen's crop, in which depth is evaluated on NYU Depth v2.

    :param size: height and width in pixels.
    :return: slices of rows and columns: rows 45 to 470, columns 41 to 600.
    :raises ValueError: unless the image has its full size.
    """
    if tuple(size) != EIGEN_SIZE:
        raise ValueError(
            f"Eigen's crop is that of {EIGEN_SIZE[1]}x{EIGEN_SIZE[0]} images, got "
            f'{size[1]}x{size[0]}')
    return EIGEN_CROP


CROPS = {'garg': garg_crop, 'eigen': eigen_crop}
"""Protocols' crops by name: functions from a size to rows and columns."""


class DepthMetrics(SummedMetric):
    """
    Depth errors over the pixels whose true depth is known and within range (Eigen et al., 2014).

    Where min_depth < truth < max_depth, the prediction is optionally scaled, clamped to that
    range, and compared. Each metric is computed per image and averaged over the images; if pooled,
    it is computed once over all pixels of all images.

    :param pooled: whether to pool all pixels, as the multi-task literature does.
    :param median_scaling: whether each prediction is multiplied by median(truth) /
        median(prediction): for networks without metric scale; report it as such.
    :param min_depth: metres, exclusive.
    :param max_depth: metres, exclusive.
    """

    NAMES = (
        'abs_rel', 'sq_rel', 'rmse', 'rmse_log', 'silog', 'delta1', 'delta2', 'delta3')

    def __init__(
            self, pooled: bool = False, median_scaling: bool = False,
            min_depth: float = MIN_DEPTH, max_depth: float = MAX_DEPTH):
        super().__init__()
        self.pooled, self.median_scaling = pooled, median_scaling
        self.min_depth, self.max_depth = min_depth, max_depth
        self.latest: dict[str, float] = {}
        self.add_sum('image_count')
        self.add_sum('pixel_sums', (9,), torch.float64)
        self.add_sum('score_sums', (len(self.NAMES),), torch.float64)

    @property
    def images(self) -> int:
        """Return the number of images with a valid pixel."""
        return int(self.image_count)

    def update(
            self, prediction: np.ndarray, truth: np.ndarray,
            crop: tuple[slice, slice] | None = None) -> None:
        """
        Add an image; one without a valid pixel is not counted.

        Afterwards `latest` holds the metrics of the last image that was counted.

        :param prediction: float (H, W), metres.
        :param truth: float (H, W), metres; NaN, inf, 0 and values out of range are invalid.
        :param crop: rows and columns to evaluate; None for all.
        :raises ValueError: if the sizes differ, or a prediction is NaN where the truth is valid.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f'expected a prediction of the size of the truth {truth.shape}, got '
                f'{prediction.shape}')
        if crop is not None:
            prediction, truth = prediction[crop], truth[crop]
        valid = (truth > self.min_depth) & (truth < self.max_depth)
        if not valid.any():
            return
        predicted, true = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
        if np.isnan(predicted).any():
            raise ValueError(
                f'{np.isnan(predicted).sum()} of {len(true)} pixels with a valid truth are '
                'predicted NaN: expected a depth at each')
        if self.median_scaling:
            predicted = predicted * (np.median(true) / np.median(predicted))
        sums = error_sums(predicted.clip(self.min_depth, self.max_depth), true)
        scores = scores_of_sums(sums)
        self.latest = dict(zip(self.NAMES, scores.tolist()))
        self.increase('image_count', 1)
        self.increase('pixel_sums', sums)
        self.increase('score_sums', scores)

    def compute(self) -> dict[str, float]:
        """
        Return every metric by name; SILog times 100, deltas as fractions, errors in metres.

        :raises ValueError: if no image had a valid pixel.
        """
        if not self.images:
            raise ValueError('no image had a pixel with a valid true depth')
        scores = scores_of_sums(self.pixel_sums.cpu().numpy()) if self.pooled else (
            self.score_sums / self.image_count)
        return dict(zip(self.NAMES, scores.tolist()))


def error_sums(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """
    Return the sums over pixels that the metrics need; sums of several images add up.

    :param predicted: float64 (N,), metres, positive.
    :param true: float64 (N,), metres, positive.
    :return: float64 (9,): count, |e|/g, e^2/g, e^2, d, d^2 with e = p - g and d = ln p - ln g,
        and the numbers of pixels with max(p/g, g/p) below 1.25, 1.25^2 and 1.25^3.
    """
    error = predicted - true
    log_error = np.log(predicted) - np.log(true)
    ratio = np.maximum(predicted / true, true / predicted)
    return np.array([
        len(true), np.sum(np.abs(error) / true), np.sum(error ** 2 / true), np.sum(error ** 2),
        np.sum(log_error), np.sum(log_error ** 2),
        *(np.count_nonzero(ratio < DELTA ** power) for power in (1, 2, 3))])


def scores_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return the metrics of the sums of `error_sums`, in the order of `DepthMetrics.NAMES`."""
    abs_rel, sq_rel, square, log, log_square, *deltas = sums[1:] / sums[0]
    variance = max(log_square - log ** 2, 0.0)  # rounding may give a negative value
    return np.array([
        abs_rel, sq_rel, np.sqrt(square), np.sqrt(log_square), 100 * np.sqrt(variance), *deltas])


class NormalMetrics(SummedMetric):
    """
    Angles between predicted and true normals, pooled over all pixels of all images.

    Mean and median in degrees, and the fractions below 11.25, 22.5 and 30 degrees (Fouhey et al.,
    ICCV 2013). The median is computed from a histogram with bins of 0.01 degrees.
    """

    NAMES = (
        'normals_mean', 'normals_median', 'normals_within_11.25', 'normals_within_22.5',
        'normals_within_30')
    LIMITS = (11.25, 22.5, 30.0)
    BINS = 18000

    def __init__(self):
        super().__init__()
        self.add_sum('image_count')
        self.add_sum('total', dtype=torch.float64)
        self.add_sum('below', (len(self.LIMITS),))
        self.add_sum('histogram', (self.BINS,))

    @property
    def images(self) -> int:
        """Return the number of images with a valid pixel."""
        return int(self.image_count)

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """
        Add an image; one without a valid pixel is not counted.

        :param prediction: float (H, W, 3), of any non-zero length.
        :param truth: float (H, W, 3), unit vectors, NaN where unknown.
        :raises ValueError: if the sizes differ.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f'expected predicted normals of the size of the truth {truth.shape}, got '
                f'{prediction.shape}')
        valid = np.isfinite(truth).all(axis=-1)
        if not valid.any():
            return
        p, g = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
        # atan2 is exact for small angles, unlike the arc cosine
        angles = np.degrees(np.arctan2(
            np.linalg.norm(np.cross(p, g), axis=-1), np.einsum('nc,nc->n', p, g)))
        self.increase('image_count', 1)
        self.increase('total', angles.sum())
        self.increase('below', [np.count_nonzero(angles < limit) for limit in self.LIMITS])
        self.increase('histogram', np.histogram(angles, self.BINS, (0, 180))[0])

    def compute(self) -> dict[str, float]:
        """
        Return every metric by name.

        :raises ValueError: if no image had a valid pixel.
        """
        if not self.images:
            raise ValueError('no image had a pixel with a true normal')
        histogram = self.histogram.cpu().numpy()
        pixels = histogram.sum()
        middle = np.searchsorted(histogram.cumsum(), pixels / 2)
        median = (middle + 0.5) * 180 / self.BINS
        return dict(zip(self.NAMES, (
            float(self.total) / float(pixels), float(median),
            *(self.below.cpu().numpy() / pixels).tolist())))


class SegmentationMetrics(SummedMetric):
    """
    IoU and pixel accuracy from one confusion matrix over all images.

    Pixels whose true label is void do not count. At all others, a prediction that is no class is
    an error.

    :param num_classes: number of classes, whose ids are 0 to num_classes - 1.
    """

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.add_sum('cells', (num_classes, num_classes + 1))

    @property
    def confusion(self) -> np.ndarray:
        """
        Return the confusion matrix, int64 (C, C + 1).

        :return: rows: truth; columns: prediction, the last one for ids of no class.
        """
        return self.cells.cpu().numpy()

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """
        Add an image.

        :param prediction: integers (H, W).
        :param truth: integers (H, W), classes or void.
        :raises ValueError: if the sizes differ, or the truth has a label that is no class.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f'expected a prediction of the size of the truth {truth.shape}, got '
                f'{prediction.shape}')
        counts = truth != VOID
        true, predicted = truth[counts].astype(np.int64), prediction[counts].astype(np.int64)
        if true.size and not 0 <= true.min() <= true.max() < self.num_classes:
            raise ValueError(
                f'expected true labels below {self.num_classes} or void ({VOID}), got '
                f'{true.min()} to {true.max()}')
        predicted[(predicted < 0) | (predicted >= self.num_classes)] = self.num_classes
        cells = np.bincount(
            true * (self.num_classes + 1) + predicted, minlength=self.cells.numel())
        self.increase('cells', cells.reshape(self.cells.shape))

    def iou(self) -> np.ndarray:
        """Return each class's IoU, float64 (C,); NaN if neither truth nor prediction has it."""
        confusion = self.confusion
        hits = np.diag(confusion)
        union = confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0) - hits
        return np.divide(hits, union, out=np.full(self.num_classes, np.nan), where=union > 0)

    def compute(self) -> dict[str, float]:
        """
        Return mean IoU and pixel accuracy by name.

        :raises ValueError: if no pixel has been counted.
        """
        return {'miou': self.mean_iou(), 'pixel_accuracy': self.pixel_accuracy()}

    def mean_iou(self) -> float:
        """
        Return the mean IoU over the classes that occur in truth or prediction.

        :raises ValueError: if no pixel has been counted.
        """
        self._check()
        return float(np.nanmean(self.iou()))

    def pixel_accuracy(self) -> float:
        """
        Return the fraction of correctly labelled pixels.

        :raises ValueError: if no pixel has been counted.
        """
        self._check()
        return float(np.trace(self.confusion) / self.confusion.sum())

    def _check(self) -> None:
        if not self.confusion.any():
            raise ValueError('no image had a pixel with a true label')
