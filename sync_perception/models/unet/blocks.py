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

"""Blocks of the UNet: ResNet, ConvNeXt and ViT; linear, full and windowed attention."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

HEADS = 4
HEAD_CHANNELS = 32
GROUPS = 8


class ResidualBlock(nn.Module):
    """Sum of a body and a shortcut, which subclasses make."""

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the features of the same size.

        :param x: (B, in_channels, H, W).
        :return: (B, out_channels, H, W).
        """
        return self.body(x) + self.shortcut(x)


class ResNetBlock(ResidualBlock):
    """
    Residual block: twice 3x3 convolution, GroupNorm of 8 groups and SiLU.

    The residual block of DDPM (Ho et al., 2020) without time embedding.

    :param in_channels: channels of the input.
    :param out_channels: channels of the output, a multiple of 8.
    :raises ValueError: if the output's channels do not divide into the 8 groups.
    """

    def __init__(self, in_channels: int, out_channels: int):
        """Make the layers."""
        super().__init__()
        if out_channels % GROUPS:
            raise ValueError(
                f'a ResNet block normalises {GROUPS} groups of channels: expected a multiple of '
                f'{GROUPS}, got {out_channels} channels')
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
            nn.SiLU())
        self.shortcut = make_shortcut(in_channels, out_channels)


class ConvNextBlock(ResidualBlock):
    """
    Residual block: 7x7 depthwise, 3x3 to a multiple of the width, 3x3 back.

    ConvNeXt (Liu et al., 2022) as in the paper's DDPM-style UNet: GroupNorm of one group before
    either 3x3 convolution, GELU between them.

    :param in_channels: channels of the input.
    :param out_channels: channels of the output.
    :param expansion: width between the 3x3 convolutions, in multiples of the output's channels.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int = 2):
        """Make the layers."""
        super().__init__()
        width = expansion * out_channels
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels),
            nn.GroupNorm(1, in_channels),
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.GELU(),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, out_channels, 3, padding=1))
        self.shortcut = make_shortcut(in_channels, out_channels)


class VitBlock(nn.Module):
    """
    ViT block: pre-norm self-attention and MLP over pixels (Dosovitskiy et al., 2021).

    A depthwise 3x3 convolution encodes positions at any size (conditional positional encoding, Chu
    et al., 2021).

    :param in_channels: channels of the input; if they differ from the output's, a 1x1 convolution
        comes first.
    :param out_channels: channels of the output.
    :param window: side of the attention's windows in pixels; None attends to the whole image,
        whose cost grows with the square of the number of pixels.
    :param shifted: whether the windows start half a window before the image, so that a shifted
        block after an unshifted one joins neighbouring windows (Swin, Liu et al., 2021).
    :param expansion: width of the MLP in multiples of the channels.
    """

    def __init__(self, in_channels: int, out_channels: int, window: int | None = None,
                 shifted: bool = False, expansion: int = 4):
        """Make the layers."""
        super().__init__()
        self.entry = make_shortcut(in_channels, out_channels)
        self.position = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)
        self.attention_norm = nn.LayerNorm(out_channels)
        self.attention = WindowAttention(out_channels, window, shifted)
        self.mlp = nn.Sequential(
            nn.LayerNorm(out_channels),
            nn.Linear(out_channels, expansion * out_channels),
            nn.GELU(),
            nn.Linear(expansion * out_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """
        Return features of the same size, for any H and W.

        :param x: (B, in_channels, H, W).
        :return: (B, out_channels, H, W).
        """
        x = self.entry(x)
        x = x + self.position(x)
        x_bhwc = x.permute(0, 2, 3, 1)
        x_bhwc = x_bhwc + self.attention(self.attention_norm(x_bhwc))
        x_bhwc = x_bhwc + self.mlp(x_bhwc)
        return x_bhwc.permute(0, 3, 1, 2).contiguous()


class WindowAttention(nn.Module):
    """
    Multi-head self-attention inside square windows, or over the whole image.

    The image is padded to whole windows, and the padding is masked.

    :param channels: channels of input and output; every 32 of them make one head.
    :param window: side of a window in pixels, or None for the whole image.
    :param shifted: whether the first window starts half a window before the image.
    :raises ValueError: if the window is smaller than 2 pixels.
    """

    def __init__(self, channels: int, window: int | None = None, shifted: bool = False):
        """Make the layers."""
        super().__init__()
        if window is not None and window < 2:
            raise ValueError(f'an attention window needs at least 2 pixels a side, got {window}')
        self.window = window
        self.shift = window // 2 if window and shifted else 0
        self.heads = max(1, channels // HEAD_CHANNELS)
        self.qkv = nn.Linear(channels, 3 * self.heads * HEAD_CHANNELS)
        self.out = nn.Linear(self.heads * HEAD_CHANNELS, channels)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """
        Return the attention's output for each pixel over its window.

        :param x_bhwc: (B, H, W, C).
        :return: (B, H, W, C).
        """
        batch, height, width, _ = x_bhwc.shape
        if self.window is None:
            tokens = self._attend(x_bhwc.flatten(1, 2), None)
            return tokens.unflatten(1, (height, width))
        top = left = self.shift
        bottom = -(height + top) % self.window
        right = -(width + left) % self.window
        padded = F.pad(x_bhwc, (0, 0, left, right, top, bottom))
        mask = None
        if top or bottom or right:
            inside = x_bhwc.new_ones((1, height, width, 1), dtype=torch.bool)
            inside = F.pad(inside, (0, 0, left, right, top, bottom))
            mask = self._windows(inside).transpose(1, 2)[:, None].repeat(batch, 1, 1, 1)
        tokens = self._attend(self._windows(padded), mask)
        rows, columns = padded.shape[1] // self.window, padded.shape[2] // self.window
        tiles = tokens.reshape(batch, rows, columns, self.window, self.window, -1)
        whole = tiles.transpose(2, 3).reshape(batch, *padded.shape[1:3], -1)
        return whole[:, top:top + height, left:left + width]

    def _windows(self, x_bhwc: Tensor) -> Tensor:
        """Cut (B, H, W, C) into (B * windows, window * window, C)."""
        tiles = x_bhwc.unflatten(1, (-1, self.window)).unflatten(3, (-1, self.window))
        return tiles.transpose(2, 3).flatten(3, 4).flatten(0, 2)

    def _attend(self, tokens_bnc: Tensor, mask: Tensor | None) -> Tensor:
        """Attend among the tokens; mask: bool, broadcastable to (B, heads, N, N)."""
        qkv = self.qkv(tokens_bnc).unflatten(-1, (3, self.heads, HEAD_CHANNELS))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        gathered = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(gathered.transpose(1, 2).flatten(2))


class FullAttention(nn.Module):
    """
    Softmax attention of every pixel to every pixel (Vaswani et al., 2017), 4 heads of 32.

    :param channels: channels of input and output.
    """

    def __init__(self, channels: int):
        """Make the layers."""
        super().__init__()
        self.qkv = nn.Conv2d(channels, 3 * HEADS * HEAD_CHANNELS, 1, bias=False)
        self.out = nn.Conv2d(HEADS * HEAD_CHANNELS, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the attention's output over the whole image; the cost grows with (H * W)^2.

        :param x: (B, C, H, W).
        :return: (B, C, H, W).
        """
        q, k, v = split_heads(self.qkv(x)).transpose(-1, -2)
        gathered = F.scaled_dot_product_attention(q, k, v)
        return self.out(gathered.transpose(-1, -2).reshape(x.shape[0], -1, *x.shape[2:]))


class LinearAttention(nn.Module):
    """
    Attention with a cost linear in H * W (Efficient Attention, Shen et al., 2021).

    4 heads of 32 channels. The queries' softmax runs over a head's channels, the keys' over the
    pixels, so each of the 32 key channels gathers one mean of the values over the image, which
    the queries (times 32^-1/2) then mix. A GroupNorm of one group follows the last convolution.

    :param channels: channels of input and output.
    """

    def __init__(self, channels: int):
        """Make the layers."""
        super().__init__()
        self.qkv = nn.Conv2d(channels, 3 * HEADS * HEAD_CHANNELS, 1, bias=False)
        self.out = nn.Sequential(
            nn.Conv2d(HEADS * HEAD_CHANNELS, channels, 1), nn.GroupNorm(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the attention's output over the whole image.

        :param x: (B, C, H, W).
        :return: (B, C, H, W).
        """
        q, k, v = split_heads(self.qkv(x))
        context = torch.matmul(v, k.softmax(dim=-1).transpose(-1, -2))
        gathered = torch.matmul(context, q.softmax(dim=-2) * HEAD_CHANNELS ** -0.5)
        return self.out(gathered.reshape(x.shape[0], -1, *x.shape[2:]))


class ResidualPreNorm(nn.Module):
    """
    x + layer(GroupNorm(x)), with one group.

    :param channels: channels of input and output.
    :param layer: shape-preserving module applied to the normalised features.
    """

    def __init__(self, channels: int, layer: nn.Module):
        """Keep the layer."""
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the sum.

        :param x: (B, C, H, W).
        :return: (B, C, H, W).
        """
        return x + self.layer(self.norm(x))


def split_heads(qkv: Tensor) -> Tensor:
    """
    Split the channels of queries, keys and values into heads.

    :param qkv: (B, 3 * heads * 32, H, W).
    :return: (3, B, heads, 32, H * W).
    """
    return qkv.flatten(2).unflatten(1, (3, HEADS, HEAD_CHANNELS)).transpose(0, 1)


def make_shortcut(in_channels: int, out_channels: int) -> nn.Module:
    """Return a 1x1 convolution if the channels differ, else the identity."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Conv2d(in_channels, out_channels, 1)


BLOCKS = {'resnet': ResNetBlock, 'convnext': ConvNextBlock, 'vit': VitBlock}
