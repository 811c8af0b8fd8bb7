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

"""Light UNet decoder, and a branch that combines it with any encoder."""

from __future__ import annotations

from collections.abc import Sequence

from sync_perception.models.resizing import resize_bilinear
from sync_perception.models.sync import Branch
import torch
from torch import nn, Tensor
from torch.nn import functional


class UpBlock(nn.Module):
    """Decoder block: upsample, concatenate the skip feature, 3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, skip: int, outputs: int):
        super().__init__()
        self.convolution = nn.Conv2d(inputs + skip, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, h, w) and (B, skip, H, W) to (B, outputs, H, W)."""
        x = resize_bilinear(x, skip.shape[-2:])
        return functional.relu(self.norm(self.convolution(torch.cat([x, skip], dim=1))))


class LightUNet(Branch):
    """
    Branch with an encoder and a light decoder that ends at the finest feature's stride.

    :param out_channels: channels of the raw map.
    :param encoder: module from images to features, fine to coarse; may be pretrained.
    :param channels: channels of the encoder's features.
    :param strides: strides of the encoder's features.
    :param widths: the decoder's channels, one for each feature.
    :raises ValueError: if there are not as many widths as features.
    """

    def __init__(
            self, out_channels: int, encoder: nn.Module, channels: Sequence[int],
            strides: Sequence[int], widths: Sequence[int]):
        super().__init__()
        if not len(widths) == len(channels) == len(strides):
            raise ValueError(
                f'expected a decoder width for each of the {len(channels)} features, got '
                f'{list(widths)}')
        self.encoder = encoder
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.multiple = self.strides[-1]
        self.bottleneck = nn.Sequential(
            nn.Conv2d(self.channels[-1], widths[-1], 1, bias=False),
            nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        self.up = nn.ModuleList(
            UpBlock(widths[level + 1], self.channels[level], widths[level])
            for level in reversed(range(len(widths) - 1)))
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the encoder's features, fine to coarse."""
        return self.encoder(image_b3hw)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return the raw map (B, out_channels, h / s, w / s), s the finest stride."""
        *skips, x = features
        x = self.bottleneck(x)
        for up, skip in zip(self.up, reversed(skips)):
            x = up(x, skip)
        return self.head(x)
