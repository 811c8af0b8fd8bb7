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

"""Labels and maps at the camera's size, against OpenCV and a plain dense computation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.runtime.postprocess import classify, depth_deviation, mask_depth, resize_map
import torch
from torch.nn.functional import interpolate


def blobs(classes: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Make smooth random logits with several labels: float32 (C, h, w)."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(classes, 5, 9)).astype(np.float32) * 4
    return np.stack([cv2.resize(c, size[::-1], interpolation=cv2.INTER_CUBIC) for c in coarse])


def probabilities_by_opencv(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Compute softmax, then enlarge every class with OpenCV."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    softmax = (exponentials / exponentials.sum(axis=0)).astype(np.float32)
    return np.stack([cv2.resize(c, size[::-1], interpolation=cv2.INTER_LINEAR) for c in softmax])


@pytest.mark.parametrize('size', [(75, 131), (36, 60), (13, 29), (96, 60)])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_classify_equals_the_dense_computation(size, memory_format):
    logits = blobs(12, (36, 60))
    expected = probabilities_by_opencv(logits, size)
    labels, confidence = classify(
        torch.from_numpy(logits)[None].contiguous(memory_format=memory_format), size)
    best = expected.max(axis=0)
    assert len(np.unique(labels)) > 5
    assert labels.dtype == torch.uint8 and labels.shape == size
    np.testing.assert_allclose(confidence, best, atol=2e-5)
    # Where two classes tie, either may win: the chosen one is as probable as the best.
    chosen = np.take_along_axis(expected, labels.numpy()[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(chosen, best, atol=2e-5)


@pytest.mark.parametrize('shape', [(1, 1), (1, 8), (8, 1)])
def test_classify_maps_of_a_single_row_or_column(shape):
    logits = torch.from_numpy(blobs(4, (8, 8))[:, :shape[0], :shape[1]].copy())[None]
    labels, confidence = classify(logits, (16, 16))
    expected = probabilities_by_opencv(logits[0].numpy(), (16, 16)).max(axis=0)
    np.testing.assert_allclose(confidence, expected, atol=2e-5)
    assert labels.shape == (16, 16)


def test_classify_refuses_batches():
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 4\)'):
        classify(torch.zeros(2, 3, 4, 4), (8, 8))


@pytest.mark.parametrize('channels', [1, 3, 7])
@pytest.mark.parametrize('size', [(75, 131), (24, 40), (11, 17)])
def test_resize_map_puts_pixel_centres_where_torch_does(channels, size):
    values = torch.from_numpy(blobs(channels, (24, 40)))[None]
    expected = interpolate(values.double() * 1.7, size=size, mode='bilinear')
    found = resize_map(values, size, 1.7)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_depth_is_resized_to_a_hundred_thousandth_and_nan_where_it_was():
    rng = np.random.default_rng(3)
    depth = torch.from_numpy(rng.uniform(-2, 100, (1, 1, 29, 43)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 5, (85, 127), dtype=np.uint8))
    dense = interpolate(depth.double() * 0.9, size=(85, 127), mode='bilinear')[0, 0]
    hidden = (dense <= 0) | (dense > 80) | (labels == 1) | (labels == 4)
    found = mask_depth(resize_map(depth, (85, 127), 0.9)[0, 0], labels, [1, 4], 80)
    assert torch.equal(found.isnan(), hidden)
    np.testing.assert_allclose(
        found[~hidden], dense[~hidden], rtol=1e-5, atol=1e-5 * float(depth.max()))


def test_depth_is_masked_where_it_is_not_a_number_and_without_labels():
    depth = torch.tensor([[1.0, float('nan'), 0.0], [-1.0, 50.0, 50.1]])
    found = mask_depth(depth, None, [0], 50)
    assert found.isnan().tolist() == [[False, True, True], [True, False, True]]


def test_deviation_is_that_of_the_logarithm_times_depth():
    log_variance = torch.from_numpy(blobs(1, (12, 20)))[None] / 4
    depth = torch.rand(31, 57, generator=torch.manual_seed(0)) * 50
    depth[3, 5] = float('nan')
    dense = interpolate(log_variance.double(), size=(31, 57), mode='bilinear')[0, 0]
    expected = (dense / 2).exp() * depth
    np.testing.assert_allclose(depth_deviation(log_variance, depth), expected, rtol=2e-5)
