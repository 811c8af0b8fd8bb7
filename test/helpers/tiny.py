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


"""Small models of the transformers library as folders, as their download would lie on a disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sync_perception.models.huggingface.base import to_config
import torch
from transformers import (
    AutoModelForDepthEstimation,
    AutoModelForSemanticSegmentation,
    PreTrainedModel,
)

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
VIT = {'hidden_size': 32, 'num_hidden_layers': 4, 'num_attention_heads': 2}
NECK = {'neck_hidden_sizes': [8, 8, 16, 16], 'fusion_hidden_size': 8}
DINOV2 = {
    'model_type': 'dinov2', **VIT, 'mlp_ratio': 2, 'image_size': 56, 'patch_size': 14,
    'out_indices': [1, 2, 3, 4], 'reshape_hidden_states': False}
BEIT = {
    'model_type': 'beit', **VIT, 'intermediate_size': 64, 'image_size': 64, 'patch_size': 16,
    'out_indices': [1, 2, 3, 4], 'use_relative_position_bias': True,
    'reshape_hidden_states': False}
BIT = {
    'model_type': 'bit', 'embedding_size': 16, 'hidden_sizes': [16, 32, 64], 'depths': [1, 1, 1],
    'num_groups': 8, 'layer_type': 'bottleneck', 'global_padding': 'same',
    'out_features': ['stage1', 'stage2', 'stage3'], 'embedding_dynamic_padding': True}
SWIN = {
    'model_type': 'swinv2', 'embed_dim': 8, 'depths': [1, 1, 1, 1], 'num_heads': [1, 1, 2, 2],
    'window_size': 4, 'image_size': 64, 'out_features': ['stage1', 'stage2', 'stage3', 'stage4']}
DEPTH_ANYTHING = {
    'model_type': 'depth_anything', 'backbone_config': DINOV2, 'reassemble_hidden_size': 32,
    'head_hidden_size': 4, **NECK}

# descriptions of depth models, as their config.json hold them
DEPTH: dict[str, dict[str, Any]] = {
    'depth_anything': {**DEPTH_ANYTHING, 'depth_estimation_type': 'metric', 'max_depth': 80},
    'depth_anything_relative': {**DEPTH_ANYTHING, 'depth_estimation_type': 'relative'},
    'dpt': {
        'model_type': 'dpt', **VIT, 'intermediate_size': 64, 'image_size': 64, 'patch_size': 16,
        'backbone_out_indices': [0, 1, 2, 3], **NECK},
    'dpt_hybrid': {
        'model_type': 'dpt', 'is_hybrid': True, **VIT, 'intermediate_size': 64, 'image_size': 64,
        'patch_size': 16, 'backbone_out_indices': [0, 1, 2, 3], 'backbone_config': BIT,
        'backbone_featmap_shape': [1, 64, 4, 4], 'reassemble_factors': [1, 1, 1, 0.5],
        'neck_hidden_sizes': [16, 32, 32, 32], 'fusion_hidden_size': 8},
    'dpt_dinov2': {'model_type': 'dpt', 'backbone_config': DINOV2, **NECK},
    'dpt_swinv2': {
        'model_type': 'dpt', 'backbone_config': SWIN, 'neck_hidden_sizes': [8, 16, 32, 64],
        'fusion_hidden_size': 8},
    'glpn': {
        'model_type': 'glpn', 'depths': [1, 1, 1, 1], 'hidden_sizes': [8, 16, 16, 16],
        'num_attention_heads': [1, 1, 2, 2], 'decoder_hidden_size': 8, 'max_depth': 80},
    'zoedepth': {
        'model_type': 'zoedepth', 'backbone_config': BEIT, 'bottleneck_features': 8,
        'bin_embedding_dim': 8, 'num_relative_features': 8, 'num_attractors': [4, 3, 2, 1],
        **NECK},
}
SEGFORMER = {
    'model_type': 'segformer', 'depths': [1, 1, 1, 1], 'hidden_sizes': [8, 16, 16, 16],
    'num_attention_heads': [1, 1, 2, 2], 'decoder_hidden_size': 8}


def save_depth(folder: Path, kind: str, **processor: Any) -> PreTrainedModel:
    """
    Save a depth model with random weights.

    :param kind: a key of DEPTH.
    :param processor: of its preprocessor_config.json; without any it has none.
    :return: the library's own model, as it reads the folder.
    """
    return save(AutoModelForDepthEstimation, folder, DEPTH[kind], processor)


def save_segformer(folder: Path, names: list[str], **processor: Any) -> PreTrainedModel:
    """
    Save a SegFormer with random weights, as save_depth does.

    :param names: of its classes.
    """
    description = {**SEGFORMER, 'id2label': dict(enumerate(names))}
    return save(AutoModelForSemanticSegmentation, folder, description, processor)


def save(
        auto_model: type, folder: Path, description: dict[str, Any], processor: dict[str, Any]
        ) -> PreTrainedModel:
    """Save a model and its image processor's description, and return the model read back."""
    torch.manual_seed(0)
    model = auto_model.from_config(to_config(description))
    scatter(model)
    model.save_pretrained(folder)
    if processor:
        (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
    return auto_model.from_pretrained(folder).eval()


def scatter(model: torch.nn.Module) -> None:
    """Give a model weights so far from each other that its map says where it looks."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                fan = weight[0].numel() if weight.dim() in (2, 4) else 4
                weight.normal_(std=1 / fan ** 0.5)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
