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

from collections.abc import Sequence
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from sync_perception.files.checks import first_line
from sync_perception.models.unet.decoder import LightUNet
import torch
from torch import nn, Tensor
from torch.nn import functional

# Table 2 of the paper: expansion, channels, repeats, stride.
STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1))
STEM_CHANNELS = 32
LAST_OF_STRIDE = (0, 1, 2, 4, 6)
# size -> stages and, of these, the last one at each stride
SIZES = {
    'tiny': (((1, 8, 1, 1), (2, 8, 2, 2), *((1, 8, 1, 2),) * 3), (0, 1, 2, 3, 4)),
    'base': (STAGES, LAST_OF_STRIDE),
}


class Convolution(nn.Conv2d):
    """
    3x3 or 1x1 convolution; with stride 2, padded right and bottom as in TensorFlow.

    The ImageNet weights were trained with this padding.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1):
        padding = size // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, size, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, h, w) to (B, C', h / stride, w / stride)."""
        if self.stride[0] == 2:
            x = functional.pad(x, (0, 1, 0, 1))
        return super().forward(x)


def convolution(
        inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1,
        normalised: bool = False) -> list[nn.Module]:
    """
    Create the network's basic unit, without its ReLU6.

    :param normalised: whether to pad on all sides and add a batch norm, as in PyTorch; otherwise
        folded, with TensorFlow's padding.
    """
    if not normalised:
        return [Convolution(inputs, outputs, size, stride, groups)]
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """
    Inverted residual: expansion, depthwise convolution, projection; residual if shapes agree.

    :param normalised: whether there are batch norms; such a block also has the convolution that
        expands by 1, which a folded one omits.
    """

    def __init__(
            self, inputs: int, outputs: int, expansion: int, stride: int,
            normalised: bool = False):
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1 or normalised:
            layers += convolution(inputs, hidden, 1, normalised=normalised)
            layers += [nn.ReLU6(inplace=True)]
        layers += convolution(hidden, hidden, 3, stride, hidden, normalised)
        layers += [nn.ReLU6(inplace=True)]
        layers += convolution(hidden, outputs, 1, normalised=normalised)
        self.layers = nn.Sequential(*layers)
        self.stride = stride
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(nn.Module):
    """
    MobileNetV2 without its classifier, with explicit or folded batch norms.

    Folded, it needs no normalisation on a CPU, is the same function in training and inference, and
    starts from ImageNet weights like a network with frozen norms.

    :param taps: stages, by their rows, whose last features are returned; by default the last ones
        at strides 2, 4, 8, 16 and 32.
    :param normalised: whether there are batch norms, and padding on all sides.
    :param stages: expansion, channels, repeats and stride of each stage.
    :ivar channels: channels of the features, fine to coarse.
    :ivar strides: strides of the features, fine to coarse.
    """

    def __init__(self, taps: Sequence[int] = LAST_OF_STRIDE, normalised: bool = False,
                 stages: Sequence[tuple[int, int, int, int]] = STAGES):
        super().__init__()
        self.stem = nn.Sequential(
            *convolution(3, STEM_CHANNELS, 3, 2, normalised=normalised), nn.ReLU6(inplace=True))
        self.channels = tuple(stages[stage][1] for stage in taps)
        blocks, inputs, last_blocks, strides = [], STEM_CHANNELS, [], [2]
        for expansion, channels, repeats, stride in stages:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(
                    inputs, channels, expansion, stride if repeat == 0 else 1, normalised))
                inputs = channels
            last_blocks.append(len(blocks) - 1)
            strides.append(strides[-1] * stride)
        self.blocks = nn.ModuleList(blocks)
        self.strides = tuple(strides[stage + 1] for stage in taps)
        self.tapped = frozenset(last_blocks[stage] for stage in taps)

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the tapped features, fine to coarse; a side of s pixels becomes ceil(s / 2)."""
        features: list[Tensor] = []
        x = self.stem(image_b3hw)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.tapped:
                features.append(x)
        return features

    def freeze(self, blocks: int) -> None:
        """Freeze the stem and the first blocks, as many as given."""
        for module in (self.stem, *self.blocks[:blocks]):
            module.requires_grad_(False)

    def convolutions(self) -> list[nn.Conv2d]:
        """Return the convolutions in the order of computation: 51, or 52 with batch norms."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]

    def load_folded(self, path: str | Path) -> None:
        """
        Load the weights of a folded ImageNet network.

        Batch norms then only add the bias, and must stay in evaluation mode. The convolution that
        expands by 1, which a folded network does not have, becomes the identity.

        :param path: npz with float32 arrays `NNN.weight` and `NNN.bias`, one pair per convolution
            in the order of computation; later ones (the classifier's) are ignored.
        :raises ValueError: if an array is missing or has another shape; the message names it.
        """
        convolutions = self.convolutions()
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        if norms:
            nn.init.dirac_(convolutions.pop(1).weight)
            shift_only(norms.pop(1))
        biased = norms or convolutions
        with open_arrays(path) as arrays, torch.no_grad():
            for index, (convolution, owner) in enumerate(zip(convolutions, biased)):
                for name, parameter in (('weight', convolution.weight), ('bias', owner.bias)):
                    key = f'{index:03}.{name}'
                    found = arrays[key].shape if key in arrays.files else 'nothing'
                    if found != tuple(parameter.shape):
                        raise ValueError(
                            f'{path}: expected {key} of shape {tuple(parameter.shape)}, '
                            f'got {found}')
                    parameter.copy_(torch.from_numpy(arrays[key]))
        for norm in norms:
            shift_only(norm)


def open_arrays(path: str | Path) -> np.lib.npyio.NpzFile:
    """
    Open a file of arrays by name; nothing is unpickled.

    :raises FileNotFoundError: if the file does not exist.
    :raises ValueError: if the file is damaged or of another format.
    """
    try:
        arrays = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(
            f'{path}: expected an .npz file of arrays: {first_line(error)}') from error
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise ValueError(f'{path}: expected an .npz file of arrays, got a single array')
    return arrays


def shift_only(norm: nn.BatchNorm2d) -> None:
    """Make a batch norm in evaluation mode only add its bias."""
    nn.init.ones_(norm.weight)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)


class MobileUNet(LightUNet):
    """
    MobileNetV2 encoder with the light UNet decoder; the output has half the input's size.

    :param out_channels: channels of the raw map.
    :param widths: the decoder's channels at strides 2, 4, 8, 16 and 32.
    :param frozen_blocks: number of the encoder's 17 blocks that are frozen with the stem: the
        first ones compute generic features, at most of the cost of a training step.
    :param pretrained: folded ImageNet weights (npz) that the encoder starts from; environment
        variables are expanded.
    :param size: 'base', as in the paper, or 'tiny', with 8 channels at each stride, which tries a
        recipe in seconds.
    :raises ValueError: for an unknown size.
    """

    normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(
            self, out_channels: int,
            widths: tuple[int, int, int, int, int] = (24, 48, 64, 96, 128),
            frozen_blocks: int = 0, pretrained: str | None = None, size: str = 'base'):
        if size not in SIZES:
            raise ValueError(f'unknown size {size!r}: expected one of {", ".join(SIZES)}')
        stages, taps = SIZES[size]
        encoder = MobileNetV2(taps, stages=stages)
        super().__init__(out_channels, encoder, encoder.channels, encoder.strides, widths)
        if pretrained is not None:
            self.encoder.load_folded(os.path.expandvars(pretrained))
        if frozen_blocks:
            self.encoder.freeze(frozen_blocks)
