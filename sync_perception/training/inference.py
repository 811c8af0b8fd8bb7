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

"""How a model in memory is asked about one recorded image, and what its metres mean there."""

from __future__ import annotations

import numpy as np
from sync_perception.geometry import resize_intrinsics
from sync_perception.models.hub import ModelConfig
from sync_perception.runtime.preprocess import normalise, resize_image, seen_size
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate


@torch.inference_mode()
def ask(model: nn.Module, image: np.ndarray) -> DenseOutput:
    """
    Run a model on an image, at the size at which it sees such images.

    :param model: of a normalised image batch to a DenseOutput, with `config` and `device`.
    :param image: uint8 (H, W, 3), RGB.
    """
    size = seen_size(model.config, image.shape[:2])
    resized = torch.from_numpy(np.ascontiguousarray(resize_image(image, size)))
    return model(normalise(
        resized[None].to(model.device), model.config.mean, model.config.std))


def metric_scale(
        config: ModelConfig, K: np.ndarray | None, image_size: tuple[int, int]) -> float:
    """
    Return how many metres of a camera a metre of a model's depth is.

    :param K: float64 (3, 3), pixels of the image; None if unknown: 1 then.
    :param image_size: height and width.
    :return: f / f_canonical, f at the size at which the model sees the image; 1 for a model that
        gives metres whatever the camera.
    """
    if config.canonical_focal is None or K is None:
        return 1.0
    seen = resize_intrinsics(K, image_size, seen_size(config, image_size))
    return float(seen[0, 0] / config.canonical_focal)


def enlarge(map_bchw: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map bilinearly to (height, width)."""
    return interpolate(map_bchw.float(), size=size, mode='bilinear', align_corners=False)
