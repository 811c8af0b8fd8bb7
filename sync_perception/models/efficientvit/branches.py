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

"""EfficientViT as a branch, with its published segmentation head or the light UNet decoder."""

from __future__ import annotations

from collections.abc import Sequence
import os

from sync_perception.models.efficientvit.network import (
    EfficientViT,
    find_variant,
    HEAD_TAPS,
    SegmentationHead,
)
from sync_perception.models.efficientvit.published import load_published
from sync_perception.models.exchange.published_checkpoints import read_checkpoint
from sync_perception.models.interface import freeze_norms, IMAGENET_NORMALISATION
from sync_perception.models.sync import Branch
from sync_perception.models.unet.decoder import LightUNet
from torch import Tensor


class EfficientViTBranch(Branch):
    """
    EfficientViT with its published segmentation head, as a branch for any task.

    :param out_channels: channels of the raw map.
    :param variant: a key of VARIANTS.
    :param pretrained: a published segmentation checkpoint (a state dict); environment variables
        are expanded. With more classes than the checkpoint, its classes come first and the others
        start with a low score; with fewer, the last layer is initialised randomly.
    :param frozen_norm: keep the batch norms' statistics in training, for small batches.
    :raises ValueError: if there is no such variant, or the checkpoint is of another one.
    """

    normalisation = IMAGENET_NORMALISATION

    def __init__(
            self, out_channels: int, variant: str = 'b0', pretrained: str | None = None,
            frozen_norm: bool = False):
        super().__init__()
        chosen = find_variant(variant)
        self.frozen_norm = frozen_norm
        self.encoder = EfficientViT(chosen, HEAD_TAPS)
        self.channels, self.strides = self.encoder.channels, self.encoder.strides
        self.multiple = self.strides[-1]
        self.head = SegmentationHead(chosen, out_channels)
        if pretrained is not None:
            load_published(self, read_checkpoint(os.path.expandvars(pretrained)), pretrained)

    def encode(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return the features at strides 8, 16 and 32."""
        return self.encoder(image_b3hw)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return the raw map (B, out_channels, h / 8, w / 8)."""
        return self.head(features)

    def train(self, mode: bool = True) -> EfficientViTBranch:
        """Set the mode of everything but frozen batch norms."""
        super().train(mode)
        if self.frozen_norm:
            freeze_norms(self)
        return self


class EfficientViTUNet(LightUNet):
    """
    EfficientViT's encoder with the light UNet decoder, whose map has half the image's size.

    :param out_channels: channels of the raw map.
    :param variant: a key of VARIANTS.
    :param widths: the decoder's channels at strides 2, 4, 8, 16 and 32.
    :param pretrained: a published segmentation checkpoint, whose encoder is loaded;
        environment variables are expanded.
    :param frozen_norm: keep the encoder's batch norm statistics in training.
    :raises ValueError: if there is no such variant, or the checkpoint is of another one.
    """

    normalisation = IMAGENET_NORMALISATION

    def __init__(
            self, out_channels: int, variant: str = 'b0',
            widths: Sequence[int] = (16, 32, 64, 96, 128), pretrained: str | None = None,
            frozen_norm: bool = False):
        encoder = EfficientViT(find_variant(variant))
        super().__init__(out_channels, encoder, encoder.channels, encoder.strides, widths)
        self.frozen_norm = frozen_norm
        if pretrained is not None:
            load_published(self, read_checkpoint(os.path.expandvars(pretrained)), pretrained)

    def train(self, mode: bool = True) -> EfficientViTUNet:
        """Set the mode of everything but frozen batch norms."""
        super().train(mode)
        if self.frozen_norm:
            freeze_norms(self.encoder)
        return self
