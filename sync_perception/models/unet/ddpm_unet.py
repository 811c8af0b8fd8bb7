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

"""DDPM-style UNet: the paper's branch for depth or semantics."""

from __future__ import annotations

from collections.abc import Sequence

from sync_perception.models.sync import Branch
from sync_perception.models.unet.blocks import (
    BLOCKS,
    FullAttention,
    LinearAttention,
    ResidualPreNorm,
    VitBlock,
)
import torch
from torch import nn, Tensor

# size -> dim, and multipliers of dim at each level; base is that of the paper
SIZES = {
    'tiny': (16, (1, 2, 4)),
    'small': (32, (1, 2, 4, 8)),
    'base': (64, (1, 2, 4, 8)),
}
WINDOW = 8
FULL_ATTENTION_STRIDE = 8


class UNet(Branch):
    """
    UNet with two blocks and linear attention per level, and full attention at the bottleneck.

    Encoder: a 7x7 convolution; per level two blocks and a residual pre-norm linear attention, with
    a strided 4x4 convolution between levels; at the bottleneck block, full attention, block.
    Decoder: per level concatenation of the skip, two blocks, linear attention, a 4x4 transposed
    convolution; the head concatenates the finest skip and applies a block and a 1x1 convolution.
    There is no time embedding. The features are every level's skip and the bottleneck.

    :param out_channels: channels of the raw map: 1 for depth, the number of classes for labels.
    :param block: 'resnet', 'convnext' or 'vit'. ViT blocks attend in windows of 8 at the fine
        levels, the second of two shifted, and to the whole image from stride 8 on.
    :param size: 'tiny', 'small' or 'base' (dim 64, multipliers 1, 2, 4, 8).
    :param dim: channels of the first convolution and of the head; None for those of the size.
    :param multipliers: channels of each level in multiples of dim; None for those of the size.
    :param in_channels: channels of the image.
    :raises ValueError: for an unknown block or size, or invalid numbers.
    """

    def __init__(self, out_channels: int, block: str = 'resnet', size: str = 'small',
                 dim: int | None = None, multipliers: Sequence[int] | None = None,
                 in_channels: int = 3):
        """Make the layers."""
        super().__init__()
        dim, multipliers = resolve_size(out_channels, block, size, dim, multipliers)
        widths = [dim * multiplier for multiplier in multipliers]
        levels = range(len(widths))
        strides = [2 ** level for level in levels]
        self.in_channels = in_channels
        self.channels = (*widths, widths[-1])
        self.strides = (*strides, strides[-1])
        self.multiple = strides[-1]

        self.stem = nn.Conv2d(in_channels, dim, 7, padding=3)
        self.down_stages = nn.ModuleList(
            make_stage(block, dim if level == 0 else widths[level - 1], widths[level],
                       strides[level]) for level in levels)
        self.downs = nn.ModuleList(
            nn.Conv2d(width, width, 4, stride=2, padding=1) for width in widths[:-1])
        first, second = make_blocks(block, widths[-1], widths[-1], strides[-1])
        self.middle = nn.Sequential(
            first, ResidualPreNorm(widths[-1], FullAttention(widths[-1])), second)
        # coarse to fine: each stage joins a skip and reduces to the next finer level's width
        coarse_to_fine = list(levels)[:0:-1]
        self.up_stages = nn.ModuleList(
            make_stage(block, 2 * widths[level], widths[level - 1], strides[level])
            for level in coarse_to_fine)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(widths[level - 1], widths[level - 1], 4, stride=2, padding=1)
            for level in coarse_to_fine)
        self.head = nn.Sequential(
            make_blocks(block, 2 * widths[0], dim, 1)[0], nn.Conv2d(dim, out_channels, 1))

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """
        Return the skips of all levels, fine to coarse, and the bottleneck last.

        :param image_b3hw: (B, in_channels, h, w), normalised; h and w multiples of `multiple`.
        :return: features i of (B, channels[i], h / strides[i], w / strides[i]).
        :raises ValueError: for an image of another shape.
        """
        shape = tuple(image_b3hw.shape)
        if (len(shape) != 4 or shape[1] != self.in_channels or 0 in shape
                or shape[2] % self.multiple or shape[3] % self.multiple):
            raise ValueError(
                f'expected an image of (B, {self.in_channels}, h, w) with h and w multiples of '
                f'{self.multiple}, got {shape}')
        x = self.stem(image_b3hw)
        features = []
        for level, stage in enumerate(self.down_stages):
            x = stage(x)
            features.append(x)
            if level < len(self.downs):
                x = self.downs[level](x)
        return [*features, self.middle(x)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """
        Return the raw map of the features.

        :param features: features of encode, possibly with the other branch's added.
        :return: (B, out_channels, h, w), of the image's size.
        :raises ValueError: if the number of features is not that of `channels`.
        """
        if len(features) != len(self.channels):
            raise ValueError(
                f'expected {len(self.channels)} features, fine to coarse, got {len(features)}')
        *skips, x = features
        for stage, up in zip(self.up_stages, self.ups):
            x = up(stage(torch.cat([x, skips.pop()], dim=1)))
        return self.head(torch.cat([x, skips.pop()], dim=1))


def make_blocks(kind: str, in_channels: int, out_channels: int,
                stride: int) -> tuple[nn.Module, nn.Module]:
    """
    Return the two blocks of a level, the first from in_channels, both to out_channels.

    :param kind: a key of BLOCKS.
    :param stride: stride of the level; ViT blocks attend to the whole image from stride 8 on.
    """
    if kind == 'vit':
        window = None if stride >= FULL_ATTENTION_STRIDE else WINDOW
        return (VitBlock(in_channels, out_channels, window),
                VitBlock(out_channels, out_channels, window, shifted=True))
    return BLOCKS[kind](in_channels, out_channels), BLOCKS[kind](out_channels, out_channels)


def make_stage(kind: str, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return two blocks and a residual pre-norm linear attention."""
    return nn.Sequential(
        *make_blocks(kind, in_channels, out_channels, stride),
        ResidualPreNorm(out_channels, LinearAttention(out_channels)))


def resolve_size(out_channels: int, block: str, size: str, dim: int | None,
                 multipliers: Sequence[int] | None) -> tuple[int, tuple[int, ...]]:
    """
    Return dim and multipliers, by default those of the size.

    :raises ValueError: naming what was got and what was expected.
    """
    if block not in BLOCKS:
        raise ValueError(f'unknown block {block!r}: expected one of {", ".join(BLOCKS)}')
    if size not in SIZES:
        raise ValueError(f'unknown size {size!r}: expected one of {", ".join(SIZES)}')
    if out_channels < 1:
        raise ValueError(f'expected at least 1 output channel, got {out_channels}')
    dim = SIZES[size][0] if dim is None else dim
    multipliers = SIZES[size][1] if multipliers is None else tuple(multipliers)
    if dim < 8 or dim % 8:
        raise ValueError(f'expected a dim that is a multiple of 8, got {dim}')
    if not multipliers or min(multipliers) < 1:
        raise ValueError(f'expected one multiplier a level, at least 1 each, got {multipliers}')
    return dim, multipliers
