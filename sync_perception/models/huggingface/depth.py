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


"""Pretrained depth models as branches: Depth Anything, DPT, ZoeDepth and GLPN."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sync_perception.models.huggingface.base import (
    choose_normalisation,
    expand,
    load_transformer,
    plain_config,
    read_library_config,
    to_multiple,
    TransformersBranch,
)
import torch
from torch import nn, Tensor
from transformers import AutoModelForDepthEstimation, PretrainedConfig, PreTrainedModel

NEAREST = 1e-3  # metres: a head that ends in a ReLU may output zero
FARTHEST = 1e3  # metres: where relative inverse depth is zero, as in the sky


class TransformersDepth(TransformersBranch):
    """
    Depth model of the transformers library, as a branch.

    Its map is depth in metres: the output of a metric model, or scale / (raw + shift) for a
    relative model, whose raw output is inverse depth up to scale and shift (Ranftl et al., 2020).

    :param model: the library's model.
    :param normalisation: mean and std of the images that the model expects.
    :param scale: metres times the unit of the inverse depth; None for a metric model.
    :param shift: shift of the inverse depth, in its unit.
    """

    depth_form = 'metres'
    multiple = 1  # images are resized to the model's multiple

    def __init__(
            self, model: PreTrainedModel,
            normalisation: tuple[tuple[float, ...], tuple[float, ...]],
            scale: float | None = None, shift: float = 0.0):
        super().__init__()
        self.config = plain_config(model.config)
        self.normalisation = normalisation
        self.scale, self.shift = scale, shift
        self.take(model)

    @abstractmethod
    def take(self, model: PreTrainedModel) -> None:
        """Store the model's parts as `encoder` and `decoder`, and set channels and strides."""

    @abstractmethod
    def predict(self, features: list[Tensor]) -> Tensor:
        """Return the model's own depth (B, h, w), before any scale."""

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return depth in metres (B, 1, h, w)."""
        raw = self.predict(features)[:, None]
        if self.scale is None:
            return raw.clamp(min=NEAREST)
        return self.scale / (raw.float() + self.shift).clamp(min=self.scale / FARTHEST)


class DepthAnything(TransformersDepth):
    """
    Depth Anything V1 and V2 (Yang et al., 2024): DINOv2 with a DPT decoder.

    The features are the inputs of the decoder's fusion: the backbone's reassembled stages.
    """

    def take(self, model: PreTrainedModel) -> None:
        """Store backbone, neck and head; drop unused weights."""
        config = model.config
        self.encoder = model.backbone
        self.decoder = nn.ModuleDict({'neck': model.neck, **self.heads(model)})
        self.patch = self.encoder.config.patch_size
        self.factors = config.reassemble_factors
        self.step = self.patch
        self.channels = tuple(config.neck_hidden_sizes)
        self.strides = tuple(round(self.patch / factor) for factor in self.factors)
        drop_unused(self.encoder, model.neck)

    def heads(self, model: PreTrainedModel) -> dict[str, nn.Module]:
        """Return the heads that compute depth from the fused maps, by name."""
        return {'head': model.head}

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the stages as maps (B, channels[i], h / strides[i], w / strides[i])."""
        image = to_multiple(image_b3hw, self.step)
        grid = [int(side) // self.patch for side in image.shape[-2:]]
        return self.reassemble(self.tokens(image), grid)

    def tokens(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the stages of the backbone, (B, 1 + h w, C), the class token first."""
        return list(self.encoder(image_b3hw).feature_maps)

    def reassemble(self, tokens: list[Tensor], grid: list[int]) -> list[Tensor]:
        """Return the stages as the maps that the decoder fuses."""
        return list(self.decoder['neck'].reassemble_stage(tokens, *grid))

    def fuse(self, features: list[Tensor]) -> list[Tensor]:
        """Return the decoder's fused maps, coarse to fine."""
        neck = self.decoder['neck']
        return neck.fusion_stage(
            [convolution(feature) for convolution, feature in zip(neck.convs, features)])

    def predict(self, features: list[Tensor]) -> Tensor:
        """Return the head's map at the size of the image, as resized for the patches."""
        grid = [int(int(side) // self.factors[0]) for side in features[0].shape[-2:]]
        return self.decoder['head'](self.fuse(features), *grid)


class DPT(DepthAnything):
    """
    DPT (Ranftl et al., 2021) with a ViT or the hybrid backbone, also MiDaS and DPT on DINOv2.

    The library's own forward takes only square images; here the grid may have any shape.
    """

    def take(self, model: PreTrainedModel) -> None:
        """Store the ViT or the backbone, neck and head."""
        config = model.config
        self.hybrid = config.is_hybrid
        self.has_backbone = model.backbone is not None
        self.encoder = model.backbone if self.has_backbone else model.dpt
        self.decoder = nn.ModuleDict({'neck': model.neck, **self.heads(model)})
        self.patch = self.encoder.config.patch_size
        self.factors = config.reassemble_factors
        self.reassembles = model.neck.reassemble_stage is not None
        self.channels = tuple(config.neck_hidden_sizes)
        self.strides = tuple(
            2 ** (stage + 2) if not self.reassembles or stage in config.neck_ignore_stages
            else round(self.patch / factor) for stage, factor in enumerate(self.factors))
        # each fusion doubles the map, so sides must be multiples of the coarsest stride
        self.step = max(self.strides)
        drop_unused(self.encoder, model.neck)
        if not self.has_backbone:
            self.stages = list(config.backbone_out_indices)[len(config.neck_ignore_stages):]
            self.encoder.layernorm = nn.Identity()
            self.encoder.encoder.layer = self.encoder.encoder.layer[:max(self.stages) + 1]

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the stages as maps (B, channels[i], h / strides[i], w / strides[i])."""
        if self.reassembles:
            return super().encode(image_b3hw)
        return self.tokens(to_multiple(image_b3hw, self.step))

    def tokens(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the stages, as tokens or, for convolutional stages, as maps."""
        if self.has_backbone:
            return list(self.encoder(image_b3hw).feature_maps)
        any_size = {'interpolate_pos_encoding': True} if self.hybrid else {}
        embedded = self.encoder.embeddings(image_b3hw, **any_size)
        stages = list(embedded.intermediate_activations or ())
        hidden = embedded.last_hidden_states
        for index, layer in enumerate(self.encoder.encoder.layer):
            hidden = layer(hidden)
            if index in self.stages:
                stages.append(hidden)
        return stages

    def predict(self, features: list[Tensor]) -> Tensor:
        """Return the head's map."""
        return self.decoder['head'](self.fuse(features))


class ZoeDepth(DepthAnything):
    """ZoeDepth (Bhat et al., 2023) with one metric head on a relative DPT."""

    def take(self, model: PreTrainedModel) -> None:
        """
        Store backbone, neck and both heads.

        :raises ValueError: if there are several metric heads.
        """
        heads = [entry.get('name') for entry in model.config.bin_configurations]
        if len(heads) > 1:
            raise ValueError(
                f'expected a ZoeDepth with one metric head, got {len(heads)} ({heads}), one of '
                'which is chosen for each batch: use Intel/zoedepth-kitti or Intel/zoedepth-nyu')
        super().take(model)
        self.step = max(self.strides)

    def heads(self, model: PreTrainedModel) -> dict[str, nn.Module]:
        """Return the relative head, whose map conditions the metric head, and the metric head."""
        return {'relative_head': model.relative_head, 'metric_head': model.metric_head}

    def reassemble(self, tokens: list[Tensor], grid: list[int]) -> list[Tensor]:
        """Return the stages as maps, one by one: the library's code needs a fixed batch size."""
        stage = self.decoder['neck'].reassemble_stage
        maps = []
        for own, project, layer in zip(tokens, stage.readout_projects, stage.layers):
            patches = own[:, 1:]
            patches = project(torch.cat((patches, own[:, :1].expand_as(patches)), dim=-1))
            maps.append(layer(patches.transpose(1, 2).unflatten(2, grid)))
        return maps

    def predict(self, features: list[Tensor]) -> Tensor:
        """Return the metric head's map."""
        neck = self.decoder['neck']
        bottleneck = neck.convs[-1](features[-1])
        fused = self.fuse(features)
        relative, activation = self.decoder['relative_head'](fused)
        depth, _ = self.decoder['metric_head'](
            outconv_activation=activation, bottleneck=bottleneck, feature_blocks=fused,
            relative_depth=relative)
        return depth[:, 0]


class GLPN(TransformersDepth):
    """GLPN (Kim et al., 2022): a hierarchical transformer with a light decoder."""

    def take(self, model: PreTrainedModel) -> None:
        """Store encoder, decoder and head."""
        config = model.config
        self.encoder = model.glpn.encoder
        self.decoder = nn.ModuleDict({'fusion': model.decoder, 'head': model.head})
        self.channels = tuple(config.hidden_sizes)
        stride, strides = 1, []
        for step in config.strides:
            stride *= step
            strides.append(stride)
        self.strides = tuple(strides)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the stages as maps (B, channels[i], h / strides[i], w / strides[i])."""
        image = to_multiple(image_b3hw, self.strides[-1])
        return list(self.encoder(image, output_hidden_states=True, return_dict=True).hidden_states)

    def predict(self, features: list[Tensor]) -> Tensor:
        """Return the head's map, at the size of the image, as resized."""
        return self.decoder['head'](self.decoder['fusion'](features))


FAMILIES: dict[str, type[TransformersDepth]] = {
    'depth_anything': DepthAnything,
    'dpt': DPT,
    'glpn': GLPN,
    'zoedepth': ZoeDepth,
}


def build_depth_branch(
        out_channels: int, pretrained: str | None = None, config: dict[str, Any] | None = None,
        mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
        metric: bool | None = None, scale: float | None = None,
        shift: float = 0.0) -> TransformersDepth:
    """
    Build a depth branch from a model of the transformers library.

    :param out_channels: channels of the map, which must be 1: these models predict only depth.
    :param pretrained: folder or hub id, such as
        depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf.
    :param config: the library's config of a model, for random weights.
    :param mean: mean of the model's normalisation, per channel; by default that of its folder.
    :param std: standard deviation of the same normalisation.
    :param metric: whether the model's depth is in metres; by default as its config states. That of
        DPT does not state it: most are relative, those fine-tuned on KITTI or NYU are metric.
    :param scale: scale of a relative model: depth is scale / (raw + shift).
    :param shift: shift of a relative model's inverse depth.
    :raises ValueError: if the model type is not supported, or its depth is relative and there is
        no scale.
    """
    if out_channels != 1:
        raise ValueError(
            'a pretrained depth model gives depth alone, without uncertainty or normals: expected '
            f'1 output channel, got {out_channels}')
    if config is None and pretrained is not None:
        family = find_family(read_library_config(expand(pretrained)), pretrained)
    else:
        family = find_family(config or {}, 'config')
    model = load_transformer(AutoModelForDepthEstimation, 'depth', config, pretrained)
    check_scale(model.config, pretrained or 'config', metric, scale)
    normalisation = choose_normalisation(mean, std, pretrained, model.config.model_type)
    return family(model, normalisation, scale, shift)


def find_family(description: dict[str, Any], source: str) -> type[TransformersDepth]:
    """
    Return the branch class for a model of the library.

    :raises ValueError: if there is none for this model type.
    """
    kind = description.get('model_type')
    if kind not in FAMILIES:
        raise ValueError(
            f'{source}: no depth branch for a model of type {kind!r}, expected one of: '
            f'{", ".join(sorted(FAMILIES))}')
    return FAMILIES[kind]


def gives_metres(config: PretrainedConfig) -> bool:
    """Return whether a model's config states that its depth is in metres."""
    return config.model_type in ('glpn', 'zoedepth') \
        or getattr(config, 'depth_estimation_type', None) == 'metric'


def farthest(config: PretrainedConfig) -> float | None:
    """Return the greatest depth of a metric model in metres, if its config states it."""
    if not gives_metres(config):
        return None
    if config.model_type == 'zoedepth':
        return float(config.bin_configurations[0]['max_depth'])
    return float(config.max_depth)


def check_scale(
        config: PretrainedConfig, source: str, metric: bool | None, scale: float | None) -> None:
    """
    Check that a relative model has a scale and a metric model has none.

    :raises ValueError: saying what to give.
    """
    metric = gives_metres(config) if metric is None else metric
    if not metric and scale is None:
        raise ValueError(
            f'{source} gives relative inverse depth, not metres: use a metric model, or set scale '
            '(and shift) for depth = scale / (raw + shift), which hold for one camera and scene; '
            f'in the name of a pair as {source}@SCALE. For a model that gives metres although its '
            'config.json does not say so, set metric: true, in the name of a pair @metric')
    if metric and scale is not None:
        raise ValueError(f'{source} already gives metres: expected no scale, got {scale}')
    if scale is not None and scale <= 0:
        raise ValueError(f'{source}: expected a scale above 0, got {scale}')


def drop_unused(backbone: nn.Module, neck: nn.Module) -> None:
    """Remove the weights that the library's forward pass never uses."""
    neck.fusion_stage.layers[0].residual_layer1 = nn.Identity()
    embeddings = getattr(backbone, 'embeddings', None)
    if getattr(embeddings, 'mask_token', None) is not None:
        embeddings.mask_token = None
    if not getattr(backbone.config, 'apply_layernorm', True):
        backbone.layernorm = nn.Identity()
