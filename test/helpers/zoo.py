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


"""One small network of every kind, for the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.perception_model import PerceptionModel
from tiny_branch import TINY
import torch

DINOV2 = {
    'model_type': 'dinov2', 'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2,
    'mlp_ratio': 2, 'image_size': 56, 'patch_size': 14, 'out_indices': [1, 2],
    'reshape_hidden_states': False}

# Branches as `build_branch` takes them; a callable, so that a library is imported when needed.
BRANCH_ZOO: dict[str, Callable[[], dict[str, Any]]] = {
    'unet_resnet': lambda: {'kind': 'unet', 'block': 'resnet', 'size': 'tiny'},
    'unet_convnext': lambda: {'kind': 'unet', 'block': 'convnext', 'size': 'tiny'},
    'unet_vit': lambda: {'kind': 'unet', 'block': 'vit', 'size': 'tiny'},
    'mobile_unet': lambda: {**TINY, 'widths': [8, 16, 16, 24, 32]},
    'efficientvit': lambda: {'kind': 'efficientvit'},
    'efficientvit_unet': lambda: {'kind': 'efficientvit_unet', 'widths': [8, 8, 16, 24, 32]},
    'backbone_swin': lambda: {'kind': 'backbone_unet', 'widths': [8, 8, 12, 16], 'config': {
        'model_type': 'swin', 'embed_dim': 8, 'depths': [2, 1, 2, 1], 'num_heads': [1, 2, 2, 4],
        'window_size': 4, 'image_size': 64}},
    'backbone_dinov2': lambda: {'kind': 'backbone_unet', 'widths': [8, 8, 12, 16], 'config': {
        'model_type': 'dinov2', 'hidden_size': 16, 'num_hidden_layers': 5, 'image_size': 70,
        'num_attention_heads': 2}},
    'depth_anything': lambda: {'kind': 'transformers_depth', 'config': {
        'model_type': 'depth_anything', 'backbone_config': DINOV2, 'reassemble_hidden_size': 16,
        'reassemble_factors': [4, 0.5], 'neck_hidden_sizes': [8, 16], 'fusion_hidden_size': 8,
        'head_hidden_size': 4, 'depth_estimation_type': 'metric', 'max_depth': 80}},
    'dpt': lambda: {'kind': 'transformers_depth', 'scale': 10.0, 'shift': 0.1, 'config': {
        'model_type': 'dpt', 'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2,
        'intermediate_size': 32, 'image_size': 32, 'patch_size': 16,
        'backbone_out_indices': [0, 1], 'reassemble_factors': [4, 0.5],
        'neck_hidden_sizes': [8, 16], 'fusion_hidden_size': 8}},
    'glpn': lambda: {'kind': 'transformers_depth', 'config': {
        'model_type': 'glpn', 'depths': [1, 1, 1, 1], 'hidden_sizes': [8, 8, 16, 16],
        'num_attention_heads': [1, 1, 2, 2], 'decoder_hidden_size': 8, 'max_depth': 80}},
    'refinenet': lambda: {'kind': 'refinenet'},
    'segformer': lambda: {'kind': 'transformers_segmentation', 'config': {
        'model_type': 'segformer', 'depths': [1, 1, 1, 1], 'hidden_sizes': [8, 8, 16, 16],
        'num_attention_heads': [1, 1, 2, 2], 'decoder_hidden_size': 8}},
    'mask2former': lambda: {'kind': 'transformers_segmentation', 'config': {
        'model_type': 'mask2former', 'backbone_config': {
            'model_type': 'swin', 'image_size': 64, 'embed_dim': 8, 'depths': [1, 1, 1, 1],
            'num_heads': [1, 1, 2, 2], 'window_size': 4, 'mlp_ratio': 2.0,
            'out_features': ['stage1', 'stage2', 'stage3', 'stage4']},
        'feature_size': 32, 'mask_feature_size': 32, 'hidden_dim': 32, 'num_queries': 64,
        'encoder_feedforward_dim': 16, 'dim_feedforward': 16, 'encoder_layers': 1,
        'decoder_layers': 2, 'num_attention_heads': 2}},
    'eomt': lambda: {'kind': 'transformers_segmentation', 'config': {
        'model_type': 'eomt', 'hidden_size': 16, 'num_hidden_layers': 3, 'num_blocks': 2,
        'num_attention_heads': 2, 'image_size': 64, 'num_queries': 20, 'num_register_tokens': 1}},
}


def pair(depth: str, semantics: str | None = None, **arguments: Any) -> Callable[[], tuple]:
    """Describe the synchronised network of two branches of the zoo, by default two of a kind."""
    return lambda: ('sync', {
        'depth': BRANCH_ZOO[depth](), 'semantics': BRANCH_ZOO[semantics or depth](), **arguments})


# Architecture and arguments, as a config holds them.
MODEL_ZOO: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
    'padnet': lambda: ('padnet', {
        'backbone': 'resnet18', 'channels': [8, 8, 16, 16, 16], 'scales': 1,
        'alignment': True, 'uncertainty': True, 'normals': True}),
    'aligned': pair('mobile_unet', alignment=True),
    'unet_resnet': pair('unet_resnet'),
    'unet_convnext': pair('unet_convnext'),
    'unet_vit': pair('unet_vit'),
    'mobile_unet': pair('mobile_unet', uncertainty=True, normals=True),
    'refinenet': lambda: ('refinenet', {}),
    'refinenet_all': lambda: ('refinenet', {'normals': True, 'uncertainty': True}),
    'backbones': pair('backbone_swin', 'backbone_dinov2'),
    'efficientvit': pair('efficientvit_unet', 'efficientvit', uncertainty=True),
    'two_sizes': lambda: ('sync', {
        'depth': {**BRANCH_ZOO['mobile_unet'](), 'image_scale': 0.5},
        'semantics': BRANCH_ZOO['efficientvit']()}),
    'uncoupled': pair('mobile_unet', depth_to_semantics=False, semantics_to_depth=False),
    'depth_anything': pair('depth_anything', 'mobile_unet'),
    'dpt': pair('dpt', 'mobile_unet'),
    'glpn': pair('glpn', 'mobile_unet'),
    'segformer': pair('mobile_unet', 'segformer'),
    'mask2former': pair('mobile_unet', 'mask2former'),
    'eomt': pair('mobile_unet', 'eomt'),
    'depth_anything_segformer': pair('depth_anything', 'segformer'),
    'tipsv2': lambda: ('transformers_joint', {'config': {
        'model_type': 'tipsv2_dpt', 'backbone_config': {
            'model_type': 'tipsv2_vision_model', 'hidden_size': 16, 'num_hidden_layers': 4,
            'num_attention_heads': 2, 'mlp_ratio': 2, 'image_size': 56, 'patch_size': 14,
            'out_indices': [1, 2, 3, 4], 'reshape_hidden_states': False},
        'neck_hidden_sizes': [8, 8, 8, 8], 'fusion_hidden_size': 8, 'num_depth_bins': 16,
        'max_depth': 100.0}}),
    'depth_alone': lambda: ('sync', {'depth': BRANCH_ZOO['mobile_unet'](), 'semantics': None}),
    'semantics_alone': lambda: ('sync', {'depth': None, 'semantics': BRANCH_ZOO['mobile_unet']()}),
}


# One of each kind of network, for tests that take seconds for each
KINDS = (
    'unet_resnet', 'unet_vit', 'mobile_unet', 'backbones', 'refinenet', 'padnet',
    'depth_anything_segformer', 'eomt', 'depth_alone', 'semantics_alone')


def kinds_first(names: Iterable[str], kinds: Collection[str] = KINDS) -> list:
    """Return names as parameters; those that are no kind of their own are exhaustive."""
    return [pytest.param(name, marks=() if name in kinds else pytest.mark.exhaustive)
            for name in names]


def build(name: str, label_space: str = 'driving', seed: int = 0, **settings: Any
          ) -> PerceptionModel:
    """
    Build a model of the zoo with the same weights each time.

    :param settings: of its ModelConfig.
    """
    torch.manual_seed(seed)
    architecture, arguments = MODEL_ZOO[name]()
    space = LabelSpace.load(label_space).to_dict()
    return build_model(ModelConfig(architecture, arguments, space, **settings)).eval()
