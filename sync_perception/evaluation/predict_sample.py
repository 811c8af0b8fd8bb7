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

"""Prediction of a model for one recorded image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sync_perception.models.network_input import input_size_of, normalise, resize_image
from sync_perception.models.resizing import resize_bilinear
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor


@torch.inference_mode()
def average_probabilities(
        model: nn.Module, image: np.ndarray, scales: Sequence[float], flip: bool) -> Tensor:
    """
    Return class probabilities averaged over several sizes of an image and its mirror image.

    :param model: module from a normalised image batch to a DenseOutput, with `config` and
        `device`.
    :param image: uint8 (H, W, 3), RGB.
    :param scales: side lengths of the network's input relative to those of the model's config.
    :param flip: whether to average with the mirrored image, too.
    :return: float32 (1, C, H, W).
    """
    size, total = image.shape[:2], 0.0
    for scale in scales:
        pixels = round(model.config.input_pixels * scale ** 2)
        input_size = input_size_of(replace(model.config, input_pixels=pixels), size)
        for mirrored in (False, True)[:1 + flip]:
            given = np.ascontiguousarray(image[:, ::-1] if mirrored else image)
            logits = output_at(model, given, input_size).logits
            probabilities = enlarge(logits.float().softmax(dim=1), size)
            total = total + (probabilities.flip(3) if mirrored else probabilities)
    return total / (len(scales) * (1 + flip))


@torch.inference_mode()
def dense_output(model: nn.Module, image: np.ndarray) -> DenseOutput:
    """
    Run a model on an image, at the input size of the model's config.

    :param model: module from a normalised image batch to a DenseOutput, with `config` and
        `device`.
    :param image: uint8 (H, W, 3), RGB.
    """
    return output_at(model, image, input_size_of(model.config, image.shape[:2]))


@torch.inference_mode()
def output_at(model: nn.Module, image: np.ndarray, size: tuple[int, int]) -> DenseOutput:
    """
    Run a model on an image resized to a given input size.

    :param size: height and width of the network's input.
    """
    resized = torch.from_numpy(np.ascontiguousarray(resize_image(image, size)))
    return model(normalise(
        resized[None].to(model.device), model.config.mean, model.config.std))


def enlarge(map_bchw: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map bilinearly to (height, width)."""
    return resize_bilinear(map_bchw.float(), size)
