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

"""Contrastive loss of embeddings, and consistency loss of depth and semantic predictions."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.func import functional_call
from torch.nn import functional


def symmetric_info_nce(similarity_bb: Tensor) -> Tensor:
    """
    Symmetric InfoNCE: cross-entropy of matching pairs in the batch, averaged over directions.

    Source: van den Oord et al., arXiv:1807.03748, in the form of CLIP. The loss at chance level is
    ln B.

    :param similarity_bb: (B, B), logits; matching pairs are on the diagonal.
    :return: scalar.
    :raises ValueError: if the matrix is not square.
    """
    if similarity_bb.ndim != 2 or similarity_bb.shape[0] != similarity_bb.shape[1]:
        raise ValueError(
            f'expected a square matrix of similarities, got {tuple(similarity_bb.shape)}')
    partners = torch.arange(len(similarity_bb), device=similarity_bb.device)
    rows = functional.cross_entropy(similarity_bb, partners)
    columns = functional.cross_entropy(similarity_bb.T, partners)
    return (rows + columns) / 2


def consistency_loss(model: nn.Module, depth_b1hw: Tensor, probabilities_bchw: Tensor) -> Tensor:
    """
    Consistency loss of depth and semantics: mean of 1 - cosine of their embeddings.

    Gradients flow to both predictions, but never to the model's weights.

    :param model: a trained `sync_perception.models.contrastive.dense_clip.ContrastiveModel`.
    :param depth_b1hw: (B, 1, H, W), predicted depth in metres.
    :param probabilities_bchw: (B, C, H, W), predicted probabilities of the model's label space.
    :return: scalar in [0, 2].
    :raises ValueError: if the batches differ in size, or the model does not take such maps.
    """
    if len(depth_b1hw) != len(probabilities_bchw):
        raise ValueError(
            f'expected depth and probabilities of the same images, got {len(depth_b1hw)} and '
            f'{len(probabilities_bchw)}')
    frozen = {name: weight.detach() for name, weight in model.named_parameters()}
    score_b = functional_call(model, frozen, (depth_b1hw, probabilities_bchw))
    return (1 - score_b).mean()
