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

"""Contract of every network: a normalised image batch in, a DenseOutput out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math
from typing import Any

from sync_perception.models.resizing import resize_bilinear
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor
from torch.nn import functional

IMAGENET_NORMALISATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation per channel, of images in [0, 1], for ImageNet's networks."""


@dataclass(frozen=True)
class Interface:
    """
    Settings that every network needs in addition to its own arguments.

    :param num_classes: number of classes of the label space.
    :param depth_range: least and greatest depth of the canonical camera, metres.
    :param mean: mean of the input images' normalisation, per channel, in [0, 1].
    :param std: standard deviation of the input images' normalisation, per channel, in [0, 1].
    """

    num_classes: int = 1
    depth_range: tuple[float, float] = (0.5, 200.0)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Pretrainable(nn.Module):
    """
    A module whose submodule `encoder` may be pretrained.

    Training can give the encoder a lower learning rate, or freeze it.
    """

    encoder_frozen = False

    def freeze_encoder(self) -> None:
        """
        Freeze the encoder, including its normalisation statistics.

        :raises ValueError: if there is no submodule `encoder`.
        """
        if not isinstance(getattr(self, 'encoder', None), nn.Module):
            raise ValueError(f'{type(self).__name__} has no pretrained encoder to freeze')
        self.encoder_frozen = True
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Pretrainable:
        """Set the mode of all modules except a frozen encoder, which stays in evaluation mode."""
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()
        return self

    def resolved_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """
        Return the arguments that rebuild this module without access to its pretrained parts.

        :param arguments: the arguments that the module was built with.
        """
        return without_pretrained(arguments)


class Network(Pretrainable, ABC):
    """
    A network from a normalised image batch to dense maps.

    :ivar multiple: both sides of an input must be divisible by this.
    """

    multiple: int

    @abstractmethod
    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """Return the network's maps, at h / k, w / k for an integer k."""

    def coupling_norms(self) -> dict[str, list[float]]:
        """Return the weight norms of the couplings between tasks, by direction, fine to coarse."""
        return {}


class Renormalise(nn.Module):
    """
    Change the normalisation of the input images to that of a pretrained network.

    :param mean: mean of the input's normalisation, per channel, in [0, 1].
    :param std: standard deviation of the input's normalisation, per channel, in [0, 1].
    :param own_mean: mean of the network's normalisation.
    :param own_std: standard deviation of the network's normalisation.
    """

    def __init__(
            self, mean: Sequence[float], std: Sequence[float],
            own_mean: Sequence[float], own_std: Sequence[float]):
        super().__init__()
        self.unchanged = tuple(mean) == tuple(own_mean) and tuple(std) == tuple(own_std)
        scale = torch.tensor([s / own for s, own in zip(std, own_std)])
        shift = torch.tensor([
            (m - own) / own_s for m, own, own_s in zip(mean, own_mean, own_std)])
        self.register_buffer('scale', scale[:, None, None], persistent=False)
        self.register_buffer('shift', shift[:, None, None], persistent=False)

    def forward(self, image_b3hw: Tensor) -> Tensor:
        """Return the same images (B, 3, h, w) in the network's normalisation."""
        if self.unchanged:
            return image_b3hw
        return torch.addcmul(self.shift, image_b3hw, self.scale)


def freeze_norms(module: nn.Module) -> None:
    """Freeze the batch norms' statistics (evaluation mode); weight and bias stay trainable."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def log_depth(raw: Tensor, near: float, far: float) -> Tensor:
    """Return depth with sigmoid(raw) linear in log depth, from near to far."""
    share = torch.sigmoid(raw.float())
    return torch.exp(math.log(near) + share * (math.log(far) - math.log(near)))


def disparity_depth(raw: Tensor, near: float, far: float) -> Tensor:
    """Return depth with sigmoid(raw) linear in inverse depth, from far to near (Monodepth2)."""
    return 1 / (1 / far + torch.sigmoid(raw.float()) * (1 / near - 1 / far))


def metres(raw: Tensor, near: float, far: float) -> Tensor:
    """Return the raw map, which is in metres; the range is not used."""
    return raw.float()


DEPTH_FORMS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    'log': log_depth,
    'disparity': disparity_depth,
    'metres': metres,
}


def to_depth(raw_b1hw: Tensor, form: str, depth_range: tuple[float, float]) -> Tensor:
    """
    Convert a network's raw map to depth in metres of the canonical camera.

    :param raw_b1hw: (B, 1, h, w), any real numbers.
    :param form: a key of DEPTH_FORMS.
    :param depth_range: least and greatest depth, metres.
    :return: float32 (B, 1, h, w).
    :raises ValueError: for an unknown form.
    """
    if form not in DEPTH_FORMS:
        raise ValueError(f'unknown depth form {form!r}: expected one of {", ".join(DEPTH_FORMS)}')
    return DEPTH_FORMS[form](raw_b1hw, *depth_range)


def depth_channels(uncertainty: bool, normals: bool) -> dict[str, int]:
    """Return the depth decoder's maps in channel order, with their numbers of channels."""
    channels = {'depth': 1}
    if uncertainty:
        channels['log_variance'] = 1
    if normals:
        channels['normals'] = 3
    return channels


def split_depth(
        raw_bchw: Tensor, channels: dict[str, int], form: str, depth_range: tuple[float, float]
        ) -> dict[str, Tensor]:
    """
    Split the output of a depth decoder into its maps.

    :param raw_bchw: the decoder's output, with the sum of the maps' channels.
    :param channels: number of channels of each map, as `depth_channels` returns them.
    :param form: conversion of raw depth to metres, a key of DEPTH_FORMS.
    :param depth_range: least and greatest depth, metres.
    :return: depth in metres of the canonical camera, log-variance and unit normals, by name.
    """
    maps = dict(zip(channels, raw_bchw.split(list(channels.values()), dim=1)))
    maps['depth'] = to_depth(maps['depth'], form, depth_range)
    if 'normals' in maps:
        maps['normals'] = functional.normalize(maps['normals'].float(), dim=1)
    return maps


def fit_to_image(map_bchw: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Return the map unchanged if the image size is an integer multiple of it, else resized.

    :param size: height and width of the image.
    """
    height, width = map_bchw.shape[-2:]
    if size[0] % height == 0 and size[1] % width == 0 and size[0] // height == size[1] // width:
        return map_bchw
    return resize_bilinear(map_bchw, size)


def check_maps(
        maps: dict[str, Tensor], image_b3hw: Tensor, num_classes: int | None = None) -> None:
    """
    Check that maps keep the contract: names, channels, sizes, finite values.

    :param maps: maps of one image, by name.
    :param num_classes: number of channels of the logits.
    :raises ValueError: naming the map, what was expected and what was got.
    """
    channels = {'depth': 1, 'logits': num_classes, 'normals': 3, 'log_variance': 1}
    if not maps.keys() & {'depth', 'logits'}:
        raise ValueError(f'expected a map of depth or logits, got {", ".join(maps) or "none"}')
    batch, _, *size = image_b3hw.shape
    for name, values in maps.items():
        shape = tuple(values.shape)
        factor = -(-size[0] // shape[2]) if len(shape) == 4 and shape[2] else 1
        expected = (batch, channels[name], *(-(-side // factor) for side in size))
        if shape != expected:
            raise ValueError(
                f'{name}: expected the shape {expected} for an image of {size[0]}x{size[1]} '
                f'(height x width), got {shape}')
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            raise ValueError(
                f'{name}: expected finite values, got {wrong} of {values.numel()} that are NaN '
                'or infinite')


def without_pretrained(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments without `pretrained`, whose weights the network already holds."""
    return {key: value for key, value in arguments.items() if key != 'pretrained'}
