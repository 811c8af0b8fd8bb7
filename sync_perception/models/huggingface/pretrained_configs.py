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


"""Configs of some published models, to measure their cost and time without their weights."""

from __future__ import annotations

from typing import Any


def dinov2(hidden: int, layers: int, heads: int, **others: Any) -> dict[str, Any]:
    """Return the config of DINOv2 (Oquab et al., 2023) for images of 518x518."""
    return {'model_type': 'dinov2', 'hidden_size': hidden, 'num_hidden_layers': layers,
            'num_attention_heads': heads, 'image_size': 518, 'patch_size': 14, **others}


def depth_anything(
        hidden: int, layers: int, heads: int, taps: list[int], neck: list[int], fusion: int
        ) -> dict[str, Any]:
    """Return the config of Depth Anything V2 (Yang et al., 2024) with metric depth up to 80 m."""
    return {
        'model_type': 'depth_anything', 'backbone_config': dinov2(
            hidden, layers, heads, out_indices=taps, apply_layernorm=True,
            reshape_hidden_states=False),
        'reassemble_hidden_size': hidden, 'reassemble_factors': [4, 2, 1, 0.5],
        'neck_hidden_sizes': neck, 'fusion_hidden_size': fusion, 'head_hidden_size': 32,
        'depth_estimation_type': 'metric', 'max_depth': 80}


def segformer(width: int, depths: list[int], decoder: int) -> dict[str, Any]:
    """Return the config of SegFormer (Xie et al., 2021, table 6); width is the first stage's."""
    widths = [32, 64, 160, 256] if width == 32 else [64, 128, 320, 512]
    return {'model_type': 'segformer', 'hidden_sizes': widths, 'depths': depths,
            'decoder_hidden_size': decoder}


def swin(depths: list[int], **others: Any) -> dict[str, Any]:
    """Return the config of Swin tiny or small (Liu et al., 2021)."""
    return {'model_type': 'swin', 'embed_dim': 96, 'depths': depths,
            'num_heads': [3, 6, 12, 24], 'window_size': 7, **others}


# the library's config of each hub id, without default values
CONFIGS: dict[str, dict[str, Any]] = {
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf': depth_anything(
        384, 12, 6, [3, 6, 9, 12], [48, 96, 192, 384], 64),
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf': depth_anything(
        768, 12, 12, [3, 6, 9, 12], [96, 192, 384, 768], 128),
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf': depth_anything(
        1024, 24, 16, [5, 12, 18, 24], [256, 512, 1024, 1024], 256),
    'vinvino02/glpn-kitti': {
        'model_type': 'glpn', 'hidden_sizes': [64, 128, 320, 512], 'depths': [3, 8, 27, 3],
        'decoder_hidden_size': 64, 'max_depth': 80},
    'nvidia/segformer-b0-finetuned-cityscapes-1024-1024': segformer(32, [2, 2, 2, 2], 256),
    'nvidia/segformer-b2-finetuned-cityscapes-1024-1024': segformer(64, [3, 4, 6, 3], 768),
    'nvidia/segformer-b5-finetuned-cityscapes-1024-1024': segformer(64, [3, 6, 40, 3], 768),
    'facebook/mask2former-swin-small-cityscapes-semantic': {
        'model_type': 'mask2former', 'backbone_config': swin(
            [2, 2, 18, 2], drop_path_rate=0.3,
            out_features=['stage1', 'stage2', 'stage3', 'stage4'])},
    'tue-mps/cityscapes_semantic_eomt_large_1024': {
        'model_type': 'eomt', 'hidden_size': 1024, 'num_hidden_layers': 24,
        'num_attention_heads': 16, 'image_size': 1024, 'patch_size': 16, 'num_queries': 100,
        'num_blocks': 4, 'num_register_tokens': 4},
    'google/tipsv2-b14-dpt': {'model_type': 'tipsv2_dpt'},
    'microsoft/resnet-50': {'model_type': 'resnet'},
    'facebook/convnextv2-tiny-22k-224': {'model_type': 'convnextv2'},
    'microsoft/swin-tiny-patch4-window7-224': swin([2, 2, 6, 2]),
    'facebook/dinov2-small': dinov2(384, 12, 6),
}


def offline(arguments: dict[str, Any]) -> dict[str, Any]:
    """
    Return an architecture's arguments with every `pretrained` replaced by its `config`.

    :raises ValueError: if the config of a pretrained model is not in CONFIGS.
    """
    replaced: dict[str, Any] = {}
    for key, value in arguments.items():
        if isinstance(value, dict) and key != 'config':
            replaced[key] = offline(value)
        elif key == 'pretrained':
            if value not in CONFIGS:
                raise ValueError(
                    f'the shape of {value!r} is not known, expected one of: {", ".join(CONFIGS)}')
            replaced['config'] = CONFIGS[value]
        else:
            replaced[key] = value
    return replaced
