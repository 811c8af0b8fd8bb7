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

"""Synchronised networks: two branches, each of whose encoders feeds the other's decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
import math
from typing import Any

from sync_perception.models.interface import (
    depth_channels,
    fit_to_image,
    Interface,
    Network,
    Pretrainable,
    Renormalise,
    split_depth,
)
from sync_perception.models.resizing import resize_bilinear
from sync_perception.types import DenseOutput
from torch import nn, Tensor


class Branch(Pretrainable, ABC):
    """
    Base class of the networks that can be synchronised.

    :ivar channels: channels of the features, fine to coarse.
    :ivar strides: their strides, fine to coarse.
    :ivar multiple: both sides of an input must be divisible by this.
    :ivar normalisation: mean and std per channel, in [0, 1], of the images that the branch
        expects; None for those of the network's input.
    :ivar depth_form: conversion of a depth branch's raw map to metres, a key of DEPTH_FORMS.
    :ivar image_scale: side length of the branch's image relative to the network's input.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    depth_form: str = 'log'
    image_scale: float = 1.0

    @abstractmethod
    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the features for the decoder, fine to coarse."""

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Return the raw map (B, out_channels, h / k, w / k) for an integer k."""

    def forward(self, image_b3hw: Tensor) -> Tensor:
        """Return the raw map of an image."""
        return self.decode(self.encode(image_b3hw))


class ZeroConv(nn.Conv2d):
    """1x1 convolution whose weight and bias start at zero (Zhang et al., 2023, eq. 2)."""

    def reset_parameters(self) -> None:
        """Set weight and bias to zero, so that the coupling has no effect at first."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Coupling(nn.Module):
    """
    One direction of the synchronisation: add a donor's features to a receiver's at each level.

    Each level of the receiver takes the donor's level of the nearest stride. If several have that
    stride (the coarsest skip and the bottleneck), it takes the one at the same position from the
    coarse end. A donor feature of another size is resized. If disabled, the convolutions stay in
    the module (and in its checkpoints), but take no part in the forward pass and are not trained.

    :param donor: the branch whose encoder provides the features.
    :param receiver: the branch whose decoder receives them.
    :param enabled: whether this direction is on.
    """

    def __init__(self, donor: Branch, receiver: Branch, enabled: bool = True):
        super().__init__()
        self.enabled = enabled
        self.levels = match_levels(input_strides(donor), input_strides(receiver))
        self.convolutions = self.make_convolutions(donor, receiver)
        self.requires_grad_(enabled)

    def make_convolutions(self, donor: Branch, receiver: Branch) -> nn.ModuleList:
        """Create one zero-initialised convolution for each level of the receiver."""
        return nn.ModuleList(
            ZeroConv(donor.channels[level], channels, kernel_size=1)
            for level, channels in zip(self.levels, receiver.channels))

    def forward(self, features: list[Tensor], donated: list[Tensor]) -> list[Tensor]:
        """Return the receiver's features with the donor's added: skip + W donated + b."""
        if not self.enabled:
            return features
        return [
            feature + as_large(convolution(donated[level]), feature)
            for feature, level, convolution in zip(features, self.levels, self.convolutions)]

    def norms(self) -> list[float]:
        """Return the weight norm of each level, fine to coarse; zero before training."""
        return [convolution.weight.norm().item() for convolution in self.convolutions]


class Alignment(Coupling):
    """
    Coupling with modulation, F (1 + gain(S)) + addition(S), at each level.

    Semantic-aware feature alignment (Li et al., 2021) in the form of SPADE (Park et al., 2019, eq.
    1), applied to the features F that enter the receiver's decoder. Gain and addition are 1x1
    convolutions of the donor's feature S of the matching level. Both start at zero, so that the
    initial network equals the one without them to the bit. The weights of a plain coupling load
    into the addition. SPADE uses 3x3 convolutions because its input is a label map, whose pixels
    hold no context.

    Unlike SPADE, F is not normalised first: normalisation would change the decoder's input, and
    the initial network would differ from the one without alignment.

    :param donor: the branch whose encoder provides the features.
    :param receiver: the branch whose decoder receives them.
    :param enabled: whether this direction is on.
    """

    def __init__(self, donor: Branch, receiver: Branch, enabled: bool = True):
        super().__init__(donor, receiver, enabled)
        self.gains = self.make_convolutions(donor, receiver)
        self.requires_grad_(enabled)

    def forward(self, features: list[Tensor], donated: list[Tensor]) -> list[Tensor]:
        """Return the receiver's features, modulated and shifted by the donor's."""
        if not self.enabled:
            return features
        modulated = [
            feature * (1 + as_large(gain(donated[level]), feature))
            for feature, level, gain in zip(features, self.levels, self.gains)]
        return super().forward(modulated, donated)

    def gain_norms(self) -> list[float]:
        """Return the weight norm of each gain, fine to coarse; zero before training."""
        return [gain.weight.norm().item() for gain in self.gains]


class SyncNet(Network):
    """
    Depth and semantic branch, coupled and trained jointly.

    At initialisation it equals the two separate branches to the bit. The baselines are the same
    network: uncoupled with both directions off, single-task with one branch absent.

    :param depth: branch whose output holds raw depth, then the other requested maps; None for a
        network without depth.
    :param semantics: branch with one output channel per class; None for a network without labels.
    :param interface: depth range, and the normalisation of the input images.
    :param depth_to_semantics: whether the depth encoder feeds the semantic decoder.
    :param semantics_to_depth: whether the semantic encoder feeds the depth decoder.
    :param alignment: whether the semantic encoder also modulates the depth decoder's input
        (`Alignment`).
    :param uncertainty: whether the depth branch's next channel is the log-variance of ln(depth).
    :param normals: whether the depth branch's last three channels are surface normals.
    :raises ValueError: if both branches are absent, if uncertainty or normals are requested
        without depth, or if alignment is requested for a direction that is off.
    """

    def __init__(
            self, depth: Branch | None, semantics: Branch | None,
            interface: Interface | None = None, *,
            depth_to_semantics: bool = True, semantics_to_depth: bool = True,
            alignment: bool = False, uncertainty: bool = False, normals: bool = False):
        super().__init__()
        if depth is None and (semantics is None or uncertainty or normals):
            raise ValueError(
                'expected a depth or a semantic branch, and uncertainty and normals with a depth '
                f'branch only, got depth {depth}, semantics {semantics}, '
                f'uncertainty {uncertainty}, normals {normals}')
        if alignment and not semantics_to_depth:
            raise ValueError(
                'alignment modulates depth by semantics: expected semantics_to_depth: true with '
                'it, got false')
        interface = interface or Interface()
        self.depth_range = tuple(interface.depth_range)
        self.channels_of = depth_channels(uncertainty, normals)
        self.depth, self.semantics = depth, semantics
        self.depth_input = own_normalisation(depth, interface)
        self.semantic_input = own_normalisation(semantics, interface)
        if depth is not None and semantics is not None:
            self.depth_to_semantics = Coupling(depth, semantics, depth_to_semantics)
            kind = Alignment if alignment else Coupling
            self.semantics_to_depth = kind(semantics, depth, semantics_to_depth)

    @property
    def coupled(self) -> bool:
        """Return whether there are two branches."""
        return self.depth is not None and self.semantics is not None

    @property
    def multiple(self) -> int:
        """Return the number by which both sides of an input must be divisible."""
        branches = (self.depth, self.semantics)
        return math.lcm(*(branch.multiple for branch in branches if branch is not None))

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """Return the maps of the existing branches."""
        depth_features = semantic_features = None
        if self.depth is not None:
            depth_features = self.depth.encode(
                resize_for(self.depth, self.depth_input(image_b3hw)))
        if self.semantics is not None:
            semantic_features = self.semantics.encode(
                resize_for(self.semantics, self.semantic_input(image_b3hw)))
        if self.coupled:
            depth_features, semantic_features = (
                self.semantics_to_depth(depth_features, semantic_features),
                self.depth_to_semantics(semantic_features, depth_features))
        maps: dict[str, Tensor] = {}
        size = image_b3hw.shape[-2:]
        if self.depth is not None:
            maps = split_depth(
                fit_to_image(self.depth.decode(depth_features), size), self.channels_of,
                self.depth.depth_form, self.depth_range)
        if self.semantics is not None:
            maps['logits'] = fit_to_image(self.semantics.decode(semantic_features), size)
        return DenseOutput(**maps)

    def coupling_norms(self) -> dict[str, list[float]]:
        """Return the weight norms of both directions' couplings and gains, fine to coarse."""
        if not self.coupled:
            return {}
        norms = {
            'depth_to_semantics': self.depth_to_semantics.norms(),
            'semantics_to_depth': self.semantics_to_depth.norms()}
        if isinstance(self.semantics_to_depth, Alignment):
            norms['semantics_to_depth_gain'] = self.semantics_to_depth.gain_norms()
        return norms

    def resolved_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with the branches' pretrained sources resolved."""
        resolved = dict(arguments)
        for name in ('depth', 'semantics'):
            branch = getattr(self, name)
            if branch is not None:
                resolved[name] = branch.resolved_arguments(arguments[name])
        return resolved


def own_normalisation(branch: Branch | None, interface: Interface) -> nn.Module:
    """Create the module that converts input images to the branch's own normalisation."""
    if branch is None or branch.normalisation is None:
        return nn.Identity()
    return Renormalise(interface.mean, interface.std, *branch.normalisation)


def resize_for(branch: Branch, image_b3hw: Tensor) -> Tensor:
    """
    Return the image resized by the branch's `image_scale`, rounded to its multiple.

    Thin objects need resolution for labels, and depth needs context, so the branches may use
    different image sizes. The couplings resize features, and the maps are resized to one size.
    """
    if branch.image_scale == 1:
        return image_b3hw
    multiple = branch.multiple
    size = [max(round(int(side) * branch.image_scale / multiple), 1) * multiple
            for side in image_b3hw.shape[-2:]]
    return resize_bilinear(image_b3hw, size)


def as_large(values_bchw: Tensor, as_bchw: Tensor) -> Tensor:
    """Return a map at the height and width of another, resized bilinearly if they differ."""
    size = as_bchw.shape[-2:]
    if values_bchw.shape[-2:] == size:
        return values_bchw
    return resize_bilinear(values_bchw, size)


def input_strides(branch: Branch) -> list[float]:
    """Return the strides of a branch's features in pixels of the network's input."""
    return [stride / branch.image_scale for stride in branch.strides]


def match_levels(donor: Sequence[float], receiver: Sequence[float]) -> list[int]:
    """
    Choose the donor's level for each level of the receiver.

    :param donor: strides of the donor's features in the network's input, fine to coarse.
    :param receiver: strides of the receiver's features.
    :return: for each level of the receiver, the index of the donor's level of the nearest stride
        in octaves; of several, the one at the same position counted from the coarse end.
    """
    def distance(level: int, own: int) -> tuple[float, int]:
        octaves = abs(math.log2(donor[level] / receiver[own]))
        return octaves, abs((len(donor) - level) - (len(receiver) - own))

    return [min(range(len(donor)), key=lambda level, own=own: distance(level, own))
            for own in range(len(receiver))]
