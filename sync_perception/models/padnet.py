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

"""PAD-Net for self-supervised depth: one encoder, two decoders that exchange features."""

from __future__ import annotations

from collections.abc import Sequence

from sync_perception.models.interface import (
    depth_channels,
    IMAGENET_NORMALISATION,
    Interface,
    Network,
    Renormalise,
    split_depth,
)
from sync_perception.models.sync import ZeroConv
from sync_perception.models.unet.resnet import ResNet
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor
from torch.nn import functional

ASPP_RATES = (6, 12, 18)
SCALES = 4


class Aspp(nn.Module):
    """
    Atrous spatial pyramid pooling (Chen et al., 2017).

    A 1x1 convolution, three dilated 3x3 convolutions and the image's mean are concatenated and
    projected by a 1x1 convolution. The mean's branch has a bias instead of batch norm, because it
    has only one value per image and channel: a batch of one has no statistics.

    :param inputs: channels of the input.
    :param outputs: channels of each branch and of the output.
    :param rates: dilations.
    :param dropout: dropout rate of the output in training.
    """

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int] = ASPP_RATES,
                 dropout: float = 0.5):
        super().__init__()
        self.branches = nn.ModuleList([with_norm(nn.Conv2d(inputs, outputs, 1, bias=False))])
        self.branches.extend(
            with_norm(nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate, bias=False))
            for rate in rates)
        self.mean = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU())
        self.project = nn.Sequential(
            with_norm(nn.Conv2d((len(rates) + 2) * outputs, outputs, 1, bias=False)),
            nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h, w)."""
        maps = [branch(x) for branch in self.branches]
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand_as(maps[0])
        return self.project(torch.cat([*maps, mean], dim=1))


class PadNetUpBlock(nn.Module):
    """
    Decoder block: reduce channels, upsample, concatenate the skip feature, convolve.

    As in Monodepth2 (Godard et al., 2019): 3x3 convolutions with reflection padding and ELU,
    nearest-neighbour upsampling.

    :param narrow: module that maps the coarser feature to `outputs` channels.
    :param skip: channels of the skip feature; None upsamples by two without a skip.
    :param outputs: channels of the output.
    """

    def __init__(self, narrow: nn.Module, skip: int | None, outputs: int):
        super().__init__()
        self.narrow = narrow
        self.join = elu_convolution(outputs + (skip or 0), outputs)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map (B, inputs, h, w) and (B, skip, H, W) to (B, outputs, H, W)."""
        x = self.narrow(x)
        if skip is None:
            return self.join(functional.interpolate(x, scale_factor=2.0, mode='nearest'))
        if x.shape[-2:] != skip.shape[-2:]:
            x = functional.interpolate(x, size=skip.shape[-2:], mode='nearest')
        return self.join(torch.cat([x, skip], dim=1))


class Decoder(nn.Module):
    """
    Decoder of one task: ASPP at stride 16, then four UpBlocks; tasks exchange at stride 4.

    :param encoder_channels: channels of the encoder's five features, fine to coarse.
    :param channels: channels of the decoder's five features, fine to coarse.
    :param dropout: dropout rate after the ASPP.
    """

    def __init__(self, encoder_channels: Sequence[int], channels: Sequence[int], dropout: float):
        super().__init__()
        *skips, coarsest = encoder_channels
        blocks = [PadNetUpBlock(
            Aspp(coarsest, channels[4], dropout=dropout), skips[3], channels[4])]
        for level in (3, 2, 1, 0):
            narrow = elu_convolution(channels[level + 1], channels[level])
            blocks.append(PadNetUpBlock(
                narrow, skips[level - 1] if level else None, channels[level]))
        self.first, self.second = nn.ModuleList(blocks[:3]), nn.ModuleList(blocks[3:])

    def to_stride_4(self, features: list[Tensor]) -> list[Tensor]:
        """Return the features at strides 4 and 8, given the encoder's five."""
        x = self.first[0](features[4], features[3])
        eighth = self.first[1](x, features[2])
        return [self.first[2](eighth, features[1]), eighth]

    def to_stride_1(self, x: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Return the features at strides 1 and 2, given the one at stride 4 and the encoder's."""
        half = self.second[0](x, features[0])
        return [self.second[1](half), half]


class Distillation(nn.Module):
    """
    Attention-guided message, conv3x3(F) * sigmoid(conv3x3(F)) (PAD-Net, Xu et al., 2018).

    Both convolutions start at zero. A zero gate alone would only halve the message, since
    sigmoid(0) = 1/2. With y = v g, v = Wx, g = sigmoid(Gx) and W = G = 0, the message y is zero
    but dy/dW = x / 2 is not, so W learns from step 0; after that the gate learns by dy/dG = v g (1
    - g) x. The source features receive no gradient through y until W has changed.

    :param channels: channels of either task's feature.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.message = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.gate = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.message.weight)
        nn.init.zeros_(self.gate.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the message (B, channels, h, w) of the source features of the same shape."""
        return self.message(x) * torch.sigmoid(self.gate(x))


class PadNet(Network):
    """
    ResNet with a depth and a semantic decoder, and distillation in both directions.

    After "Three Ways to Improve Semantic Segmentation with Self-Supervised Depth Estimation"
    (Hoyer et al., 2021). As in the paper, the encoder's last stage is dilated; each decoder is an
    ASPP with rates 6, 12 and 18 and four UpBlocks with skip connections (Monodepth2's, without
    batch norm); disparity is predicted at four scales, those at strides 4 and 8 before the
    exchange; the exchange follows the third block, at stride 4, F_seg += conv3x3(F_depth) *
    sigmoid(conv3x3(F_depth)) and vice versa; labels come from a 1x1 convolution. Depth and logits
    have the input's size.

    Unlike the paper, the whole message starts at zero, so that the initial network equals the one
    without distillation to the bit; the ASPP's mean has no batch norm; there is no semantic head
    before the exchange.

    For self-supervision the encoder starts from ImageNet weights. The ImageNet feature distance
    compares `encode` of this network with that of a second, frozen copy of these weights.

    :param interface: classes, depth range (0.1 to 100 m in the paper) and normalisation.
    :param backbone: 'resnet18', 'resnet50' or 'resnet101'.
    :param pretrained: weights of the encoder: a file with torchvision's names, or a ResNet of
        `transformers`, as a folder or on the hub (`models.unet.resnet.read_weights`).
    :param channels: channels of a decoder's features at strides 1, 2, 4, 8 and 16.
    :param distillation: whether the decoders exchange features.
    :param alignment: whether semantic features also modulate the depth features, F_depth (1 +
        gain) + message; the gain is a 1x1 convolution of F_seg that starts at zero, without
        normalisation as in `sync_perception.models.sync.Alignment`.
    :param scales: number of scales of `disparities`, 1 to 4. `forward` uses only the finest, so
        supervised training should use 1: it leaves no weight without gradient.
    :param dilated: whether the encoder's last stage keeps stride 16.
    :param dropout: dropout rate after the ASPP, in training.
    :param freeze_encoder: whether the encoder is frozen in training.
    :param uncertainty: whether to output the log-variance of ln(depth), too.
    :param normals: whether to output surface normals, too.
    :raises ValueError: for invalid arguments.
    """

    multiple = 32

    def __init__(
            self, interface: Interface, backbone: str = 'resnet50', pretrained: str | None = None,
            channels: Sequence[int] = (64, 128, 128, 256, 256), distillation: bool = True,
            alignment: bool = False, scales: int = SCALES, dilated: bool = True,
            dropout: float = 0.5, freeze_encoder: bool = False, uncertainty: bool = False,
            normals: bool = False):
        super().__init__()
        check_padnet(channels, scales, dropout, distillation, alignment)
        self.depth_range = tuple(interface.depth_range)
        self.input = Renormalise(interface.mean, interface.std, *IMAGENET_NORMALISATION)
        self.encoder = ResNet(backbone, dilated=dilated, pretrained=pretrained)
        self.depth = Decoder(self.encoder.channels, channels, dropout)
        self.semantics = Decoder(self.encoder.channels, channels, dropout)
        self.channels_of = depth_channels(uncertainty, normals)
        self.depth_heads = nn.ModuleList(
            reflection_convolution(
                channels[scale], 1 if scale else sum(self.channels_of.values()))
            for scale in range(scales))
        self.semantic_head = nn.Conv2d(channels[0], interface.num_classes, 1)
        self.distillation = distillation
        if distillation:
            self.depth_to_semantics = Distillation(channels[2])
            self.semantics_to_depth = Distillation(channels[2])
        self.semantics_to_depth_gain = None
        if alignment:
            self.semantics_to_depth_gain = ZeroConv(channels[2], channels[2], kernel_size=1)
        if freeze_encoder:
            self.freeze_encoder()

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """
        Return the encoder's features at strides 2, 4, 8, 16 and 16 (32 if not dilated).

        :param image_b3hw: (B, 3, h, w) in the interface's normalisation; h and w multiples of 32.
        """
        return self.encoder(self.input(image_b3hw))

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """Return depth, logits and the other requested maps, all (B, ..., h, w)."""
        return self.forward_scales(image_b3hw)[0]

    def forward_scales(self, image_b3hw: Tensor) -> tuple[DenseOutput, list[Tensor]]:
        """Return the results of `forward` and `disparities` from one pass."""
        features = self.encode(image_b3hw)
        depth = self.depth.to_stride_4(features)
        semantics = self.semantics.to_stride_4(features)[0]
        for_depth, for_semantics = self.exchange(depth[0], semantics)
        maps, disparities = self.depth_maps(self.depth.to_stride_1(for_depth, features) + depth)
        semantics = self.semantics.to_stride_1(for_semantics, features)[0]
        return DenseOutput(logits=self.semantic_head(semantics), **maps), disparities

    def disparities(self, image_b3hw: Tensor) -> list[Tensor]:
        """
        Return Monodepth2's disparities, finest first, without computing the labels.

        :return: `scales` maps of float32 (B, 1, h / 2^s, w / 2^s) in (0, 1), inverse depth scaled
            from 0 (farthest) to 1 (nearest); `depth_of` converts them to metres.
        """
        features = self.encode(image_b3hw)
        depth = self.depth.to_stride_4(features)
        for_depth = depth[0]
        if self.distillation:
            semantics = self.semantics.to_stride_4(features)[0]
            for_depth = self.with_message(for_depth, semantics)
        return self.depth_maps(self.depth.to_stride_1(for_depth, features) + depth)[1]

    def depth_of(self, disparity: Tensor) -> Tensor:
        """Convert disparities in [0, 1], of any shape, to metres of the canonical camera."""
        near, far = self.depth_range
        return 1 / (1 / far + disparity * (1 / near - 1 / far))

    def exchange(self, depth: Tensor, semantics: Tensor) -> tuple[Tensor, Tensor]:
        """Return both tasks' features at stride 4 with the other task's message added."""
        if not self.distillation:
            return depth, semantics
        return self.with_message(depth, semantics), semantics + self.depth_to_semantics(depth)

    def with_message(self, depth: Tensor, semantics: Tensor) -> Tensor:
        """Return the depth decoder's features at stride 4, with the semantic message and gain."""
        message = self.semantics_to_depth(semantics)
        if self.semantics_to_depth_gain is not None:
            depth = depth * (1 + self.semantics_to_depth_gain(semantics))
        return depth + message

    def depth_maps(self, features: list[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """
        Return the maps of the depth decoder in final units by name, and the disparities.

        :param features: features of the depth decoder at strides 1, 2, 4 and 8.
        """
        raw = [head(feature) for head, feature in zip(self.depth_heads, features)]
        maps = split_depth(raw[0], self.channels_of, 'disparity', self.depth_range)
        return maps, [torch.sigmoid(disparity[:, :1].float()) for disparity in raw]

    def coupling_norms(self) -> dict[str, list[float]]:
        """Return the weight norms of messages and gain; zero before training."""
        if not self.distillation:
            return {}
        norms = {name: [getattr(self, name).message.weight.norm().item()]
                 for name in ('depth_to_semantics', 'semantics_to_depth')}
        if self.semantics_to_depth_gain is not None:
            norms['semantics_to_depth_gain'] = [self.semantics_to_depth_gain.weight.norm().item()]
        return norms


def with_norm(convolution: nn.Conv2d) -> nn.Sequential:
    """Return the convolution followed by batch norm and ReLU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def reflection_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Create a 3x3 convolution with reflection padding; zero padding would look like an edge."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode='reflect')


def elu_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Create Monodepth2's unit: 3x3 convolution with reflection padding, then ELU."""
    return nn.Sequential(reflection_convolution(inputs, outputs), nn.ELU())


def check_padnet(
        channels: Sequence[int], scales: int, dropout: float, distillation: bool, alignment: bool
        ) -> None:
    """
    Check the arguments of a PadNet.

    :raises ValueError: naming what was got and what was expected.
    """
    if len(channels) != 5 or min(channels) < 1:
        raise ValueError(
            f'expected the channels at strides 1, 2, 4, 8 and 16, got {list(channels)}')
    if not 1 <= scales <= SCALES:
        raise ValueError(f'expected 1 to {SCALES} scales of disparity, got {scales}')
    if alignment and not distillation:
        raise ValueError(
            'alignment is part of the exchange: expected distillation: true with it, got false')
    if not 0 <= dropout < 1:
        raise ValueError(f'expected a dropout of at least 0 and below 1, got {dropout}')
