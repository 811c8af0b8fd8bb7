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
Temporal consistency losses between predictions for neighbouring video frames.

Sources: Liu et al., "Efficient Semantic Video Segmentation with Per-frame Inference", ECCV 2020,
for labels; Bian et al., "Unsupervised Scale-consistent Depth and Ego-motion Learning from
Monocular Video", NeurIPS 2019, for depth.
"""

from __future__ import annotations

import torch
from torch import Tensor


def label_change(probability_bchw: Tensor, warped_bchw: Tensor) -> Tensor:
    """
    Return every pixel's squared distance between two class distributions.

    This is the motion loss of Liu et al. It is bounded, which limits the weight of wrongly warped
    pixels.

    :param probability_bchw: float (B, C, H, W), probabilities of the image.
    :param warped_bchw: float (B, C, H, W), probabilities of the neighbour, warped into the image.
    :return: (B, 1, H, W), 0 where they are equal, at most 2.
    :raises ValueError: if the shapes differ.
    """
    check_pair('probabilities', probability_bchw, warped_bchw)
    return (probability_bchw - warped_bchw).square().sum(dim=1, keepdim=True)


def depth_change(moved_b1hw: Tensor, seen_b1hw: Tensor) -> Tensor:
    """
    Return every pixel's |a - b| / (a + b), the inconsistency of depth (Bian et al., eq. 6).

    :param moved_b1hw: float (B, 1, H, W), positive: depth along z of the image's points in the
        neighbour's camera.
    :param seen_b1hw: float (B, 1, H, W), positive: the neighbour's own depth, sampled at these
        points.
    :return: (B, 1, H, W) in [0, 1).
    :raises ValueError: if the shapes differ.
    """
    check_pair('depths', moved_b1hw, seen_b1hw)
    return (moved_b1hw - seen_b1hw).abs() / (moved_b1hw + seen_b1hw)


def mean_change(change_b1hw: Tensor, valid_b1hw: Tensor) -> Tensor:
    """
    Return the mean over all pixels, in which invalid pixels count as unchanged.

    A pair with few comparable pixels thus has little influence.

    :param change_b1hw: float (B, 1, H, W), finite.
    :param valid_b1hw: bool (B, 1, H, W).
    :return: scalar.
    :raises ValueError: if the shapes differ.
    """
    check_pair('change and validity', change_b1hw, valid_b1hw)
    return torch.where(valid_b1hw, change_b1hw, 0).mean()


def check_pair(name: str, first: Tensor, second: Tensor) -> None:
    """Raise ValueError unless both are (B, C, H, W) of one shape."""
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            f'expected {name} of one shape (B, C, H, W), got {tuple(first.shape)} and '
            f'{tuple(second.shape)}')
