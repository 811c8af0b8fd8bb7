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


"""Small segmentation and joint models of the transformers library, saved as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sync_perception.models.huggingface.base import to_config
from tiny import save, scatter, SEGFORMER
import torch
from transformers import (
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    PreTrainedModel,
    Tipsv2DptForDensePrediction,
)

CLASSES = 7
EOMT = {
    'model_type': 'eomt', 'hidden_size': 16, 'num_hidden_layers': 4, 'num_blocks': 2,
    'num_attention_heads': 2, 'image_size': 64, 'num_queries': 6, 'num_register_tokens': 2}
SEGMENTERS: dict[str, dict[str, Any]] = {
    'segformer': SEGFORMER,
    'mask2former': {
        'model_type': 'mask2former', 'backbone_config': {
            'model_type': 'swin', 'image_size': 64, 'embed_dim': 8, 'depths': [1, 1, 1, 1],
            'num_heads': [1, 1, 2, 2], 'window_size': 4,
            'out_features': ['stage1', 'stage2', 'stage3', 'stage4']},
        'feature_size': 32, 'mask_feature_size': 16, 'hidden_dim': 32, 'num_queries': 6,
        'encoder_feedforward_dim': 16, 'dim_feedforward': 16, 'encoder_layers': 1,
        'decoder_layers': 5, 'num_attention_heads': 2},
    'eomt': EOMT,
    'eomt_unmasked': EOMT,
}
TIPSV2 = {
    'model_type': 'tipsv2_dpt', 'backbone_config': {
        'model_type': 'tipsv2_vision_model', 'hidden_size': 16, 'num_hidden_layers': 4,
        'num_attention_heads': 2, 'mlp_ratio': 2, 'image_size': 56, 'patch_size': 14,
        'out_indices': [1, 2, 3, 4], 'reshape_hidden_states': False},
    'neck_hidden_sizes': [8, 8, 8, 8], 'fusion_hidden_size': 8, 'num_depth_bins': 16,
    'min_depth': 0.5, 'max_depth': 8.0}


def save_segmenter(
        folder: Path, kind: str, image_size: int | None = None, **processor: Any
        ) -> PreTrainedModel:
    """
    Save a segmentation model of CLASSES classes with random weights.

    :param kind: a key of SEGMENTERS; eomt masks the attention of its last blocks.
    :param image_size: of the square images, for eomt.
    :param processor: of its preprocessor_config.json; without any it has none.
    :return: the library's own model, as it reads the folder.
    """
    description = {**SEGMENTERS[kind], 'id2label': {i: f'class {i}' for i in range(CLASSES)}}
    if image_size is not None:
        description['image_size'] = image_size
    if kind == 'segformer':
        return save(AutoModelForSemanticSegmentation, folder, description, processor)
    model = save(AutoModelForUniversalSegmentation, folder, description, processor)
    if kind == 'eomt_unmasked':
        model.attn_mask_probs.zero_()
        model.save_pretrained(folder)
    return model


def save_joint(folder: Path, names: list[str]) -> PreTrainedModel:
    """
    Save a TIPSv2 with its DPT heads and random weights.

    :param names: of its classes.
    :return: the library's own model, as it reads the folder.
    """
    torch.manual_seed(0)
    model = Tipsv2DptForDensePrediction(to_config({**TIPSV2, 'id2label': dict(enumerate(names))}))
    scatter(model)
    model.save_pretrained(folder)
    return Tipsv2DptForDensePrediction.from_pretrained(folder).eval()
