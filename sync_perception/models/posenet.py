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

"""Monodepth2's pose network: the camera motion between two images."""

from __future__ import annotations

from sync_perception.models.interface import IMAGENET_NORMALISATION, Interface, Renormalise
from sync_perception.models.unet.resnet import ResNet
import torch
from torch import nn, Tensor
from torch.nn import functional

WIDTH = 256
MOTION_SCALE = 0.01  # an untrained network predicts almost no motion
SMALL_ANGLE_SQUARED = 1e-2  # below, three terms of the series are exact in float32


class PoseNet(nn.Module):
    """
    Pose network for two consecutive images of a moving camera (Godard et al., 2019).

    A ResNet takes both images at once; a 1x1 and two 3x3 convolutions of 256 channels with ReLU
    and a 1x1 convolution follow, which outputs axis-angle and translation; the output is averaged
    over the image and multiplied by 0.01. As in Monodepth2, the input is always an image and a
    later one; motion back in time is the inverse.

    Translations are in the units of the jointly trained depth: metres only if a known speed, a
    stereo pair or true depth fixes the scale.

    :param interface: the normalisation of the input images.
    :param backbone: a key of `sync_perception.models.unet.resnet.RESNETS`.
    :param pretrained: weights of the encoder for single images, as for PadNet.
    :raises ValueError: for an unknown backbone, or weights of another network.
    """

    def __init__(self, interface: Interface | None = None, backbone: str = 'resnet18',
                 pretrained: str | None = None):
        super().__init__()
        interface = interface or Interface()
        self.input = Renormalise(interface.mean, interface.std, *IMAGENET_NORMALISATION)
        self.encoder = ResNet(backbone, in_channels=6, pretrained=pretrained)
        self.decoder = nn.Sequential(
            nn.Conv2d(self.encoder.channels[-1], WIDTH, 1), nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(),
            nn.Conv2d(WIDTH, 6, 1))

    def forward(self, earlier_b3hw: Tensor, later_b3hw: Tensor) -> Tensor:
        """
        Return later_T_earlier, which takes points of the earlier camera into the later one.

        :param earlier_b3hw: (B, 3, h, w) in the interface's normalisation.
        :param later_b3hw: the same number of images, each one frame later.
        :return: float32 (B, 4, 4), in optical frames.
        """
        return motion_to_transforms(self.motions(earlier_b3hw, later_b3hw))

    def motions(self, earlier_b3hw: Tensor, later_b3hw: Tensor) -> Tensor:
        """
        Return later_T_earlier as axis times angle in radians, then translation.

        :return: float32 (B, 6).
        :raises ValueError: if the images do not come in pairs.
        """
        if earlier_b3hw.shape != later_b3hw.shape:
            raise ValueError(
                'expected as many later images as earlier ones, of one size, got '
                f'{tuple(earlier_b3hw.shape)} and {tuple(later_b3hw.shape)}')
        pair = torch.cat([self.input(earlier_b3hw), self.input(later_b3hw)], dim=1)
        motion = self.decoder(self.encoder(pair)[-1])
        return MOTION_SCALE * motion.float().mean((2, 3))


def rotations(axis_angle_b3: Tensor) -> Tensor:
    """
    Convert axis times angle to rotation matrices by Rodrigues' formula.

    R = 1 + a K + b K K with K the cross product's matrix, a = sin(t) / t and b = (1 - cos(t)) /
    t^2; below an angle t of 0.1, a and b are computed by their series, so that the gradient is
    also correct at t = 0.

    :param axis_angle_b3: (B, 3), radians.
    :return: (B, 3, 3).
    """
    squared = axis_angle_b3.square().sum(1)[:, None, None]
    small = squared < SMALL_ANGLE_SQUARED
    # where() passes the gradient of the branch not taken as 0 times it: keep that finite
    angle = torch.where(small, 1.0, squared).sqrt()
    a = torch.where(
        small, 1 - squared / 6 + squared.square() / 120, torch.sin(angle) / angle)
    b = torch.where(
        small, 0.5 - squared / 24 + squared.square() / 720,
        (1 - torch.cos(angle)) / angle.square())
    x, y, z = axis_angle_b3.unbind(1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).unflatten(1, (3, 3))
    # K K without a matrix product, which autocast would compute in half precision
    v = axis_angle_b3[:, :, None]
    identity = torch.eye(3, dtype=K.dtype, device=K.device)
    return identity + a * K + b * (v * v.mT - squared * identity)


def motion_to_transforms(motion_b6: Tensor) -> Tensor:
    """Convert axis times angle and translation, (B, 6), to transforms, (B, 4, 4)."""
    return homogeneous(rotations(motion_b6[:, :3]), motion_b6[:, 3:, None])


def inverse(target_T_source: Tensor) -> Tensor:
    """Return source_T_target, (B, 4, 4), of rigid transforms."""
    R, t = target_T_source[:, :3, :3], target_T_source[:, :3, 3:]
    return homogeneous(R.mT, -(R * t).sum(1)[:, :, None])


def homogeneous(R: Tensor, t: Tensor) -> Tensor:
    """Return transforms (B, 4, 4) of rotations (B, 3, 3) and translations (B, 3, 1)."""
    return functional.pad(torch.cat([R, t], dim=2), (0, 0, 0, 1)) + R.new_tensor(
        [[0.0] * 4] * 3 + [[0.0, 0.0, 0.0, 1.0]])
