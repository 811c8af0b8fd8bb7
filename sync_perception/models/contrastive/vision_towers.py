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

"""CLIP's vision towers, in the paper's size and smaller, with random or pretrained weights."""

from __future__ import annotations

import os
from typing import Any, TYPE_CHECKING

from sync_perception.files.checks import mapping, number, text, whole
from sync_perception.models.storage.hub_files import find_file
from torch import nn

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection  # optional, and takes seconds

# Arguments of CLIPVisionConfig.
SETTINGS = {
    **dict.fromkeys(
        ('image_size', 'patch_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers',
         'num_attention_heads', 'projection_dim'), whole(1, 2 ** 16)),
    'hidden_act': text(), 'layer_norm_eps': number(0, 1), 'attention_dropout': number(0, 1)}

TOWERS: dict[str, dict[str, Any]] = {
    # trains in minutes on two CPU cores
    'tiny': {
        'image_size': 64, 'patch_size': 8, 'hidden_size': 64, 'intermediate_size': 256,
        'num_hidden_layers': 2, 'num_attention_heads': 4, 'projection_dim': 64},
    # ViT-S/16
    'small': {
        'image_size': 224, 'patch_size': 16, 'hidden_size': 384, 'intermediate_size': 1536,
        'num_hidden_layers': 12, 'num_attention_heads': 6, 'projection_dim': 256},
    # ViT-L/14, as in CLIP and the paper
    'base': {
        'image_size': 224, 'patch_size': 14, 'hidden_size': 1024, 'intermediate_size': 4096,
        'num_hidden_layers': 24, 'num_attention_heads': 16, 'projection_dim': 768},
}


# Standard deviation of initial position embeddings, about that of patch embeddings. With CLIP's
# 0.02, a tower trained on a thousand maps does not learn to use positions.
PLACE_DEVIATION = 0.4


def build_tower(
        tower: str | dict[str, Any] | None = None, pretrained: str | None = None
        ) -> CLIPVisionModelWithProjection:
    """
    Build a vision tower with its projection: images (B, 3, h, w) to `image_embeds` (B, D).

    :param tower: a key of TOWERS, or settings by name; None for `base`.
    :param pretrained: instead of `tower`, folder or hub id of a CLIP model (or its vision half)
        whose weights are loaded.
    :raises ValueError: if both are given, a name is unknown, or the pretrained model is no CLIP.
    :raises FileNotFoundError: if the pretrained model does not exist.
    """
    if pretrained is not None:
        if tower is not None:
            raise ValueError(
                f'expected tower or pretrained, got both: {tower!r} and {pretrained!r}')
        return load_tower(os.path.expandvars(pretrained))
    # optional, and takes seconds
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    fresh = CLIPVisionModelWithProjection(CLIPVisionConfig(**tower_settings(tower or 'base')))
    place = fresh.vision_model.embeddings.position_embedding
    nn.init.normal_(place.weight, std=PLACE_DEVIATION)
    return fresh


def tower_settings(tower: str | dict[str, Any], key: str = 'tower') -> dict[str, Any]:
    """
    Return a tower's settings by its name, or check given settings.

    :param key: name of the setting, for the message.
    :raises ValueError: naming the unknown or invalid setting.
    """
    if isinstance(tower, str):
        text(TOWERS)(tower, key)
        return TOWERS[tower]
    mapping(tower, key)
    for name, value in tower.items():
        text(SETTINGS)(name, f'{key}: setting')
        SETTINGS[name](value, f'{key}.{name}')
    return tower


def load_tower(path: str) -> CLIPVisionModelWithProjection:
    """
    Load the vision half of a CLIP model; only safetensors are read.

    :raises ValueError: if the model is no CLIP.
    :raises FileNotFoundError: if the model does not exist.
    :raises ConnectionError: if the model is on the hub, which cannot be reached.
    """
    from transformers import CLIPVisionModelWithProjection  # optional, and takes seconds
    if find_file(path, 'config.json') is None:
        raise FileNotFoundError(f'no CLIP model at {path!r}: expected config.json in it')
    try:
        tower, report = CLIPVisionModelWithProjection.from_pretrained(
            path, use_safetensors=True, output_loading_info=True)
    except OSError as error:
        raise FileNotFoundError(f'no CLIP model with safetensors at {path!r}: {error}') from error
    if report['missing_keys'] or report['mismatched_keys']:
        missing = sorted(report['missing_keys'])
        raise ValueError(
            f'{path!r} is not a CLIP model with a vision projection: it lacks {len(missing)} '
            f'weights, such as {missing[:3]}')
    if tower.config.num_channels != 3:
        raise ValueError(
            f'{path!r} takes images of {tower.config.num_channels} channels, expected 3')
    return tower


def describe_tower(tower: CLIPVisionModelWithProjection) -> dict[str, Any]:
    """Return the settings that rebuild a tower."""
    return {name: getattr(tower.config, name) for name in SETTINGS}
