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


"""
Mixing of two images and their annotations: DepthMix and ClassMix.

DepthMix: Hoyer et al., "Three ways to improve semantic segmentation with self-supervised depth
estimation", CVPR 2021, and "Improving semi-supervised and domain-adaptive semantic segmentation
with self-supervised depth estimation", IJCV 2023. ClassMix: Olsson et al., WACV 2021.
"""

from __future__ import annotations

from typing import Any

from kornia import augmentation
from sync_perception.labels import VOID
import torch
from torch import nn, Tensor

MARGIN = 0.03
"""Tolerance of normalised disparity by which the first image may be farther and still occlude."""
IDS = 256


def partners(batch_size: int) -> Tensor:
    """
    Pair the samples of a batch at random: each has one partner, and is the partner of one.

    :return: int64 (B,); no sample is its own partner, unless B is 1.
    """
    order = torch.randperm(batch_size)
    chosen = torch.empty_like(order)
    chosen[order] = order.roll(1)
    return chosen


def normalised_disparity(depth_bhw: Tensor) -> Tensor:
    """
    Return inverse depth, normalised to [0, 1] for each image.

    Pixels without depth (NaN, or not positive) count as infinitely far, 0: missing depth of a
    sensor or renderer is mostly sky. If an image has a single depth, all pixels are 0.

    :param depth_bhw: (B, h, w), in any unit.
    :return: float32 (B, h, w) in [0, 1].
    """
    depth = depth_bhw.float()
    known = depth > 0  # false where NaN
    disparity = torch.where(known, 1 / depth, 0)
    least = torch.where(known, disparity, torch.inf).amin(dim=(1, 2), keepdim=True)
    spread = disparity.amax(dim=(1, 2), keepdim=True) - least
    share = (disparity - least) / torch.where(spread > 0, spread, 1)
    return torch.where(known & (spread > 0), share, 0)


def depth_mask(depth_bhw: Tensor, partner_b: Tensor) -> Tensor:
    """
    Return where an image occludes its partner: M = [d_i >= d_j - 0.03], d normalised disparity.

    An image without any depth, or whose partner has none, is kept whole.

    :param depth_bhw: (B, h, w), of any unit, NaN where unknown.
    :param partner_b: int64 (B,), each image's partner.
    :return: bool (B, h, w).
    """
    disparity = normalised_disparity(depth_bhw)
    nearer = disparity >= disparity[partner_b] - MARGIN
    known = (depth_bhw > 0).flatten(1).any(dim=1)
    return nearer | ~(known & known[partner_b])[:, None, None]


def class_mask(labels_bhw: Tensor) -> Tensor:
    """
    Return the mask of a random half of each image's classes, rounded down.

    :param labels_bhw: uint8 or integer (B, h, w), ids below 255; 255 is void, no class.
    :return: bool (B, h, w).
    """
    labels = labels_bhw.long()
    present = torch.zeros(len(labels), IDS, dtype=torch.bool, device=labels.device)
    present.scatter_(1, labels.flatten(1), True)
    present[:, VOID] = False
    lots = torch.rand(len(labels), IDS).to(labels.device)
    rank = lots.masked_fill(~present, -1).argsort(dim=1, descending=True).argsort(dim=1)
    chosen = rank < present.sum(dim=1, keepdim=True) // 2
    return chosen.gather(1, labels.flatten(1)).view_as(labels)


def mix_maps(batch: dict[str, Any], mask_bhw: Tensor, partner_b: Tensor) -> dict[str, Tensor]:
    """
    Mix all maps of a batch: M x_i + (1 - M) x_j.

    Depth of cameras with different focal lengths must be scaled to one camera before.

    :param batch: `image` (B, H, W, 3), and maps (B, ..., h, w) with H = s h and W = s w for an
        integer s; images and targets of a batch of `sync_perception.training.feeding.mixture`.
    :param mask_bhw: bool (B, h, w), where an image's own pixels are kept.
    :param partner_b: int64 (B,), partner that provides the other pixels.
    :return: the mixed maps, in their own dtypes. Other entries, such as the focal length or
        neighbours in time, apply to one image only and are omitted.
    :raises ValueError: if the images' size is not an integer multiple of the mask's.
    """
    size = mask_bhw.shape[-2:]
    mixed: dict[str, Tensor] = {}
    for name, values in batch.items():
        if name == 'image':
            own = enlarged_mask(mask_bhw, values.shape[1:3])[..., None]
        elif isinstance(values, Tensor) and values.ndim > 2 and values.shape[-2:] == size:
            own = mask_bhw.view(len(mask_bhw), *[1] * (values.ndim - 3), *size)
        else:
            continue
        mixed[name] = torch.where(own, values, values[partner_b])
    return mixed


def enlarged_mask(mask_bhw: Tensor, size: torch.Size) -> Tensor:
    """
    Upsample a mask to an image by nearest neighbour.

    :param size: height and width of the image, multiples of the mask's.
    :raises ValueError: if they are not multiples.
    """
    stride = size[0] // mask_bhw.shape[-2]
    if stride < 1 or tuple(side * stride for side in mask_bhw.shape[-2:]) != tuple(size):
        raise ValueError(
            f'expected images a whole number of times as large as the maps, got {tuple(size)} and '
            f'{tuple(mask_bhw.shape[-2:])}')
    return mask_bhw.repeat_interleave(stride, dim=-2).repeat_interleave(stride, dim=-1)


def depth_mix(
        batch: dict[str, Any], depth_bhw: Tensor, partner_b: Tensor) -> dict[str, Tensor]:
    """
    Mix each image with its partner, so that nearer objects occlude farther ones.

    :param batch: batch as for `mix_maps`.
    :param depth_bhw: (B, h, w), given or predicted, of any unit, NaN where unknown.
    :param partner_b: int64 (B,), as returned by `partners`.
    :return: the mixed maps.
    """
    return mix_maps(batch, depth_mask(depth_bhw, partner_b), partner_b)


def class_mix(
        batch: dict[str, Any], labels_bhw: Tensor, partner_b: Tensor) -> dict[str, Tensor]:
    """
    Paste half of each image's classes onto its partner.

    :param batch: batch as for `mix_maps`.
    :param labels_bhw: (B, h, w), true or predicted, 255 void.
    :param partner_b: int64 (B,), as returned by `partners`.
    :return: the mixed maps.
    """
    return mix_maps(batch, class_mask(labels_bhw), partner_b)


def strong_variation() -> nn.Module:
    """
    Return the augmentation of mixed images (B, 3, H, W) in [0, 1]: colour jitter 0.25 and blur.

    Jitter of brightness, contrast, saturation and hue has probability 0.8, Gaussian blur of sigma
    0.15 to 1.15 pixels probability 0.5, drawn for each image.
    """
    return augmentation.AugmentationSequential(
        augmentation.ColorJitter(0.25, 0.25, 0.25, 0.25, p=0.8),
        augmentation.RandomGaussianBlur((7, 7), (0.15, 1.15), p=0.5),
        data_keys=['input'])
