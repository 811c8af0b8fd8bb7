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

"""Camera motion between neighbouring images, estimated by a pose network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sync_perception.files import checks
from sync_perception.models.interface import Interface, Network, to_depth
from sync_perception.models.posenet import inverse, motion_to_transforms, PoseNet
import torch
from torch import nn, Tensor

UNIT = 5.0  # as in Monodepth2: initial depth of 0.2, translations in units of 1


@dataclass(frozen=True)
class PoseConfig:
    """
    Settings of the pose network.

    :param backbone: a key of `sync_perception.models.unet.resnet.RESNETS`.
    :param pretrained: weights of its encoder; None for random weights.
    :param learning_rate: peak learning rate, above 0.
    """

    backbone: str = 'resnet18'
    pretrained: str | None = None
    learning_rate: float = 1e-4

    def __post_init__(self):
        """Check the learning rate."""
        checks.number(0, 1e6)(self.learning_rate, 'objectives.self_supervised.pose.learning_rate')


class CameraMotion(nn.Module):
    """
    Pose network trained jointly with depth; its translations are in the units of that depth.

    Its input is not augmented. Monodepth2 applies the same colour augmentation to all images of a
    sample; but the network is only used for the training images, and without augmentation the
    neighbours need no extra processing.

    :param config: settings of the network.
    :param interface: the normalisation of the input images.
    :param first_depth: approximate depth of the untrained depth network, metres: translations are
        in units of five times that, so that motion and depth are on the same scale.
    """

    def __init__(self, config: PoseConfig, interface: Interface, first_depth: float):
        super().__init__()
        self.unit = UNIT * first_depth
        mean, std = (torch.tensor(values)[:, None, None]
                     for values in (interface.mean, interface.std))
        self.register_buffer('mean', mean, persistent=False)
        self.register_buffer('std', std, persistent=False)
        self.pose = PoseNet(interface, config.backbone, config.pretrained)

    def forward(self, images: Tensor, neighbours: Tensor, offsets: Tensor) -> Tensor:
        """
        Return neighbour_T_image, (P, 4, 4); the network takes each pair in temporal order.

        :param images: (P, 3, h, w) in [0, 1].
        :param neighbours: (P, 3, h, w) in [0, 1].
        :param offsets: int64 (P,), frames from image to neighbour.
        """
        before = (offsets < 0)[:, None, None]
        images, neighbours = ((x - self.mean) / self.std for x in (images, neighbours))
        earlier = torch.where(before[..., None], neighbours, images)
        later = torch.where(before[..., None], images, neighbours)
        motion = self.pose.motions(earlier, later)
        later_T_earlier = motion_to_transforms(
            torch.cat([motion[:, :3], motion[:, 3:] * self.unit], dim=1))
        return torch.where(before, inverse(later_T_earlier), later_T_earlier)


def first_depth(network: Network, depth_range: tuple[float, float]) -> float:
    """
    Return the depth in metres of a network's raw map of zeros.

    :raises ValueError: for a network without depth.
    """
    if getattr(network, 'depth', network) is None:
        raise ValueError(
            'objectives.self_supervised: expected a network with depth, got one of semantics '
            'alone')
    form = getattr(getattr(network, 'depth', network), 'depth_form', 'disparity')
    if form == 'metres':  # no bounded form: use the depth range
        form = 'log'
    return to_depth(torch.zeros(1), form, depth_range).item()


def finite_poses(poses: Tensor) -> Tensor:
    """Return which poses (..., 4, 4) are known (finite): bool (...)."""
    return torch.isfinite(poses).all(dim=-1).all(dim=-1)


def check_intrinsics(batch: dict[str, Any], members_b: Tensor, wanted_by: str) -> None:
    """
    Check that the intrinsics of all samples to be warped are known.

    :param members_b: bool (B,), which samples are warped.
    :param wanted_by: the setting that requires the warp.
    :raises ValueError: naming the first sample without intrinsics.
    """
    blind = members_b & ~torch.isfinite(batch['K']).flatten(1).all(dim=1)
    if blind.any():
        raise ValueError(
            f'{wanted_by}: {batch["id"][blind.tolist().index(True)]} has neighbours, but no '
            'intrinsics to warp them: set `neighbours: false` for this source')


def unit_range(images_bhw3: Tensor) -> Tensor:
    """Return images, uint8 (B, h, w, 3), as float32 (B, 3, h, w) in [0, 1]."""
    return images_bhw3.permute(0, 3, 1, 2).float() / 255
