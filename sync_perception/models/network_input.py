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

"""Input of networks: its size, its pixels and the scale of depth that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
import math

import cv2
import numpy as np
from sync_perception.geometry import resize_intrinsics
from sync_perception.models.config import ModelConfig
import torch
from torch import Tensor


@lru_cache(maxsize=64)
def network_size(
        size: tuple[int, int], input_pixels: int, multiple: int = 32) -> tuple[int, int]:
    """
    Return the network input size for an image: its aspect ratio, at about the given area.

    A small image is enlarged to at most twice its size. A long and narrow image is stretched, so
    that the input does not exceed the area.

    :param size: height and width of the image.
    :param input_pixels: area of the network's input in training.
    :param multiple: divisor of both sides of the result.
    """
    height, width = size
    scale = min(math.sqrt(input_pixels / (height * width)), 2.0)
    rounded = [max(multiple, round(side * scale / multiple) * multiple) for side in size]
    if min(size) * scale < multiple:  # the shorter side was raised to the minimum
        longest = max(multiple, int(input_pixels / multiple**2) * multiple)
        rounded = [min(side, longest) for side in rounded]
    return rounded[0], rounded[1]


def input_size_of(config: ModelConfig, size: tuple[int, int]) -> tuple[int, int]:
    """
    Return the input size of a model for an image: its fixed size, or one chosen by the image.

    A model with a fixed size gets every image stretched to it.

    :param size: height and width of the image.
    """
    if config.input_size is not None:
        return config.input_size[0], config.input_size[1]
    return network_size(size, config.input_pixels, config.input_multiple)


def input_focal(K: np.ndarray, size: tuple[int, int], input_size: tuple[int, int]) -> float:
    """
    Return a camera's focal length at the network's input size.

    :param K: float64 (3, 3), intrinsics in pixels of the image.
    :param size: height and width of the image.
    :param input_size: height and width of the network's input.
    :return: horizontal focal length, pixels of the network's input.
    """
    return float(resize_intrinsics(K, size, input_size)[0, 0])


def metric_scale(focal: Tensor, canonical_focal: float | None) -> Tensor:
    """
    Return the scale from canonical to metric depth, f / f_canonical.

    :param focal: focal lengths at the network's input size, pixels; a float gives a float.
    :param canonical_focal: pixels; None if the network gives metres for any camera.
    """
    if canonical_focal is None:
        return focal ** 0  # 1, also for an unknown focal length, NaN
    return focal / canonical_focal


def camera_scale(config: ModelConfig, K: np.ndarray | None, size: tuple[int, int],
                 input_size: tuple[int, int] | None = None) -> float:
    """
    Return the `metric_scale` of a model's depth for one camera.

    :param K: float64 (3, 3), intrinsics in pixels of the image; None if unknown.
    :param size: height and width of the image.
    :param input_size: height and width of the network's input; None for that of the image.
    :return: metres per canonical metre; 1 for unknown intrinsics, and for a model that predicts
        metres for any camera.
    """
    if config.canonical_focal is None or K is None:
        return 1.0
    focal = input_focal(K, size, input_size or input_size_of(config, size))
    return metric_scale(focal, config.canonical_focal)


def in_pixels(size: tuple[int, int]) -> str:
    """Return a size (height, width) as text with the width first, such as 832x256."""
    return f'{size[1]}x{size[0]}'


def unusual_focal(config: ModelConfig, K: np.ndarray, size: tuple[int, int]) -> str:
    """
    Return a warning about a focal length outside the range of the training data.

    :param K: float64 (3, 3), intrinsics in pixels of the image.
    :param size: height and width of the image.
    :return: '' if the focal length at the network's input size is within the config's
        `focal_range`, or the range is unknown.
    """
    known, input_size = config.focal_range, input_size_of(config, size)
    focal = input_focal(K, size, input_size)
    if not known or known[0] <= focal <= known[1]:
        return ''
    return (
        f"the focal length is {focal:.0f} pixels at the network's input size, "
        f'{in_pixels(input_size)}, but the model was trained with focal lengths from '
        f'{known[0]:.0f} to {known[1]:.0f}: metric depth is extrapolated')


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Resize an image without aliasing.

    :param image: uint8 (H, W, 3).
    :param size: height and width.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def normalise(
        images_bhw3: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """
    Return uint8 RGB images as a network's input.

    :param images_bhw3: uint8 (B, H, W, 3), RGB.
    :param mean: mean per channel, in [0, 1].
    :param std: standard deviation per channel, in [0, 1].
    :return: (B, 3, H, W) in channels-last memory, (image / 255 - mean) / std.
    """
    mean, std = tuple(mean), tuple(std)
    if images_bhw3.device.type == 'cpu' and images_bhw3.dtype == torch.uint8:
        shape = images_bhw3.shape  # one pass with a table of 256 values
        rows = images_bhw3.reshape(-1, *shape[2:]).numpy()
        values = torch.from_numpy(cv2.LUT(rows, _normalised(mean, std))).reshape(shape)
        return values.permute(0, 3, 1, 2)
    device = images_bhw3.device
    scale = torch.tensor([1 / (255 * s) for s in std], device=device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std)], device=device)
    return torch.addcmul(shift, images_bhw3.float(), scale).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return the network's input for each pixel value: float32 (1, 256, 3)."""
    values = np.arange(256)[None, :, None] / 255
    return ((values - np.array(mean)) / np.array(std)).astype(np.float32)
