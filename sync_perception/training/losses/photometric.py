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
Photometric loss between an image and its warped neighbours, for self-supervised depth.

Source: Godard et al., "Digging Into Self-Supervised Monocular Depth Estimation" (Monodepth2), ICCV
2019. `geometry.warp` returns which pixels are visible in a neighbour: in front of its camera and
inside its image.
"""

from __future__ import annotations

from kornia.metrics import ssim
import torch
from torch import Tensor

SSIM_SHARE = 0.85
WINDOW = 3  # side, pixels
TIE = 1e-5  # smaller differences of photometric error count as equal; above the warp's rounding


def photometric_error(predicted_bchw: Tensor, image_bchw: Tensor) -> Tensor:
    """
    Return 0.85 (1 - SSIM) / 2 + 0.15 L1 of every pixel, averaged over channels.

    This is pe of eq. 1, with a = 0.85. SSIM is kornia's, over 3 x 3 pixels with Gaussian weights
    (uniform in Monodepth2) and reflection padding.

    :param predicted_bchw: float (B, C, H, W) in [0, 1], at least 2 x 2 pixels.
    :param image_bchw: float (B, C, H, W) in [0, 1].
    :return: (B, 1, H, W), 0 where the images are the same, at most about 1.
    :raises ValueError: if the sizes differ or are too small.
    """
    if predicted_bchw.shape != image_bchw.shape or image_bchw.ndim != 4:
        raise ValueError(
            'expected two batches of images (B, C, H, W) of one size, got '
            f'{tuple(predicted_bchw.shape)} and {tuple(image_bchw.shape)}')
    if min(image_bchw.shape[2:]) < 2:
        raise ValueError(f'expected at least 2 x 2 pixels, got {tuple(image_bchw.shape[2:])}')
    unlike = ((1 - ssim(predicted_bchw, image_bchw, WINDOW)) / 2).clamp(0, 1)
    difference = (predicted_bchw - image_bchw).abs()
    return (SSIM_SHARE * unlike + (1 - SSIM_SHARE) * difference).mean(dim=1, keepdim=True)


def least_error(errors_bnhw: Tensor, valid_bnhw: Tensor) -> Tensor:
    """
    Return every pixel's minimum error over the neighbours (eq. 4).

    A pixel that is occluded or out of view in one neighbour is usually visible in another; the
    mean over neighbours would attribute its error to depth.

    :param errors_bnhw: float (B, N, H, W), a map for each neighbour.
    :param valid_bnhw: bool (B, N, H, W), where the pixel is visible in a neighbour.
    :return: (B, 1, H, W), inf where it is visible in none.
    :raises ValueError: if the shapes differ or there is no neighbour.
    """
    check_neighbour_errors('errors', errors_bnhw, valid_bnhw)
    return errors_bnhw.masked_fill(~valid_bnhw, torch.inf).amin(dim=1, keepdim=True)


def moving(warped_b1hw: Tensor, still_b1hw: Tensor) -> Tensor:
    """
    Return the auto-mask: where a warped neighbour matches better than the unwarped one (eq. 5).

    Elsewhere the camera is static, an object moves with the camera, or there is no texture.
    Monodepth2 breaks ties by noise; here a tie is masked out.

    :param warped_b1hw: float (B, 1, H, W), minimum error of the warped neighbours.
    :param still_b1hw: float (B, 1, H, W), minimum error of the unwarped neighbours.
    :return: bool (B, 1, H, W).
    """
    return warped_b1hw + TIE < still_b1hw


def photometric_loss(
        warped_bnhw: Tensor, valid_bnhw: Tensor, still_bnhw: Tensor, there_bn: Tensor,
        masked: bool = True) -> Tensor:
    """
    Mean of the minimum error over the pixels, with auto-masked pixels as constants (eq. 5).

    A pixel that is masked out, or visible in no neighbour, contributes the constant error of the
    unwarped neighbours. The gradient is that of the masked error divided by the number of all
    pixels, so that depth that moves pixels out of view does not lower the loss.

    :param warped_bnhw: float (B, N, H, W), `photometric_error` of the warped neighbours.
    :param valid_bnhw: bool (B, N, H, W), where the warp has sampled a neighbour.
    :param still_bnhw: float (B, N, H, W), `photometric_error` of the unwarped neighbours.
    :param there_bn: bool (B, N), which neighbours exist.
    :param masked: whether to apply the auto-mask; otherwise only pixels visible in no neighbour
        are constants.
    :return: scalar; the mean over the samples with a neighbour, 0 if there are none.
    :raises ValueError: if the shapes are inconsistent.
    """
    check_neighbour_errors('still errors', still_bnhw, valid_bnhw)
    if there_bn.shape != valid_bnhw.shape[:2]:
        raise ValueError(
            f'expected {tuple(valid_bnhw.shape[:2])} to say which neighbours there are, got '
            f'{tuple(there_bn.shape)}')
    some = there_bn.any(dim=1)
    if not some.any():
        return warped_bnhw.sum() * 0
    there = there_bn[:, :, None, None].expand_as(valid_bnhw)
    warped = least_error(warped_bnhw, valid_bnhw & there)
    still = least_error(still_bnhw, there).detach()
    learned = moving(warped, still) if masked else warped.isfinite()
    return torch.where(learned, warped, still)[some].mean()


def check_neighbour_errors(name: str, errors_bnhw: Tensor, valid_bnhw: Tensor) -> None:
    """Raise ValueError unless both are (B, N, H, W) with at least one neighbour."""
    shape = tuple(errors_bnhw.shape)
    if shape != tuple(valid_bnhw.shape) or len(shape) != 4 or not shape[1]:
        raise ValueError(
            f'expected {name} and validity of one shape (B, N, H, W), N at least 1, got '
            f'{shape} and {tuple(valid_bnhw.shape)}')
