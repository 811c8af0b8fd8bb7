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

"""MobileNetV2 (Sandler et al., 2018) as an encoder, and the light UNet branch around it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from sync_perception.models.sync import Branch
import torch
from torch import nn, Tensor
from torch.nn import functional

# Table 2 of the paper: expansion, channels, repeats, stride.
STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1))
STEM_CHANNELS = 32


class Convolution(nn.Conv2d):
    """
    3x3 or 1x1 convolution; stride 2 pads right and bottom, as TensorFlow does.

    That padding is what the ImageNet weights were trained with.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1):
        padding = size // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, size, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, h, w) to (B, C', h / stride, w / stride)."""
        if self.stride[0] == 2:
            x = functional.pad(x, (0, 1, 0, 1))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """Expand, convolve depthwise, project; a residual where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int):
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [Convolution(inputs, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [Convolution(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(inplace=True)]
        layers += [Convolution(hidden, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.stride = stride
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(nn.Module):
    """
    The feature extractor with its batch norms folded into the convolutions.

    Folded, it costs no normalisation on a CPU, is the same function in training and inference,
    and starts from ImageNet weights as a frozen-norm network would.

    :ivar channels: channels of the last feature at strides 2, 4, 8, 16 and 32.
    """

    channels = (16, 24, 32, 96, 320)
    strides = (2, 4, 8, 16, 32)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, STEM_CHANNELS, 3, 2), nn.ReLU6(inplace=True))
        blocks, inputs = [], STEM_CHANNELS
        for expansion, channels, repeats, stride in STAGES:
            for repeat in range(repeats):
                blocks.append(
                    InvertedResidual(inputs, channels, expansion, stride if repeat == 0 else 1))
                inputs = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the last feature of each stride, fine to coarse."""
        features: list[Tensor] = []
        x = self.stem(image_b3hw)
        for block in self.blocks:
            if block.stride == 2:
                features.append(x)
            x = block(x)
        return [*features, x]

    def freeze(self, blocks: int) -> None:
        """Stop learning in the stem and the first so many blocks."""
        for module in (self.stem, *self.blocks[:blocks]):
            module.requires_grad_(False)

    def convolutions(self) -> list[Convolution]:
        """Return the 51 convolutions in the order of computation."""
        return [module for module in self.modules() if isinstance(module, Convolution)]

    def load_folded(self, path: str | Path) -> None:
        """
        Take the weights of a folded ImageNet network.

        :param path: npz with float32 arrays `NNN.weight` and `NNN.bias`, one pair a convolution
            in the order of computation; later ones (the classifier's) are left.
        :raises ValueError: if an array is missing or has another shape; the message names it.
        """
        with np.load(path, allow_pickle=False) as arrays:
            for index, convolution in enumerate(self.convolutions()):
                for name, parameter in convolution.named_parameters():
                    key = f'{index:03}.{name}'
                    found = arrays[key].shape if key in arrays.files else 'nothing'
                    if found != tuple(parameter.shape):
                        raise ValueError(
                            f'{path}: expected {key} of shape {tuple(parameter.shape)}, '
                            f'got {found}')
                    with torch.no_grad():
                        parameter.copy_(torch.from_numpy(arrays[key]))


class UpBlock(nn.Module):
    """Enlarge twice, concatenate the skip feature, 3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, skip: int, outputs: int):
        super().__init__()
        self.convolution = nn.Conv2d(inputs + skip, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, h, w) and (B, skip, 2h, 2w) to (B, outputs, 2h, 2w)."""
        x = functional.interpolate(x, size=skip.shape[-2:], mode='bilinear', align_corners=False)
        return functional.relu(self.norm(self.convolution(torch.cat([x, skip], dim=1))))


class MobileUNet(Branch):
    """
    A branch for robots: MobileNetV2 encoder, light UNet decoder, output at half the input's size.

    :param out_channels: channels of the raw map.
    :param widths: the decoder's channels at strides 2, 4, 8, 16 and 32.
    :param frozen_blocks: the encoder's stem and so many of its 17 blocks do not learn: the first
        ones hold generic features, and most of the cost of a training step.
    :param pretrained: folded ImageNet weights (npz) that the encoder starts from; environment
        variables are expanded.
    """

    normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(
            self, out_channels: int,
            widths: tuple[int, int, int, int, int] = (24, 48, 64, 96, 128),
            frozen_blocks: int = 0, pretrained: str | None = None):
        super().__init__()
        self.encoder = MobileNetV2()
        if pretrained is not None:
            self.encoder.load_folded(os.path.expandvars(pretrained))
        if frozen_blocks:
            self.encoder.freeze(frozen_blocks)
        self.channels = MobileNetV2.channels
        self.strides = MobileNetV2.strides
        self.multiple = self.strides[-1]
        self.bottleneck = nn.Sequential(
            nn.Conv2d(self.channels[-1], widths[-1], 1, bias=False),
            nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        self.up = nn.ModuleList(
            UpBlock(widths[level + 1], self.channels[level], widths[level])
            for level in reversed(range(len(widths) - 1)))
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the encoder's features at strides 2 to 32."""
        return self.encoder(image_b3hw)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return the raw map (B, out_channels, h / 2, w / 2)."""
        *skips, x = features
        x = self.bottleneck(x)
        for up, skip in zip(self.up, reversed(skips)):
            x = up(x, skip)
        return self.head(x)
