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

"""Test calibration metrics against known errors and another implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sync_perception.evaluation.calibration import (
    CALIBRATION_BINS,
    DepthCalibration,
    LabelCalibration,
)
import torch
from torchmetrics.functional.classification import multiclass_calibration_error


def test_deviations_of_known_gaussian_errors_are_calibrated():
    """At the right size 68.3 and 95.4 % lie within; half the size is within twice of that."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(2, 70, (200, 300))
    deviation = rng.uniform(0.05, 0.3, truth.shape)
    prediction = truth * np.exp(rng.normal(size=truth.shape) * deviation)
    right, bold = DepthCalibration(), DepthCalibration()
    right.update(prediction, truth, deviation)
    bold.update(prediction, truth, deviation / 2)
    assert list(right.compute().values()) == pytest.approx(
        [math.erf(1 / math.sqrt(2)), math.erf(math.sqrt(2))], abs=0.01)
    assert bold.compute()['depth_within_2_sigma'] == right.compute()['depth_within_1_sigma']


def test_calibration_counts_valid_pixels_of_the_crop():
    metrics = DepthCalibration()
    truth = np.array([[10.0, 10.0, np.nan, 100.0, 10.0]])
    prediction = np.array([[10.5, 20.0, 5.0, 100.0, 10.0]])
    metrics.update(prediction, truth, np.full((1, 5), 0.1), (slice(0, 1), slice(0, 4)))
    assert metrics.compute() == {'depth_within_1_sigma': 0.5, 'depth_within_2_sigma': 0.5}


def test_the_calibration_error_of_labels_is_that_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 5, 40, 60, generator=generator)
    truth = torch.randint(5, (2, 40, 60), generator=generator)
    truth[0, :10] = 255
    expected = multiclass_calibration_error(
        logits.softmax(dim=1), truth, num_classes=5, n_bins=CALIBRATION_BINS, ignore_index=255)
    metric = LabelCalibration()
    for probabilities, true in zip(logits.softmax(dim=1), truth):
        confidence, labels = probabilities.max(dim=0)
        metric.update(labels.numpy(), confidence.numpy(), true.numpy().astype(np.uint8))
    error = metric.compute()['label_calibration_error']
    assert error == pytest.approx(expected.item(), abs=1e-5)


def test_confident_and_always_right_is_calibrated_and_always_wrong_is_not():
    for wrong, error in ((0, 0.0), (1, 1.0)):
        metric = LabelCalibration()
        metric.update(np.full((2, 3), wrong), np.ones((2, 3)), np.zeros((2, 3), np.uint8))
        assert metric.compute() == {'label_calibration_error': error}


def test_labels_without_truth_and_of_other_sizes_are_refused():
    metric = LabelCalibration()
    metric.update(np.zeros((2, 3), int), np.ones((2, 3)), np.full((2, 3), 255, np.uint8))
    with pytest.raises(ValueError, match='no image had a pixel'):
        metric.compute()
    with pytest.raises(ValueError, match=r'\(2, 4\)'):
        metric.update(np.zeros((2, 3), int), np.ones((2, 3)), np.zeros((2, 4), np.uint8))
