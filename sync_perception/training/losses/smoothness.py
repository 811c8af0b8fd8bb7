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


"""Edge-aware smoothness losses of disparity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def edge_aware_smoothness(disparity_b1hw: Tensor, image_bchw: Tensor) -> Tensor:
    """
    Mean |dd/dx| exp(-|dI/dx|) + mean |dd/dy| exp(-|dI/dy|) of d = disparity / its mean.

    The image's differences are averaged over the channels. Division by the mean prevents disparity
    from shrinking to zero (Godard et al., 2019, eq. 3). Monodepth2 weights scale s, with sides 1 /
    2^s, by 1e-3 / 2^s: the caller applies this weight, and passes an image of that size.

    :param disparity_b1hw: positive (B, 1, h, w), inverse depth in any unit.
    :param image_bchw: (B, C, h, w) in [0, 1].
    :return: scalar; NaN if any disparity is NaN.
    :raises ValueError: if the sizes differ or are less than 2 x 2, or a mean is not positive.
    """
    batch, channels, *size = disparity_b1hw.shape
    if channels != 1 or image_bchw.shape[0] != batch or list(image_bchw.shape[2:]) != size:
        raise ValueError(
            'expected disparity (B, 1, h, w) and an image (B, C, h, w), got '
            f'{tuple(disparity_b1hw.shape)} and {tuple(image_bchw.shape)}')
    if min(size) < 2:
        raise ValueError(f'expected at least 2 x 2 pixels, got {size[0]} x {size[1]}')
    mean = disparity_b1hw.mean(dim=(2, 3), keepdim=True)
    if (mean <= 0).any():
        raise ValueError(f'expected disparity with a positive mean, got {mean.min().item()}')
    disparity = disparity_b1hw / mean
    return sum(
        (disparity.diff(dim=axis).abs()
         * torch.exp(-image_bchw.diff(dim=axis).abs().mean(dim=1, keepdim=True))).mean()
        for axis in (2, 3))


def depth_smoothness(depth_b1hw: Tensor, image_bhw3: Tensor) -> Tensor:
    """
    Return the edge-aware smoothness of inverse depth.

    :param depth_b1hw: positive (B, 1, h, w), in any unit.
    :param image_bhw3: uint8 (B, H, W, 3), of any size.
    :return: scalar.
    """
    image = functional.interpolate(
        image_bhw3.permute(0, 3, 1, 2).float() / 255, size=depth_b1hw.shape[-2:], mode='area')
    return edge_aware_smoothness(1 / depth_b1hw, image)
