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

"""EfficientViT (Cai et al., ICCV 2023): encoder and segmentation head, by the published tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn, Tensor
from torch.nn import functional

STRIDES = (2, 4, 8, 16, 32)
ALL_TAPS = (0, 1, 2, 3, 4)
HEAD_TAPS = (2, 3, 4)
EPSILON = 1e-15


@dataclass(frozen=True)
class EfficientViTSize:
    """
    Published size: the B series is for CPUs and mobile devices, the L series for GPUs.

    :param widths: channels at strides 2, 4, 8, 16 and 32.
    :param depths: blocks of the stem and the four stages, not counting the strided ones.
    :param attention_width: channels of an attention head.
    :param head_width: channels of the segmentation head.
    :param head_depth: blocks of the segmentation head.
    :param large: whether it is of the L series.
    """

    widths: tuple[int, int, int, int, int]
    depths: tuple[int, int, int, int, int]
    attention_width: int
    head_width: int
    head_depth: int
    large: bool = False

    @property
    def activation(self) -> nn.Module:
        """Return Hardswish for the B series, tanh-approximated GELU for the L series."""
        return nn.GELU(approximate='tanh') if self.large else nn.Hardswish()

    @property
    def epsilon(self) -> float:
        """Return the epsilon of the batch norms."""
        return 1e-7 if self.large else 1e-5


EFFICIENTVIT_SIZES: dict[str, EfficientViTSize] = {
    'b0': EfficientViTSize((8, 16, 32, 64, 128), (1, 2, 2, 2, 2), 16, 32, 1),
    'b1': EfficientViTSize((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), 16, 64, 3),
    'b2': EfficientViTSize((24, 48, 96, 192, 384), (1, 3, 4, 4, 6), 32, 96, 3),
    'b3': EfficientViTSize((32, 64, 128, 256, 512), (1, 4, 6, 6, 9), 32, 128, 3),
    'l1': EfficientViTSize((32, 64, 128, 256, 512), (1, 1, 1, 6, 6), 32, 256, 3, large=True),
    'l2': EfficientViTSize((32, 64, 128, 256, 512), (1, 2, 2, 8, 8), 32, 256, 5, large=True),
}
"""Sizes of the paper's appendix and of the authors' implementation for Cityscapes."""


class ConvUnit(nn.Module):
    """
    Convolution, batch norm and activation; the latter two are optional.

    :param norm: epsilon of the batch norm; None for no batch norm.
    :param bias: whether the convolution has a bias; by default if there is no batch norm.
    """

    def __init__(
            self, inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1,
            norm: float | None = 1e-5, activation: nn.Module | None = None,
            bias: bool | None = None):
        super().__init__()
        bias = norm is None if bias is None else bias
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=bias)
        self.norm = nn.Identity() if norm is None else nn.BatchNorm2d(outputs, eps=norm)
        self.act = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return self.act(self.norm(self.conv(x)))


class Block(nn.Module):
    """Sequence of units, with a residual connection where the shapes agree."""

    def __init__(self, units: dict[str, nn.Module], residual: bool):
        super().__init__()
        self.residual = residual
        for name, unit in units.items():
            self.add_module(name, unit)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the units to (B, C, h, w)."""
        y = x
        for unit in self.children():
            y = unit(y)
        return x + y if self.residual else y


def inverted_residual(
        inputs: int, outputs: int, stride: int, expansion: int, variant: EfficientViTSize,
        fewer_norms: bool = False) -> Block:
    """
    Create an inverted residual block: expansion, depthwise convolution, projection.

    :param fewer_norms: only the last convolution has a batch norm, the others a bias.
    """
    hidden, early = inputs * expansion, None if fewer_norms else variant.epsilon
    return Block({
        'inverted_conv': ConvUnit(inputs, hidden, norm=early, activation=variant.activation),
        'depth_conv': ConvUnit(
            hidden, hidden, 3, stride, hidden, early, variant.activation),
        'point_conv': ConvUnit(hidden, outputs, norm=variant.epsilon),
    }, residual=stride == 1 and inputs == outputs)


def fused_inverted_residual(
        inputs: int, outputs: int, stride: int, expansion: int, variant: EfficientViTSize
        ) -> Block:
    """Create an inverted residual block whose first two convolutions are fused to one 3x3."""
    hidden = inputs * expansion
    return Block({
        'spatial_conv': ConvUnit(
            inputs, hidden, 3, stride, norm=variant.epsilon, activation=variant.activation),
        'point_conv': ConvUnit(hidden, outputs, norm=variant.epsilon),
    }, residual=stride == 1 and inputs == outputs)


def stem_block(width: int, variant: EfficientViTSize) -> Block:
    """Create the stem's block: depthwise separable in the B series, two 3x3 in the L series."""
    groups, names = (1, ('conv1', 'conv2')) if variant.large else (
        width, ('depth_conv', 'point_conv'))
    return Block({
        names[0]: ConvUnit(
            width, width, 3, groups=groups, norm=variant.epsilon, activation=variant.activation),
        names[1]: ConvUnit(width, width, 3 if variant.large else 1, norm=variant.epsilon),
    }, residual=True)


class MultiScaleAttention(nn.Module):
    """
    Multi-scale ReLU linear attention (section 3.1): global context at a cost linear in the pixels.

    Queries, keys and values come from 1x1 convolutions, and a second set from a 5x5 aggregation of
    the first. Sums over all pixels exceed the range of float16 and the precision of bfloat16 and
    int8, so the attention is computed in float32, and a quantised network keeps it in float.

    :param channels: channels of the input and the output.
    :param width: channels of a head.
    :param epsilon: epsilon of the batch norm.
    """

    def __init__(self, channels: int, width: int, epsilon: float):
        super().__init__()
        heads = channels // width
        total = heads * width
        self.width = width
        self.qkv = ConvUnit(channels, 3 * total, norm=None, bias=False)
        self.aggreg = nn.Sequential(
            nn.Conv2d(3 * total, 3 * total, 5, padding=2, groups=3 * total, bias=False),
            nn.Conv2d(3 * total, 3 * total, 1, groups=3 * heads, bias=False))
        self.proj = ConvUnit(2 * total, channels, norm=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the attention's output, (B, channels, h, w)."""
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, self.aggreg(qkv)], dim=1)
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                attended = self.attend(qkv.float())
        else:
            attended = self.attend(qkv)
        return x + self.proj(attended)

    def attend(self, qkv: Tensor) -> Tensor:
        """Return sum_j relu(q_i) relu(k_j) v_j / sum_j relu(q_i) relu(k_j), for each head."""
        batch, _, height, width = qkv.shape
        q, k, v = qkv.reshape(batch, -1, 3 * self.width, height * width).split(self.width, dim=2)
        q, k = functional.relu(q), functional.relu(k)
        v = functional.pad(v, (0, 0, 0, 1), value=1.0)
        out = (v @ k.transpose(-1, -2)) @ q
        out = out[:, :, :-1] / (out[:, :, -1:] + EPSILON)
        return out.reshape(batch, -1, height, width)


class AttentionBlock(nn.Module):
    """Global context by linear attention, then local context by an inverted residual block."""

    def __init__(self, channels: int, expansion: int, variant: EfficientViTSize):
        super().__init__()
        self.context_module = MultiScaleAttention(
            channels, variant.attention_width, variant.epsilon)
        self.local_module = inverted_residual(
            channels, channels, 1, expansion, variant, fewer_norms=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        return self.local_module(self.context_module(x))


def stage(index: int, variant: EfficientViTSize) -> nn.Sequential:
    """Create a stage, which halves the size: 1 (from stride 2 to 4) to 4 (from 16 to 32)."""
    inputs, outputs = variant.widths[index - 1:index + 1]
    depth = variant.depths[index]
    if not variant.large:
        if index <= 2:
            return nn.Sequential(*(
                inverted_residual(
                    outputs if place else inputs, outputs, 1 if place else 2, 4, variant)
                for place in range(depth)))
        return nn.Sequential(
            inverted_residual(inputs, outputs, 2, 4, variant, fewer_norms=True),
            *(AttentionBlock(outputs, 4, variant) for _ in range(depth)))
    if index <= 2:
        return nn.Sequential(
            fused_inverted_residual(inputs, outputs, 2, 16, variant),
            *(fused_inverted_residual(outputs, outputs, 1, 4, variant) for _ in range(depth)))
    expansion = 6 if index == 4 else 4
    return nn.Sequential(
        inverted_residual(inputs, outputs, 2, 4 * expansion, variant, fewer_norms=True),
        *(AttentionBlock(outputs, expansion, variant) if index == 4 else
          inverted_residual(outputs, outputs, 1, 4, variant, fewer_norms=True)
          for _ in range(depth)))


class EfficientViT(nn.Module):
    """
    Encoder of EfficientViT.

    :param variant: a value of VARIANTS.
    :param taps: indices into STRIDES of the returned features.
    :ivar channels: channels of the features, fine to coarse.
    :ivar strides: strides of the features, fine to coarse.
    """

    def __init__(self, variant: EfficientViTSize, taps: Sequence[int] = ALL_TAPS):
        super().__init__()
        width = variant.widths[0]
        self.stem = nn.Sequential(
            ConvUnit(3, width, 3, 2, norm=variant.epsilon, activation=variant.activation),
            *(stem_block(width, variant) for _ in range(variant.depths[0])))
        self.stages = nn.ModuleList(stage(index, variant) for index in range(1, len(STRIDES)))
        self.taps = frozenset(taps)
        self.channels = tuple(variant.widths[tap] for tap in sorted(self.taps))
        self.strides = tuple(STRIDES[tap] for tap in sorted(self.taps))

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the tapped features, fine to coarse; h and w are multiples of 32."""
        features, x = [], image_b3hw
        for index, part in enumerate((self.stem, *self.stages)):
            x = part(x)
            if index in self.taps:
                features.append(x)
        return features


class SegmentationHead(nn.Module):
    """
    Published head: sums the features at strides 8, 16 and 32 at stride 8 and refines them.

    :param variant: a value of VARIANTS.
    :param out_channels: channels of the raw map.
    """

    def __init__(self, variant: EfficientViTSize, out_channels: int):
        super().__init__()
        width, epsilon = variant.head_width, variant.epsilon
        self.input_ops = nn.ModuleList(
            ConvUnit(channels, width, norm=epsilon)
            for channels in reversed(variant.widths[HEAD_TAPS[0]:]))
        self.middle = nn.Sequential(*(
            fused_inverted_residual(width, width, 1, 1, variant) if variant.large
            else inverted_residual(width, width, 1, 4, variant)
            for _ in range(variant.head_depth)))
        final = ConvUnit(width, out_channels, norm=None)
        self.output_ops = nn.Sequential(final) if variant.large else nn.Sequential(
            ConvUnit(width, 4 * width, norm=epsilon, activation=variant.activation),
            ConvUnit(4 * width, out_channels, norm=None))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map features at strides 8, 16 and 32 to (B, out_channels, h / 8, w / 8)."""
        size = features[0].shape[-2:]
        total = None
        for project, feature in zip(self.input_ops, reversed(features)):
            x = project(feature)
            if x.shape[-2:] != size:
                x = functional.interpolate(
                    x.float(), size=size, mode='bicubic', align_corners=False)
            total = x if total is None else total + x
        return self.output_ops(self.middle(total))


def find_variant(name: str) -> EfficientViTSize:
    """
    Return a variant by its name.

    :raises ValueError: if there is none.
    """
    if name not in EFFICIENTVIT_SIZES:
        raise ValueError(
            f'no EfficientViT {name!r}, expected one of {", ".join(EFFICIENTVIT_SIZES)}')
    return EFFICIENTVIT_SIZES[name]
