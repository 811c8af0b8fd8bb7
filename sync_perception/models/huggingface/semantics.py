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


"""Branches whose networks are segmentation models of the transformers library."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate
import math
from operator import mul
from typing import Any, ClassVar

from sync_perception.models.huggingface.base import (
    check_source,
    choose_normalisation,
    expand,
    load_transformer,
    plain_config,
    read_library_config,
    TransformersBranch,
)
from sync_perception.models.huggingface.masks import EomtEncoder, MaskDecoder, QueryDecoder
from torch import nn, Tensor
from transformers import (
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    PreTrainedModel,
    SwinBackbone,
)


class TransformersSegmentation(TransformersBranch):
    """
    A semantic branch whose network comes from the transformers library.

    Its map holds the logits, one channel per class. If the pretrained model has another number of
    classes, its classifier is initialised randomly, with a log message; all other weights are
    kept.

    :param out_channels: number of classes.
    :param config: the library's config of the network, with its model_type.
    :param pretrained: instead of config: folder or hub id of the weights.
    :param mean: mean of the network's normalisation, per channel, in [0, 1]; by default that of
        its preprocessor_config.json, or else the library's default for the model type.
    :param std: standard deviation of the same normalisation.
    :param options: options of the subclass.
    :raises ValueError: if the model is of another type, or its weights do not fit.

    :cvar model_class: class of the library for the task.
    :cvar classifier: name prefixes of the weights that depend on the number of classes.
    """

    model_class: ClassVar[type]
    classifier: ClassVar[tuple[str, ...]]

    def __init__(
            self, out_channels: int, config: dict[str, Any] | None = None,
            pretrained: str | None = None, mean: Sequence[float] | None = None,
            std: Sequence[float] | None = None, **options: Any):
        super().__init__()
        model = load_transformer(
            self.model_class, 'segmentation', config, pretrained, fresh=self.classifier,
            num_labels=out_channels, **self.changes())
        self.config = plain_config(model.config)
        self.normalisation = choose_normalisation(mean, std, pretrained, model.config.model_type)
        self.take(model, **options)

    def changes(self) -> dict[str, Any]:
        """Return the entries that replace those of the library's config."""
        return {}

    @abstractmethod
    def take(self, model: PreTrainedModel, **options: Any) -> None:
        """Store the model's parts as `encoder` and `decoder`, and set channels and strides."""

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return the logits (B, out_channels, h, w)."""
        return self.decoder(features)


class Segformer(TransformersSegmentation):
    """
    SegFormer (Xie et al., 2021): the features of its four stages, and its linear head.

    The map has a quarter of the image's resolution.
    """

    model_class = AutoModelForSemanticSegmentation
    classifier = ('decode_head.classifier.',)

    def changes(self) -> dict[str, Any]:
        """Return the setting that reshapes the last stage: the library would assume a square."""
        return {'reshape_last_stage': True}

    def take(self, model: PreTrainedModel) -> None:
        """Store the stages and the head."""
        self.encoder, self.decoder = model.segformer, model.decode_head
        self.channels = tuple(model.config.hidden_sizes)
        self.strides = tuple(accumulate(model.config.strides, mul))
        # keys and values are reduced further before attention
        reductions = zip(self.strides, model.config.sr_ratios)
        self.multiple = math.lcm(*(stride * reduction for stride, reduction in reductions))

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the features of the stages at strides 4, 8, 16 and 32."""
        features = []
        for stage in self.encoder.stages:
            image_b3hw = stage(image_b3hw)
            features.append(image_b3hw)
        return features


class Mask2Former(TransformersSegmentation):
    """
    Mask2Former (Cheng et al., 2022): the features of its backbone, before the pixel decoder.

    The map is the semantic map of its queries (`semantic_logits`), at a quarter of the image.
    """

    model_class = AutoModelForUniversalSegmentation
    # the criterion, which is dropped, also depends on the number of classes
    classifier = ('class_predictor.', 'criterion.')

    def take(self, model: PreTrainedModel) -> None:
        """Store the backbone as the encoder and the rest as the decoder."""
        self.encoder, self.decoder = model.model.pixel_level_module.encoder, MaskDecoder(model)
        if isinstance(self.encoder, SwinBackbone):
            # used for classification only: each feature has its own norm
            self.encoder.swin.layernorm = nn.Identity()
        self.channels = tuple(self.encoder.channels)
        self.strides = tuple(model.config.feature_strides)
        self.multiple = max(self.strides)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the backbone's features at strides 4, 8, 16 and 32."""
        return list(self.encoder(image_b3hw).feature_maps)


class Eomt(TransformersSegmentation):
    """
    EoMT (Kerssies et al., 2025): a plain ViT whose last blocks also process the queries.

    The features are the patches before those blocks and, as a map of a single pixel, the class and
    register tokens. The output is the semantic map of the queries (`semantic_logits`). Images of
    other sizes than the pretrained model's squares are processed whole, with interpolated position
    embeddings; the library uses a sliding square window instead.

    :param masked: for each of the last blocks, whether attention is masked; by default where the
        pretrained model's masking probability is above 0. Training uses the same masks.
    """

    model_class = AutoModelForUniversalSegmentation
    classifier = ('class_predictor.', 'criterion.')

    def take(self, model: PreTrainedModel, masked: Sequence[bool] | None = None) -> None:
        """Store the ViT without its last blocks as the encoder, and the rest as the decoder."""
        config = model.config
        if masked is None:
            masked = (model.attn_mask_probs > 0).tolist()
        self.encoder, self.decoder = EomtEncoder(model), QueryDecoder(model, masked)
        self.multiple = config.patch_size
        tokens = model.embeddings.num_prefix_tokens
        self.channels = (config.hidden_size, tokens * config.hidden_size)
        self.strides = (config.patch_size, config.image_size)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the patches (B, c, h / 16, w / 16) and the tokens (B, n c, 1, 1)."""
        return self.encoder(image_b3hw)

    def resolved_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with the config, normalisation and masks."""
        return {**super().resolved_arguments(arguments), 'masked': list(self.decoder.masked)}


SEGMENTERS: dict[str, Callable[..., TransformersSegmentation]] = {
    'segformer': Segformer,
    'mask2former': Mask2Former,
    'eomt': Eomt,
}


def build_segmentation_branch(out_channels: int, **arguments: Any) -> TransformersSegmentation:
    """
    Build the branch around a segmentation model of the library.

    :param out_channels: number of classes.
    :param arguments: `config` or `pretrained`, and the others of TransformersSegmentation.
    :raises ValueError: if the model type is not supported; the message lists the supported ones.
    """
    config, pretrained = arguments.get('config'), arguments.get('pretrained')
    check_source(config, pretrained)
    description = read_library_config(expand(pretrained)) if config is None else config
    kind = description.get('model_type')
    if kind not in SEGMENTERS:
        raise ValueError(
            f'{pretrained or "config"}: no segmentation branch for a model of type {kind!r}, '
            f'expected one of: {", ".join(sorted(SEGMENTERS))}')
    return SEGMENTERS[kind](out_channels, **arguments)
