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


"""Mask classification models: per-query masks and classes, combined into one map of logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn, Tensor
from torch.nn import functional
from transformers import PreTrainedModel

FLOOR = 1e-8  # lower bound of a class score, for pixels that no query claims


def semantic_logits(class_bqn: Tensor, mask_bqhw: Tensor) -> Tensor:
    """
    Return the semantic logits of mask classification queries (Cheng et al., 2021).

    The class score is the sum over the queries of softmax(class) * sigmoid(mask), without "no
    object". The transformers library takes its argmax; the logarithm has the same argmax, and as
    logits its softmax is the normalised score. The library resizes masks and score to the image
    before the argmax; here the logits are at the network's resolution, and are resized like
    others.

    :param class_bqn: logits of each query's class, (B, Q, classes + 1), the last for "no object".
    :param mask_bqhw: logits of each query's mask, (B, Q, h, w).
    :return: float32 (B, classes, h, w), at least log(FLOOR).
    """
    classes = class_bqn.float().softmax(dim=-1)[..., :-1]
    masks = mask_bqhw.float().sigmoid()
    return torch.log(torch.einsum('bqc,bqhw->bchw', classes, masks).float() + FLOOR)


class MaskDecoder(nn.Module):
    """
    Mask2Former's decoder: the model without its backbone.

    :param model: the library's Mask2FormerForUniversalSegmentation.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.pixel_decoder = model.model.pixel_level_module.decoder
        self.transformer = model.model.transformer_module
        self.classifier = model.class_predictor
        self.dropout = model.config.dropout

    def train(self, mode: bool = True) -> MaskDecoder:
        """
        Set the mode, except for layers that differ in training only by a check for infinities.

        That check, meant for float16, synchronises with the device in each step and breaks a
        compiled graph.
        """
        super().train(mode)
        if not self.dropout:
            self.pixel_decoder.encoder.layers.eval()
        return self

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the semantic logits of the backbone's features, fine to coarse."""
        pixels = self.pixel_decoder(features)
        queries = self.transformer(
            multi_scale_features=pixels.multi_scale_features, mask_features=pixels.mask_features)
        classes = self.classifier(queries.intermediate_hidden_states[-1].transpose(0, 1))
        return semantic_logits(classes, queries.masks_queries_logits[-1])


class EomtEncoder(nn.Module):
    """
    EoMT's ViT up to the blocks that include the queries.

    :param model: the library's EomtForUniversalSegmentation.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.embeddings = model.embeddings
        self.blocks = model.layers[:-model.config.num_blocks]

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """Return patches (B, c, h / 16, w / 16), and class and register tokens (B, n c, 1, 1)."""
        embeddings = self.embeddings
        size = [side // embeddings.patch_size for side in image_b3hw.shape[-2:]]
        patches = embeddings.patch_embeddings(image_b3hw) + self.positions(size)
        tokens = torch.cat([embeddings.cls_token, embeddings.register_tokens], dim=1)
        hidden = torch.cat([tokens.expand(patches.shape[0], -1, -1), patches], dim=1)
        hidden = embeddings.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        tokens, patches = hidden.tensor_split([embeddings.num_prefix_tokens], dim=1)
        return [patches.transpose(1, 2).unflatten(2, size), tokens.flatten(1)[:, :, None, None]]

    def positions(self, size: Sequence[int]) -> Tensor:
        """Return position embeddings (1, h w, c) for a grid of this size."""
        embeddings = self.embeddings.position_embeddings.weight
        side = round(len(embeddings) ** 0.5)
        if [side, side] == list(size):
            return embeddings[None]
        square = embeddings.transpose(0, 1).reshape(1, -1, side, side)
        resized = functional.interpolate(
            square.float(), size=size, mode='bicubic', align_corners=False)
        return resized.to(embeddings.dtype).flatten(2).transpose(1, 2)


class QueryDecoder(nn.Module):
    """
    EoMT's last blocks, which process patches and queries, and its heads.

    :param model: the library's EomtForUniversalSegmentation.
    :param masked: for each block, whether a query attends only to the patches of its current mask.
    """

    def __init__(self, model: PreTrainedModel, masked: Sequence[bool]):
        super().__init__()
        self.masked = tuple(masked)
        self.blocks = model.layers[-model.config.num_blocks:]
        if len(self.masked) != len(self.blocks):
            raise ValueError(
                f'masked: expected an entry for each of {len(self.blocks)} blocks, got '
                f'{list(masked)}')
        self.queries, self.norm = model.query, model.layernorm
        self.mask_head, self.upscale = model.mask_head, model.upscale_block
        self.classifier = model.class_predictor

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the semantic logits of patches and tokens as EomtEncoder gives them."""
        patches, tokens = features
        batch, width, *size = patches.shape
        queries = self.queries.weight[None].expand(batch, -1, -1)
        tokens = tokens.flatten(1).unflatten(1, (-1, width))
        hidden = torch.cat([queries, tokens, patches.flatten(2).transpose(1, 2)], dim=1)
        others = queries.shape[1] + tokens.shape[1]
        for block, masked in zip(self.blocks, self.masked):
            hidden = block(hidden, self.attention_bias(hidden, others, size) if masked else None)
        return semantic_logits(*self.predict(hidden, others, size))

    def predict(self, hidden: Tensor, others: int, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return class (B, Q, classes + 1) and mask logits (B, Q, h, w) of the current queries."""
        hidden = self.norm(hidden)
        queries = hidden[:, :self.queries.num_embeddings]
        patches = hidden[:, others:].transpose(1, 2).unflatten(2, size)
        masks = torch.einsum('bqc,bchw->bqhw', self.mask_head(queries), self.upscale(patches))
        return self.classifier(queries), masks

    def attention_bias(self, hidden: Tensor, others: int, size: Sequence[int]) -> Tensor:
        """Return the bias (B, 1, N, N) that restricts each query to its current mask."""
        _, masks = self.predict(hidden, others, size)
        inside = functional.interpolate(masks, size=size, mode='bilinear').flatten(2) > 0
        bias = torch.where(inside, 0.0, -1e9).to(hidden.dtype)
        below = hidden.shape[1] - bias.shape[1]
        return functional.pad(bias, (others, 0, 0, below))[:, None]
