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

"""CLIP's vision towers: sizes, settings, and weights that transformers saved."""

from __future__ import annotations

import pytest
from sync_perception.models.contrastive.vision_towers import build_tower, describe_tower, TOWERS
import torch

transformers = pytest.importorskip('transformers')

TINY = {
    'image_size': 28, 'patch_size': 14, 'hidden_size': 16, 'intermediate_size': 32,
    'num_hidden_layers': 2, 'num_attention_heads': 2, 'projection_dim': 8}


@pytest.fixture
def vision():
    """Return a small vision tower as CLIP's authors might have saved one."""
    torch.manual_seed(0)
    return transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**TINY))


def test_the_base_tower_has_the_parameters_of_vit_l_14():
    """By hand: patches, class, positions, four norms outside, 24 layers, the projection."""
    layer = 4 * (1024 * 1024 + 1024) + (1024 * 4096 + 4096) + (4096 * 1024 + 1024) + 4 * 1024
    expected = (
        3 * 14 * 14 * 1024 + 1024 + (16 * 16 + 1) * 1024 + 4 * 1024 + 24 * layer + 1024 * 768)
    with torch.device('meta'):
        tower = build_tower()
    assert sum(weight.numel() for weight in tower.parameters()) == expected == 303_966_208


@pytest.mark.parametrize('name', ['tiny', 'small'])
def test_towers_embed_at_their_input_size(name):
    tower = build_tower(name)
    side = TOWERS[name]['image_size']
    with torch.no_grad():
        embedding = tower(torch.zeros(2, 3, side, side)).image_embeds
    assert embedding.shape == (2, TOWERS[name]['projection_dim'])


def test_place_counts_from_the_start():
    """Two images of the same patches in another order differ about as much as two images do."""
    torch.manual_seed(0)
    tower = build_tower('tiny')
    image = torch.randn(1, 3, 8, 8, 8, 8)  # rows and columns of patches
    shuffled = image.flatten(2, 3)[:, :, torch.randperm(64)].view_as(image)
    images = torch.cat([image, shuffled, torch.randn_like(image)])
    with torch.no_grad():
        one, moved, other = tower(
            images.permute(0, 1, 2, 4, 3, 5).reshape(3, 3, 64, 64)).image_embeds
    assert (one - moved).norm() > 0.3 * (one - other).norm()


def test_a_tower_is_rebuilt_from_its_description():
    description = describe_tower(build_tower({**TINY, 'hidden_act': 'gelu'}))
    assert description.items() >= TINY.items()
    assert describe_tower(build_tower(description)) == description
    assert description['hidden_act'] == 'gelu'


def test_saved_vision_towers_load(vision, tmp_path, monkeypatch):
    """By a path with an environment variable in it."""
    vision.save_pretrained(tmp_path / 'clip')
    monkeypatch.setenv('WHERE', str(tmp_path))
    loaded = build_tower(pretrained='${WHERE}/clip').state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in vision.state_dict().items())


def test_half_of_a_whole_clip_loads(tmp_path):
    """Repositories of CLIP hold both halves."""
    text = {'vocab_size': 99, 'hidden_size': 16, 'intermediate_size': 32, 'num_hidden_layers': 1,
            'num_attention_heads': 2, 'eos_token_id': 98, 'bos_token_id': 97, 'pad_token_id': 96}
    settings = {key: value for key, value in TINY.items() if key != 'projection_dim'}
    clip = transformers.CLIPModel(transformers.CLIPConfig(
        text_config={**text, 'projection_dim': 8},
        vision_config={**settings, 'projection_dim': 8}, projection_dim=8))
    clip.save_pretrained(tmp_path)
    loaded = build_tower(pretrained=str(tmp_path)).eval()
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        expected = clip.eval().get_image_features(pixels)
        expected = getattr(expected, 'pooler_output', expected)
        torch.testing.assert_close(loaded(pixels).image_embeds, expected)


def test_other_models_are_refused(tmp_path):
    config = transformers.ViTConfig(
        image_size=28, patch_size=14, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='CLIP.*lacks'):
        build_tower(pretrained=str(tmp_path))


def test_a_tower_for_other_channels_is_refused(tmp_path):
    config = transformers.CLIPVisionConfig(**TINY, num_channels=5)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='5 channels.*3'):
        build_tower(pretrained=str(tmp_path))


def test_pickled_weights_are_not_read(vision, tmp_path):
    vision.save_pretrained(tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    torch.save(vision.state_dict(), tmp_path / 'pytorch_model.bin')
    with pytest.raises(FileNotFoundError, match='safetensors'):
        build_tower(pretrained=str(tmp_path))


@pytest.mark.parametrize('arguments, message', [
    ({'tower': 'huge'}, "tower: .*tiny, small, base, got 'huge'"),
    ({'tower': {'hidden': 5}}, "tower.*'hidden'"),
    ({'tower': 'tiny', 'pretrained': 'x'}, 'tower or pretrained, got both'),
])
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_tower(**arguments)
