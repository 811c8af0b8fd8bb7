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


"""Pretrained models of the transformers library that predict depth and labels jointly."""

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
    to_multiple,
)
from sync_perception.models.interface import (
    fit_to_image,
    Interface,
    Network,
    Renormalise,
    without_pretrained,
)
from sync_perception.types import DenseOutput
from torch import nn, Tensor
from torch.nn import functional
from transformers import Tipsv2DptForDensePrediction

JOINT_TYPES = ('tipsv2_dpt',)


class DptHead(nn.Module):
    """
    Decoder of one task: reassembles and fuses the backbone's stages, then applies its head.

    :param neck: the library's neck.
    :param decoder: the library's decoder.
    """

    def __init__(self, neck: nn.Module, decoder: nn.Module):
        super().__init__()
        self.neck, self.decoder = neck, decoder

    def forward(self, stages: Sequence[Tensor], grid: Sequence[int]) -> Tensor:
        """Return the raw map of the stages' tokens, eight times finer than the patch grid."""
        return self.decoder(self.neck(stages, *grid)[-1])


class Joint(Network):
    """
    TIPSv2 with DPT heads: depth, normals and labels in one forward pass (Cao et al., 2026).

    Depth is metric for any camera: the mean of `num_depth_bins` depths, evenly spaced from
    `min_depth` to `max_depth`, weighted by the head. The published weights were trained on NYU
    Depth V2's indoor scenes, with 0 to 10 m. The axes of their normals point left, up and towards
    the camera (read off the authors' pictures: floors (0, 0.9, 0.4), a left wall (-0.9, -0.1,
    0.5), a right wall (0.9, -0.2, 0.4)), which is the negated optical frame. Labels are ADE20K's
    150 classes; for another number of classes the semantic head's last layer is initialised
    randomly, with a log message, and must be trained.

    Images are resized to the nearest multiple of the patch size, and maps to the image's size.

    :param interface: classes and normalisation; the depth range is not used.
    :param config: the library's config of the network, with its model_type.
    :param pretrained: instead of config: folder or hub id of the weights.
    :param mean: mean of the network's normalisation, per channel, in [0, 1]; by default that of
        its preprocessor_config.json.
    :param std: standard deviation of the same normalisation.
    :param freeze_encoder: whether the backbone is frozen in training.
    :raises ValueError: if the model is of another type, or its weights do not fit.
    """

    multiple = 1

    def __init__(
            self, interface: Interface, config: dict[str, Any] | None = None,
            pretrained: str | None = None, mean: Sequence[float] | None = None,
            std: Sequence[float] | None = None, freeze_encoder: bool = False):
        super().__init__()
        check_source(config, pretrained)
        check_type(config if pretrained is None else read_library_config(expand(pretrained)),
                   pretrained or 'config')
        model = load_transformer(
            Tipsv2DptForDensePrediction, 'joint', config, pretrained,
            fresh=('segmentation_decoder.head.',), num_labels=interface.num_classes)
        self.config = plain_config(model.config)
        self.normalisation = choose_normalisation(mean, std, pretrained, model.config.model_type)
        self.input = Renormalise(interface.mean, interface.std, *self.normalisation)
        self.patch = model.config.backbone_config.patch_size
        self.encoder = model.backbone
        self.encoder.embeddings.mask_token = None  # used in pretraining only
        self.depth = DptHead(model.depth_neck, model.depth_decoder)
        self.to_metres = model.depth_bin_regressor
        self.normals = DptHead(model.normals_neck, model.normals_decoder)
        self.labels = DptHead(model.segmentation_neck, model.segmentation_decoder)
        if freeze_encoder:
            self.freeze_encoder()

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """Return depth, logits and normals at the image's size."""
        size = image_b3hw.shape[-2:]
        image = to_multiple(self.input(image_b3hw), self.patch)
        grid = [int(side) // self.patch for side in image.shape[-2:]]
        stages = self.encoder(image).feature_maps
        depth = self.to_metres(self.depth(stages, grid).float())[:, None].float()
        normals = -functional.normalize(self.normals(stages, grid).float(), dim=1)
        return DenseOutput(
            depth=fit_to_image(depth, size), logits=fit_to_image(self.labels(stages, grid), size),
            normals=functional.normalize(fit_to_image(normals, size), dim=1))

    def resolved_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with explicit config and normalisation instead of a source."""
        mean, std = self.normalisation
        return {
            **without_pretrained(arguments),
            'config': self.config, 'mean': list(mean), 'std': list(std)}


def check_type(description: dict[str, Any] | None, source: str) -> None:
    """
    Check that the model type is supported.

    :raises ValueError: listing the supported types.
    """
    kind = (description or {}).get('model_type')
    if kind not in JOINT_TYPES:
        raise ValueError(
            f'{source}: no joint network for a model of type {kind!r}, expected one of: '
            f'{", ".join(sorted(JOINT_TYPES))}')
