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

"""The loss that keeps an encoder's features near those that it began with."""

from __future__ import annotations

import torch
from torch import Tensor


def feature_distance(features_bchw: Tensor, reference_bchw: Tensor) -> Tensor:
    """
    Mean over the places of |f - f_reference|_2, the norm over the channels.

    Hoyer et al., "Three Ways to Improve Semantic Segmentation with Self-Supervised Depth
    Estimation", CVPR 2021: an encoder that learns depth from video forgets what ImageNet taught
    it; this keeps that, weighted by 1e-2.

    :param features_bchw: float (B, C, h, w), of the encoder that learns.
    :param reference_bchw: likewise, of the encoder as it was; gets no gradient.
    :return: scalar.
    :raises ValueError: if the shapes differ.
    """
    if features_bchw.shape != reference_bchw.shape or features_bchw.ndim != 4:
        raise ValueError(
            'expected two batches of features (B, C, h, w) of one shape, got '
            f'{tuple(features_bchw.shape)} and {tuple(reference_bchw.shape)}')
    difference = features_bchw.float() - reference_bchw.detach().float()
    return torch.linalg.vector_norm(difference, dim=1).mean()
