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

"""Metrics against torchmetrics, and against small cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sync_perception.evaluation.calibration import DepthCalibration
from sync_perception.evaluation.depth_boundaries import BoundaryMetrics
from sync_perception.evaluation.metrics import (
    DepthMetrics,
    garg_crop,
    NormalMetrics,
    SegmentationMetrics,
)
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.regression import MeanAbsolutePercentageError, MeanSquaredError

TRUTH = np.array([[10.0, 20.0, np.nan, 0.0], [100.0, np.inf, 40.0, 5.0]])
GUESS = np.array([[11.0, 16.0, 30.0, 30.0], [30.0, 30.0, 80.0, 5.0]])


def test_depth_errors_by_hand():
    """Four pixels are valid: 11 for 10, 16 for 20, 80 for 40, 5 for 5."""
    metrics = DepthMetrics()
    metrics.update(GUESS, TRUTH)
    logs = [math.log(1.1), math.log(0.8), math.log(2), 0.0]
    mean, square = sum(logs) / 4, sum(d * d for d in logs) / 4
    assert metrics.compute() == pytest.approx({
        'abs_rel': (0.1 + 0.2 + 1.0 + 0.0) / 4,
        'sq_rel': (1 / 10 + 16 / 20 + 1600 / 40 + 0) / 4,
        'rmse': math.sqrt((1 + 16 + 1600 + 0) / 4),
        'rmse_log': math.sqrt(square),
        'silog': 100 * math.sqrt(square - mean ** 2),
        # 1.1 and 1 are below 1.25; 20 / 16 is 1.25, below its square; 2 is above 1.953
        'delta1': 2 / 4, 'delta2': 3 / 4, 'delta3': 3 / 4})


@pytest.mark.parametrize('pooled', [False, True])
def test_depth_errors_agree_with_torchmetrics(pooled):
    """Abs rel is the mean absolute percentage error, over images or over all pixels."""
    rng = np.random.default_rng(0)
    metrics = DepthMetrics(pooled=pooled)
    images = []
    for pixels in (50, 500):
        truth = rng.uniform(1, 79, (10, pixels // 10))
        guess = truth * rng.uniform(0.5, 1.5, truth.shape)
        metrics.update(guess, truth)
        images.append((torch.tensor(guess).clamp(max=80), torch.tensor(truth)))
    groups = [[image] for image in images] if not pooled else [images]
    expected = {'abs_rel': 0.0, 'rmse': 0.0, 'rmse_log': 0.0}
    for group in groups:
        percentage, square, log = (
            MeanAbsolutePercentageError(), MeanSquaredError(squared=False),
            MeanSquaredError(squared=False))
        for guess, truth in group:
            percentage.update(guess, truth)
            square.update(guess, truth)
            log.update(guess.log().flatten(), truth.log().flatten())
        for name, metric in (('abs_rel', percentage), ('rmse', square), ('rmse_log', log)):
            expected[name] += metric.compute().item() / len(groups)
    scores = metrics.compute()
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_images_are_averaged_unless_pooled():
    """One pixel wrong by half and three right: means of images and of pixels differ."""
    for pooled, expected in ((False, 0.25), (True, 0.125)):
        metrics = DepthMetrics(pooled=pooled)
        metrics.update(np.array([[15.0]]), np.array([[10.0]]))
        metrics.update(np.full((1, 3), 7.0), np.full((1, 3), 7.0))
        assert metrics.images == 2
        assert metrics.compute()['abs_rel'] == pytest.approx(expected)


def test_an_image_without_truth_does_not_count():
    """It neither raises nor lowers the mean; with no other there is nothing to compute."""
    metrics = DepthMetrics()
    metrics.update(np.ones((2, 2)), np.full((2, 2), np.nan))
    assert metrics.images == 0
    with pytest.raises(ValueError, match='no image'):
        metrics.compute()


def test_predictions_are_clamped_to_the_range():
    """Predictions of 0 and of infinity become 1 mm and 80 m."""
    metrics = DepthMetrics(pooled=True)
    metrics.update(np.array([[0.0, np.inf]]), np.array([[1.0, 40.0]]))
    assert metrics.compute()['abs_rel'] == pytest.approx((0.999 + 1) / 2)


def test_truth_at_the_limits_is_invalid():
    """The range is open: 1e-3 and 80 themselves do not count."""
    metrics = DepthMetrics()
    metrics.update(np.full((1, 3), 20.0), np.array([[1e-3, 80.0, 10.0]]))
    assert metrics.compute()['abs_rel'] == pytest.approx(1.0)


def test_median_scaling_forgives_a_factor_and_nothing_else():
    """A prediction three times too small is right after scaling, and wrong without."""
    truth = np.random.default_rng(0).uniform(1, 70, (8, 9))
    scaled, metric = DepthMetrics(median_scaling=True), DepthMetrics()
    for metrics in (scaled, metric):
        metrics.update(truth / 3, truth)
    assert scaled.compute()['abs_rel'] == pytest.approx(0, abs=1e-12)
    assert metric.compute()['abs_rel'] == pytest.approx(2 / 3)
    assert metric.compute()['silog'] == pytest.approx(0, abs=1e-4)


def test_garg_crop_of_a_kitti_image():
    """Rows 153 to 370 and columns 44 to 1196 of 375 x 1242, as in Eigen's evaluation code."""
    assert garg_crop((375, 1242)) == (slice(153, 371), slice(44, 1197))


@pytest.mark.parametrize('pooled', [False, True])
def test_depth_errors_of_parts_add_up(pooled):
    """Metrics of two processes, merged, are those of one that saw all images."""
    rng = np.random.default_rng(0)
    whole, *parts = (DepthMetrics(pooled=pooled) for _ in range(3))
    for index in range(4):
        truth = rng.uniform(1, 79, (4 + index, 5))
        guess = truth * rng.uniform(0.5, 1.5, truth.shape)
        for metrics in (whole, parts[index % 2]):
            metrics.update(guess, truth)
    parts[0].merge_state(parts[1])
    assert parts[0].images == 4
    assert parts[0].compute() == pytest.approx(whole.compute(), rel=1e-12)


def test_other_metrics_of_parts_add_up():
    """Normals, deviations, labels and boundaries."""
    rng = np.random.default_rng(0)
    shape = (20, 30)
    kinds = (NormalMetrics, DepthCalibration, lambda: SegmentationMetrics(3), BoundaryMetrics)
    inputs = (
        lambda: [turned(rng.uniform(0, 60, shape)), turned(rng.uniform(0, 60, shape))],
        lambda: [*rng.uniform(5, 20, (2, *shape)), np.full(shape, 0.4)],
        lambda: rng.integers(0, 3, (2, *shape)),
        lambda: rng.uniform(5, 20, (2, *shape)))
    for kind, make in zip(kinds, inputs):
        whole, first, second = kind(), kind(), kind()
        for part in (first, second, second):
            values = make()
            part.update(*values)
            whole.update(*values)
        first.merge_state(second)
        assert first.compute() == pytest.approx(whole.compute(), rel=1e-12)


def test_only_the_crop_is_scored():
    """An error outside of the crop is not seen, one on its first pixel is."""
    truth, guess = np.full((375, 1242), 10.0), np.full((375, 1242), 10.0)
    guess[152], guess[:, 1197] = 50.0, 50.0
    inside = DepthMetrics()
    inside.update(guess, truth, garg_crop(truth.shape))
    assert inside.compute()['rmse'] == 0
    guess[153, 44] = 50.0
    touched = DepthMetrics()
    touched.update(guess, truth, garg_crop(truth.shape))
    assert touched.compute()['rmse'] == pytest.approx(40 / math.sqrt(218 * 1153))


def test_bad_depth_is_refused():
    """Other sizes, and NaN where the truth is known."""
    with pytest.raises(ValueError, match=r'\(2, 2\).*\(2, 3\)'):
        DepthMetrics().update(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match='1 of 2 pixels'):
        DepthMetrics().update(np.array([[np.nan, 1.0]]), np.array([[1.0, 1.0]]))


def test_segmentation_agrees_with_torchmetrics():
    """One matrix over several images, void left out, a class that never occurs left out."""
    rng = np.random.default_rng(0)
    metrics = SegmentationMetrics(6)
    mean = MulticlassJaccardIndex(6, ignore_index=255, average='macro')
    single = MulticlassJaccardIndex(6, ignore_index=255, average='none')
    accuracy = MulticlassAccuracy(6, ignore_index=255, average='micro')
    for _ in range(3):
        truth = rng.integers(0, 5, (20, 30))
        guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 5, truth.shape))
        truth[:3] = 255
        metrics.update(guess.astype(np.uint8), truth.astype(np.uint8))
        for metric in (mean, single, accuracy):
            metric.update(torch.tensor(guess), torch.tensor(truth))
    assert metrics.mean_iou() == pytest.approx(mean.compute().item(), rel=1e-5)
    assert metrics.iou()[:5] == pytest.approx(single.compute().numpy()[:5], rel=1e-5)
    assert np.isnan(metrics.iou()[5])
    assert metrics.pixel_accuracy() == pytest.approx(accuracy.compute().item(), rel=1e-5)


def test_segmentation_by_hand():
    """Class 0: 2 of 3; class 1: 1 of 3; class 2 predicted only: 0; class 3 in neither."""
    metrics = SegmentationMetrics(4)
    metrics.update(np.array([0, 0, 1, 1, 2, 3]), np.array([0, 0, 0, 1, 1, 255]))
    assert metrics.iou() == pytest.approx([2 / 3, 1 / 3, 0.0, np.nan], nan_ok=True)
    assert metrics.mean_iou() == pytest.approx(1 / 3)
    assert metrics.pixel_accuracy() == pytest.approx(3 / 5)


def test_a_perfect_class_counts():
    """An IoU of exactly 1 is no reason to leave a class out of the mean."""
    metrics = SegmentationMetrics(2)
    metrics.update(np.array([0, 0, 1, 0]), np.array([0, 0, 1, 1]))
    assert metrics.mean_iou() == pytest.approx((2 / 3 + 1 / 2) / 2)
    perfect = SegmentationMetrics(2)
    perfect.update(np.array([0, 1]), np.array([0, 1]))
    assert perfect.mean_iou() == 1.0


def test_no_prediction_is_an_error():
    """A void prediction on a known pixel lowers that class's IoU and the accuracy."""
    metrics = SegmentationMetrics(2)
    metrics.update(np.array([0, 255, 1]), np.array([0, 0, 1]))
    assert metrics.iou() == pytest.approx([1 / 2, 1.0])
    assert metrics.pixel_accuracy() == pytest.approx(2 / 3)


def test_bad_labels_are_refused():
    """Other sizes, unknown classes in the truth, and nothing to compute."""
    metrics = SegmentationMetrics(3)
    with pytest.raises(ValueError, match='size of the truth'):
        metrics.update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match='below 3 or void.*0 to 3'):
        metrics.update(np.zeros(2, np.uint8), np.array([0, 3]))
    metrics.update(np.zeros(2, np.uint8), np.array([255, 255]))
    for compute in (metrics.mean_iou, metrics.pixel_accuracy):
        with pytest.raises(ValueError, match='no image'):
            compute()


def turned(degrees):
    """Return unit vectors, turned by these angles from the one towards the camera."""
    angles = np.radians(degrees)
    return np.stack([np.sin(angles), 0 * angles, -np.cos(angles)], axis=-1)


def test_angles_of_normals_by_hand():
    """Four known pixels, 5, 11.25 - a bit, 25 and 90 degrees off, over two images; one unknown."""
    metrics = NormalMetrics()
    straight = turned(np.zeros((1, 3)))
    truth = straight.copy()
    truth[0, 2] = np.nan
    metrics.update(7 * turned(np.array([[5.0, 11.24, 3.0]])), truth)
    metrics.update(turned(np.array([[25.0, 90.0]])), straight[:, :2])
    metrics.update(straight, np.full((1, 3, 3), np.nan))
    assert metrics.images == 2
    scores = metrics.compute()
    assert scores['normals_mean'] == pytest.approx((5 + 11.24 + 25 + 90) / 4)
    assert scores['normals_median'] == pytest.approx(11.24, abs=0.01)
    assert [scores[f'normals_within_{limit}'] for limit in (11.25, 22.5, 30)] == [0.5, 0.5, 0.75]


def test_angles_of_normals_agree_with_torch():
    rng = np.random.default_rng(0)
    guess, truth = rng.normal(size=(2, 3, 20, 30, 3))
    truth /= np.linalg.norm(truth, axis=-1, keepdims=True)
    metrics = NormalMetrics()
    for g, t in zip(guess, truth):
        metrics.update(g, t)
    cosine = torch.cosine_similarity(torch.from_numpy(guess), torch.from_numpy(truth), dim=-1)
    angles = cosine.arccos().rad2deg().flatten()
    scores = metrics.compute()
    assert scores['normals_mean'] == pytest.approx(angles.mean().item())
    assert scores['normals_median'] == pytest.approx(angles.median().item(), abs=0.02)
    assert scores['normals_within_30'] == pytest.approx((angles < 30).double().mean().item())


@pytest.mark.parametrize('metrics', [NormalMetrics, DepthCalibration])
def test_heads_without_truth_and_of_other_sizes_are_refused(metrics):
    with pytest.raises(ValueError, match='no image had a pixel'):
        metrics().compute()
    sizes = [np.ones((2, 3, 3)), np.ones((2, 4, 3)), np.ones((2, 3, 3))]
    with pytest.raises(ValueError, match=r'\(2, 4, 3\)'):
        metrics().update(*sizes[:2 if metrics is NormalMetrics else 3])
