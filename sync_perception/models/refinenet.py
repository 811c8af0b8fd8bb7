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


"""Light-Weight RefineNet on MobileNetV2 (Nekrasov et al., 2018; 2019): one trunk, small heads."""

from __future__ import annotations

import os

from sync_perception.models.interface import freeze_norms, Interface, Network, to_depth
from sync_perception.models.resizing import resize_bilinear
from sync_perception.models.sync import Branch
from sync_perception.models.unet.mobilenet import MobileNetV2
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor
from torch.nn import functional

TAPS = (1, 2, 3, 4, 5, 6)
WIDTH = 256
POOLINGS = 4
FOLDED_NORMALISATION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def pointwise(inputs: int, groups: int = 1) -> nn.Conv2d:
    """Create a 1x1 convolution without bias from `inputs` channels to the decoder's width."""
    return nn.Conv2d(inputs, WIDTH, 1, groups=groups, bias=False)


class ChainedResidualPooling(nn.Module):
    """
    Chained residual pooling: 5x5 max pooling, 1x1 convolution, addition; four times.

    It starts near the identity. The decoder has no normalisation, and with weights of the usual
    size Adam at 3e-3 drives its output to zero within ten steps.

    :param depthwise: whether the convolutions are depthwise: one factor for each channel.
    """

    def __init__(self, depthwise: bool = False):
        super().__init__()
        self.convolutions = nn.ModuleList(
            pointwise(WIDTH, groups=WIDTH if depthwise else 1) for _ in range(POOLINGS))
        with torch.no_grad():
            for convolution in self.convolutions:
                convolution.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 256, h, w) to the same shape."""
        pooled = x
        for convolution in self.convolutions:
            pooled = convolution(functional.max_pool2d(pooled, 5, stride=1, padding=2))
            x = pooled + x
        return x


class RefineDecoder(nn.Module):
    """
    Decoder that fuses the features of six stages from coarse to fine, at 256 channels.

    :param channels: channels of the features at strides 4, 8, 16, 16, 32 and 32.
    """

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        self.laterals = nn.ModuleList(pointwise(inputs) for inputs in channels)
        self.poolings = nn.ModuleList(
            ChainedResidualPooling(depthwise=level == 0) for level in range(4))
        self.adaptations = nn.ModuleList(pointwise(WIDTH) for _ in range(3))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return (B, 256, h / 4, w / 4), the size of the finest feature."""
        at4, at8, at16, at16_deep, at32, at32_deep = (
            lateral(feature) for lateral, feature in zip(self.laterals, features))
        x = self.refine(at32_deep + at32, 3, at16_deep)
        x = self.refine(at16 + at16_deep + x, 2, at8)
        x = self.refine(x + at8, 1, at4)
        return self.poolings[0](functional.relu6(at4 + x))

    def refine(self, x: Tensor, level: int, finer: Tensor) -> Tensor:
        """Apply the pooling to a level's sum and upsample it to the next finer feature's size."""
        x = self.poolings[level](functional.relu6(x))
        return resize_bilinear(self.adaptations[level - 1](x), finer.shape[-2:])


def task_head(outputs: int) -> nn.Sequential:
    """Create a task's head: depthwise 1x1 convolution, ReLU6, 3x3 convolution."""
    return nn.Sequential(
        pointwise(WIDTH, groups=WIDTH), nn.ReLU6(inplace=True),
        nn.Conv2d(WIDTH, outputs, 3, padding=1))


def batch_norm_encoder(pretrained: str | None, frozen_norm: bool) -> MobileNetV2:
    """
    Build MobileNetV2 with its batch norms.

    :param pretrained: folded ImageNet weights (npz); environment variables are expanded.
    :param frozen_norm: whether the batch norms keep their statistics in training.
    :raises ValueError: for folded weights without `frozen_norm`, as they have no batch norm
        statistics of their own.
    """
    encoder = MobileNetV2(TAPS, normalised=True)
    if pretrained is not None:
        if not frozen_norm:
            raise ValueError(
                f'{pretrained} has its batch norms folded in and no statistics of its own: '
                'expected frozen_norm: true with pretrained')
        encoder.load_folded(os.path.expandvars(pretrained))
    return encoder


class RefineNet(Network):
    """
    Depth, labels and optional normals and uncertainty from one encoder and one decoder.

    All maps have a quarter of the image's size, rounded up. With two tasks there are 2,991,687
    parameters for 6 classes and 3,070,057 for 40. Images may have any size, as in the published
    implementation, whose weights give the same outputs here.

    :param interface: classes, depth range and normalisation.
    :param normals: whether to output surface normals.
    :param uncertainty: whether to output the log-variance of ln(depth).
    :param depth_form: a key of DEPTH_FORMS. `log`, the default, keeps depth positive and within
        the range, which logarithmic losses need; `metres` is the raw map, as published.
    :param pretrained: folded ImageNet weights (npz) that the encoder starts from, for images
        normalised by mean and std 0.5.
    :param frozen_norm: keep the encoder's batch norm statistics in training, for small batches.
    :raises ValueError: if the normalisation or `frozen_norm` does not suit `pretrained`.
    """

    multiple = 1

    def __init__(
            self, interface: Interface, *, normals: bool = False, uncertainty: bool = False,
            depth_form: str = 'log', pretrained: str | None = None, frozen_norm: bool = False):
        super().__init__()
        known = FOLDED_NORMALISATION
        if pretrained is not None and (tuple(interface.mean), tuple(interface.std)) != known:
            raise ValueError(
                f'{pretrained} expects images with mean and std {known}, got '
                f'{interface.mean} and {interface.std}')
        self.depth_form = depth_form
        self.depth_range = tuple(interface.depth_range)
        self.frozen_norm = frozen_norm
        self.encoder = batch_norm_encoder(pretrained, frozen_norm)
        self.decoder = RefineDecoder(self.encoder.channels)
        outputs = {'depth': 1, 'logits': interface.num_classes}
        if normals:
            outputs['normals'] = 3
        if uncertainty:
            outputs['log_variance'] = 1
        self.heads = nn.ModuleDict({name: task_head(size) for name, size in outputs.items()})
        to_depth(torch.zeros(1, 1, 1, 1), depth_form, self.depth_range)  # refuse unknown forms

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """Return the maps at ceil(h / 4), ceil(w / 4)."""
        trunk = self.decoder(self.encoder(image_b3hw))
        maps = {name: head(trunk) for name, head in self.heads.items()}
        maps['depth'] = to_depth(maps['depth'], self.depth_form, self.depth_range)
        if 'normals' in maps:
            maps['normals'] = functional.normalize(maps['normals'].float(), dim=1)
        return DenseOutput(**maps)

    def train(self, mode: bool = True) -> RefineNet:
        """Set the mode of everything but frozen batch norms."""
        super().train(mode)
        if self.frozen_norm:
            freeze_norms(self.encoder)
        return self


class RefineBranch(Branch):
    """
    Light-Weight RefineNet with one head, as a branch of a synchronised network.

    :param out_channels: channels of the raw map.
    :param depth_form: a key of DEPTH_FORMS, for a depth branch.
    :param pretrained: folded ImageNet weights (npz) that the encoder starts from.
    :param frozen_norm: keep the encoder's batch norm statistics in training.
    :raises ValueError: if `pretrained` comes without `frozen_norm`.
    """

    normalisation = FOLDED_NORMALISATION

    def __init__(
            self, out_channels: int, depth_form: str = 'log', pretrained: str | None = None,
            frozen_norm: bool = False):
        super().__init__()
        self.depth_form = depth_form
        self.frozen_norm = frozen_norm
        self.encoder = batch_norm_encoder(pretrained, frozen_norm)
        self.channels, self.strides = self.encoder.channels, self.encoder.strides
        self.multiple = self.strides[-1]
        self.decoder = RefineDecoder(self.channels)
        self.head = task_head(out_channels)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the features of six stages, strides 4, 8, 16, 16, 32 and 32."""
        return self.encoder(image_b3hw)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return the raw map (B, out_channels, h / 4, w / 4)."""
        return self.head(self.decoder(features))

    def train(self, mode: bool = True) -> RefineBranch:
        """Set the mode of everything but frozen batch norms."""
        super().train(mode)
        if self.frozen_norm:
            freeze_norms(self.encoder)
        return self
