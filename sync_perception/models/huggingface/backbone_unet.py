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

"""UNet branches around the backbones of the transformers library: ConvNeXt, Swin, DINOv2, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sync_perception.models.huggingface.base import (
    check_source,
    choose_normalisation,
    expand,
    load_transformer,
    plain_config,
    read_library_config,
    to_config,
    TransformersBranch,
)
from sync_perception.models.resizing import resize_bilinear
from sync_perception.models.unet.decoder import LightUNet
import torch
from torch import nn, Tensor
from transformers import MODEL_FOR_BACKBONE_MAPPING, PretrainedConfig, PreTrainedModel

LEVELS = 4
PROBE_SIDE = 64
# norms after a backbone's stages, which a classifier's checkpoint lacks
FRESH = ('hidden_states_norms',)


class BackboneUNet(TransformersBranch, LightUNet):
    """
    UNet with one of the library's backbones as encoder, and the light UNet decoder.

    Hierarchical encoders (ConvNeXt, Swin, ResNet, ...) have features at strides 4 to 32. Plain
    transformers (DINOv2, ...) have a single stride: the outputs of four evenly spaced blocks are
    resampled to a pyramid. If the patch size is not a power of two (14), images are first resized
    as if it were the next one (16 pixels), so that the pyramid has the same strides as other
    branches and can be coupled to them at each level.

    Encoder weights that no feature depends on, such as DINOv2's mask token, are frozen.

    :param out_channels: channels of the raw map.
    :param config: the library's config of an encoder with random weights, with its `model_type`;
        exclusive with pretrained.
    :param pretrained: folder or hub id of an encoder or of a classifier that contains it;
        environment variables are expanded.
    :param out_features: the library's names of the features, fine to coarse; None for every
        stage, or for four blocks of a plain transformer.
    :param widths: the decoder's channels, fine to coarse.
    :param mean: mean of the encoder's normalisation; None for that of the pretrained model.
    :param std: standard deviation of the encoder's normalisation; None for that of the pretrained
        model.
    :raises ValueError: if there is no such backbone or feature, or the weights do not fit.
    """

    def __init__(
            self, out_channels: int, config: dict[str, Any] | None = None,
            pretrained: str | None = None, out_features: Sequence[str] | None = None,
            widths: Sequence[int] = (48, 64, 96, 128), mean: Sequence[float] | None = None,
            std: Sequence[float] | None = None):
        backbone = load_backbone(config, pretrained, out_features)
        side, features = probe_backbone(backbone)
        patches = [side // feature.shape[-1] for feature in features]
        plain = len(patches) > 1 and len(set(patches)) == 1
        channels = list(widths) if plain else backbone.channels
        cell = next_power_of_two(patches[-1])
        strides = pyramid_strides(cell, len(patches)) if plain else patches
        super().__init__(out_channels, backbone, channels, strides, widths)
        for name in unused_parameters(backbone, features):
            backbone.get_parameter(name).requires_grad_(False)
        self.patch, self.cell = patches[-1], cell if plain else patches[-1]
        self.multiple = self.cell
        self.pyramid = Pyramid(backbone.channels, channels) if plain else nn.Identity()
        self.config = plain_config(backbone.config)
        self.normalisation = choose_normalisation(
            mean, std, pretrained, backbone.config.model_type)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the features at the branch's strides, sizes rounded up."""
        if self.patch != self.cell:
            size = [int(side) // self.cell * self.patch for side in image_b3hw.shape[-2:]]
            image_b3hw = resize_bilinear(image_b3hw, size)
        return self.pyramid(list(self.encoder(image_b3hw).feature_maps))

    def resolved_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with explicit config, features and normalisation."""
        return {
            **super().resolved_arguments(arguments),
            'out_features': list(self.encoder.out_features)}


class Pyramid(nn.Module):
    """
    Resampling of maps of one stride to a pyramid (reassemble in DPT, Ranftl et al., 2021).

    The last but one map keeps the stride; the finer ones are upsampled 2, 4, ... times by
    transposed convolutions, and the last is downsampled by a strided one.

    :param inputs: channels of the maps.
    :param outputs: channels of the pyramid, fine to coarse.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]):
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(inputs, outputs))
        self.resample = nn.ModuleList(
            resampling(channels, len(outputs) - 2 - level)
            for level, channels in enumerate(outputs))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Map N times (B, inputs, h, w) to (B, outputs, h 2^k, w 2^k), k from N - 2 to -1."""
        return [resample(project(values)) for project, resample, values in zip(
            self.project, self.resample, maps)]


def resampling(channels: int, octaves: int) -> nn.Module:
    """Return the convolution that upsamples a map by 2 ** octaves; octaves may be -1."""
    if octaves == 0:
        return nn.Identity()
    if octaves < 0:
        return nn.Conv2d(channels, channels, 3, stride=2, padding=1)
    return nn.ConvTranspose2d(channels, channels, 2 ** octaves, stride=2 ** octaves)


def pyramid_strides(cell: int, levels: int) -> list[int]:
    """Return the strides of a pyramid whose last but one level has the stride `cell`."""
    return [int(cell * 2.0 ** (level + 2 - levels)) for level in range(levels)]


def next_power_of_two(number: int) -> int:
    """Return the least power of two at or above a positive number."""
    return 1 << (number - 1).bit_length()


def load_backbone(
        config: dict[str, Any] | None, pretrained: str | None,
        out_features: Sequence[str] | None) -> PreTrainedModel:
    """
    Build the library's backbone.

    :raises ValueError: if the backbone or a feature is unknown, or the weights do not fit.
    """
    check_source(config, pretrained)
    description = config if pretrained is None else read_library_config(expand(pretrained))
    complete = to_config(description, out_features=None, out_indices=None)
    stages = stage_names(complete)
    if config is not None:
        config = plain_config(complete)  # in lists: the library fails on its own default tuples
    if out_features is None:
        blocks = [stage for stage in stages if stage != 'stem']
        levels = min(LEVELS, len(blocks))
        out_features = [blocks[len(blocks) * (k + 1) // levels - 1] for k in range(levels)]
    elif list(out_features) != [stage for stage in stages if stage in out_features]:
        raise ValueError(
            f'expected out_features to be some of {stages}, in this order, got '
            f'{list(out_features)}')
    return load_transformer(
        MODEL_FOR_BACKBONE_MAPPING[type(complete)], None, config, pretrained, fresh=FRESH,
        out_features=list(out_features), out_indices=None)


def stage_names(config: PretrainedConfig) -> list[str]:
    """
    Return the names of a backbone's available features, fine to coarse.

    :raises ValueError: if the kind of model is no backbone.
    """
    if type(config) not in MODEL_FOR_BACKBONE_MAPPING or not hasattr(config, 'stage_names'):
        raise ValueError(
            f'the transformers library has no backbone of the kind {config.model_type!r}, but '
            'of convnextv2, swin, resnet, dinov2 and others')
    return list(config.stage_names)


def probe_backbone(backbone: PreTrainedModel) -> tuple[int, list[Tensor]]:
    """
    Run a backbone on a small image; return the image's side in pixels and the features.

    :raises ValueError: if the backbone cannot see an image of this size.
    """
    patch = getattr(backbone.config, 'patch_size', 1)
    fits = not isinstance(patch, int) or PROBE_SIDE % patch == 0
    side = PROBE_SIDE if fits else 4 * patch
    training = backbone.training
    try:
        with torch.enable_grad():
            features = backbone.eval()(torch.zeros(1, 3, side, side)).feature_maps
    except RuntimeError as error:
        raise ValueError(
            f'{type(backbone).__name__} cannot be used: expected a backbone for images of any '
            f'size, got one that fails at {side} x {side} pixels: {error}') from error
    backbone.train(training)
    return side, list(features)


def unused_parameters(module: nn.Module, outputs: Sequence[Tensor]) -> list[str]:
    """Return the names of a module's parameters that none of its outputs depends on."""
    seen, found = set(), set()
    nodes = [output.grad_fn for output in outputs]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            found.add(id(node.variable))
        nodes += [parent for parent, _ in node.next_functions]
    return [name for name, parameter in module.named_parameters() if id(parameter) not in found]
