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

"""Postprocessing: network output to metric maps at the camera's size, NaN without surface."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from sync_perception.models.resizing import resize_bilinear
from sync_perception.runtime.classes import most_probable
import torch
from torch import Tensor

CHANNELS = 4
"""Largest number of channels that OpenCV resizes fast."""


def resize_map(map_bchw: Tensor, size: tuple[int, int], scale: float = 1.0) -> Tensor:
    """
    Resize a map bilinearly to (height, width), pixel centres at integer coordinates.

    On a CPU this uses OpenCV, which is three times as fast as torch, and more beside other
    processes.

    :param map_bchw: float (B, C, h, w).
    :param scale: factor of the values.
    :return: float32 (B, C, H, W).
    """
    map_bchw = map_bchw.float()
    batch, channels = map_bchw.shape[:2]
    if map_bchw.device.type == 'cpu' and batch == 1 and channels <= CHANNELS:
        values = map_bchw.detach()[0].permute(1, 2, 0).numpy() * np.float32(scale)
        resized = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(resized.reshape(1, *size, channels)).permute(0, 3, 1, 2)
    if scale != 1:
        map_bchw = map_bchw * scale
    if map_bchw.shape[-2:] == size:
        return map_bchw
    return resize_bilinear(map_bchw, size)


def classify(logits_bchw: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """
    Return the most probable class of every pixel, and its probability.

    The class probabilities are interpolated bilinearly before the maximum is taken.

    :param logits_bchw: float (1, C, h, w).
    :param size: height and width of the result.
    :return: labels uint8 (H, W), probabilities float32 (H, W).
    """
    if logits_bchw.shape[0] != 1 or logits_bchw.shape[1] > 255:
        raise ValueError(f'expected logits (1, C <= 255, h, w), got {tuple(logits_bchw.shape)}')
    if logits_bchw.device.type != 'cpu':
        probabilities = resize_map(logits_bchw.float().softmax(dim=1), size)[0]
        confidence, labels = probabilities.max(dim=0)
        return labels.to(torch.uint8), confidence
    labels, confidence = most_probable(
        logits_bchw.detach()[0].permute(1, 2, 0).float().numpy(), size)
    return torch.from_numpy(labels), torch.from_numpy(confidence)


def mask_depth(
        depth_hw: Tensor, labels_hw: Tensor | None, infinite: Sequence[int],
        max_depth: float) -> Tensor:
    """
    Set depth to NaN where there is no surface within range, in place.

    :param depth_hw: float32 (H, W), metres.
    :param labels_hw: uint8 (H, W), or None.
    :param infinite: ids of the classes that have no depth, such as sky.
    :param max_depth: greatest valid depth, metres.
    """
    if depth_hw.device.type == 'cpu':
        depth = depth_hw.numpy()
        if not depth.min() > 0:
            depth[~(depth > 0)] = np.nan
        if labels_hw is not None and len(infinite):
            factor = np.ones(256, np.float32)
            factor[list(infinite)] = np.nan
            depth *= cv2.LUT(labels_hw.numpy(), factor)
        beyond = depth > max_depth
        if beyond.any():
            np.copyto(depth, np.float32('nan'), where=beyond)
        return depth_hw
    invalid = ~((depth_hw > 0) & (depth_hw <= max_depth))
    for index in infinite if labels_hw is not None else ():
        invalid |= labels_hw == index
    return depth_hw.masked_fill_(invalid, float('nan'))


def depth_deviation(log_variance_b1hw: Tensor, depth_hw: Tensor) -> Tensor:
    """
    Return the standard deviation of depth in metres from the log-variance of ln(depth).

    :param log_variance_b1hw: float (1, 1, h, w).
    :param depth_hw: float32 (H, W), metres; NaN gives NaN.
    """
    size = (depth_hw.shape[0], depth_hw.shape[1])
    half_log = resize_map(log_variance_b1hw, size, 0.5)[0, 0]
    if half_log.device.type == 'cpu':
        values = half_log.numpy()
        cv2.exp(values, dst=values)
        values *= depth_hw.numpy()
        return half_log
    return half_log.exp() * depth_hw
