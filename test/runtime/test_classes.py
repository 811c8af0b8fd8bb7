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

"""Labels and confidence of a CPU, against all the classes interpolated in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.runtime.classes import most_probable
import torch
from torch.nn.functional import interpolate


def dense(logits_hwc: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Interpolate all probabilities: float64 (C, H, W)."""
    logits = torch.from_numpy(logits_hwc).double().permute(2, 0, 1)[None]
    return interpolate(logits.softmax(1), size=size, mode='bilinear')[0].numpy()


@pytest.mark.parametrize('source, target', [
    ((23, 41), (67, 121)), ((23, 41), (23, 41)), ((31, 17), (13, 29)), ((9, 11), (301, 7)),
    ((1, 13), (5, 31)), ((13, 1), (37, 3)), ((64, 96), (191, 287))])
@pytest.mark.parametrize('classes, spread', [(1, 1.0), (2, 3.0), (20, 0.1), (20, 5.0), (46, 2.0)])
def test_labels_and_confidence_are_those_of_all_classes_interpolated(
        source, target, classes, spread):
    rng = np.random.default_rng(len(source) + classes)
    logits = rng.normal(scale=spread, size=(*source, classes)).astype(np.float32)
    expected = dense(logits, target)
    labels, confidence = most_probable(logits, target)
    assert (labels.dtype, confidence.dtype) == (np.uint8, np.float32)
    assert labels.shape == confidence.shape == target
    np.testing.assert_allclose(confidence, expected.max(axis=0), atol=1e-5)
    chosen = np.take_along_axis(expected, labels[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(chosen, expected.max(axis=0), atol=1e-6)  # either may win a tie


def test_the_order_in_memory_makes_no_difference_and_logits_stay_as_they_are():
    logits = np.random.default_rng(0).normal(size=(12, 20, 7)).astype(np.float32)
    planes = np.ascontiguousarray(logits.transpose(2, 0, 1)).transpose(1, 2, 0)
    before = logits.copy()
    for found, expected in zip(most_probable(planes, (35, 61)), most_probable(logits, (35, 61))):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(planes, before)


def test_the_first_of_equal_classes_wins():
    labels, confidence = most_probable(np.zeros((3, 4, 5), np.float32), (9, 9))
    assert not labels.any()
    np.testing.assert_allclose(confidence, 0.2, atol=1e-6)
