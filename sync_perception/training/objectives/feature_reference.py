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

"""Reference features of the pretrained encoder, for the feature distance loss."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from sync_perception.models.interface import Network
from sync_perception.training.losses.distillation import feature_distance
import torch
from torch import nn, Tensor


class FeatureReference:
    """
    Frozen copy of the pretrained depth encoder.

    It is not a module, so that checkpoints, averages and optimisers exclude it; a resumed training
    rebuilds it from the same pretrained weights. The cost is two more passes of the encoder, one
    of them without gradient.

    :param network: network with its pretrained weights, before training.
    :param arguments: arguments that it was built with, which must name the pretrained weights.
    :raises ValueError: if the network has no depth encoder, or is not pretrained.
    """

    def __init__(self, network: Network, arguments: dict[str, Any]):
        part = encoding_part(network)
        own = arguments if part is network else arguments.get('depth') or {}
        if not own.get('pretrained'):
            raise ValueError(
                'feature_distance needs the weights that the depth encoder was pretrained with: '
                f'expected `pretrained` among its arguments, got {", ".join(own) or "none"}')
        self.part = deepcopy(part).eval().requires_grad_(False)

    def to(self, device: torch.device) -> None:
        """Move the copy to a device."""
        self.part.to(device)

    def distance(self, network: Network, image_b3hw: Tensor) -> Tensor:
        """
        Return the distance of the coarsest features to those of the pretrained encoder.

        Both run in evaluation mode, because batch statistics and dropout would add to the
        distance.

        :param network: the trained network.
        :param image_b3hw: (B, 3, h, w), the network's input.
        """
        part = encoding_part(network)
        if part is not network:
            image_b3hw = network.depth_input(image_b3hw)
        with torch.no_grad():
            reference = self.part.encode(image_b3hw)[-1]
        learning = part.training
        part.eval()
        features = part.encode(image_b3hw)[-1]
        part.train(learning)
        return feature_distance(features, reference)


def encoding_part(network: Network) -> nn.Module:
    """
    Return the module that encodes images for depth: the network itself, or its depth branch.

    :raises ValueError: if there is none.
    """
    part = network if hasattr(network, 'encode') else getattr(network, 'depth', None)
    if not hasattr(part, 'encode'):
        raise ValueError(
            'feature_distance: expected a network with an encoder for depth, such as padnet, or '
            f'sync with a depth branch, got {type(network).__name__}')
    return part
