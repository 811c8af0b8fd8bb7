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

"""UNets around the library's backbones: the features are the library's, the rest is learned."""

from __future__ import annotations

import json

import pytest
from sync_perception.models import build_branch, build_model, hub, ModelConfig
import torch
from torch.nn import functional

transformers = pytest.importorskip('transformers')

FAMILIES = {
    'convnextv2': {'hidden_sizes': [8, 12, 16, 24], 'depths': [1, 1, 2, 1]},
    'swin': {
        'embed_dim': 8, 'depths': [2, 1, 2, 1], 'num_heads': [1, 2, 2, 4], 'window_size': 4,
        'image_size': 64},
    'resnet': {
        'embedding_size': 8, 'hidden_sizes': [8, 12, 16, 24], 'depths': [1, 1, 1, 1],
        'layer_type': 'basic'},
    'dinov2': {
        'hidden_size': 16, 'num_hidden_layers': 6, 'image_size': 70, 'num_attention_heads': 2},
}
WIDTHS = [6, 8, 10, 12]
OUT_FEATURES = {'dinov2': ['stage1', 'stage3', 'stage4', 'stage6']}
STAGES = ['stage1', 'stage2', 'stage3', 'stage4']


def describe(family: str) -> dict:
    """Return a tiny config of a family."""
    return {'model_type': family, **FAMILIES[family]}


def build(**arguments):
    """Build a branch with three output channels, the same weights each time."""
    torch.manual_seed(0)
    return build_branch(3, 'backbone_unet', **{'widths': WIDTHS, **arguments}).eval()


@pytest.mark.parametrize('family', FAMILIES)
def test_pretrained_features_are_the_librarys(family, tmp_path):
    """Through save_pretrained, from the backbone alone."""
    torch.manual_seed(1)
    names = OUT_FEATURES.get(family, STAGES)
    reference = transformers.AutoBackbone.from_config(transformers.AutoConfig.for_model(
        family, **FAMILIES[family], out_features=names)).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # else layer scales and biases are trivial
    reference.save_pretrained(tmp_path)
    branch = build(pretrained=str(tmp_path))
    image = torch.randn(2, 3, 64, 96)
    seen = image
    if family == 'dinov2':  # 4 x 6 patches of 14 pixels
        seen = functional.interpolate(image, size=(56, 84), mode='bilinear', align_corners=False)
    with torch.no_grad():
        expected = reference(seen).feature_maps
        found = branch.encoder(seen).feature_maps
        features = branch.encode(image)
    for own, theirs in zip(found, expected, strict=True):
        assert torch.equal(own, theirs)
    if family == 'dinov2':
        with torch.no_grad():
            assert torch.equal(
                features[2], branch.pyramid.project[2](expected[2]))  # the one not resampled
    else:
        for own, theirs in zip(features, expected, strict=True):
            assert torch.equal(own, theirs)


@pytest.mark.parametrize('family', FAMILIES)
def test_classifiers_give_their_encoder(family, tmp_path):
    torch.manual_seed(2)
    classifier = transformers.AutoModelForImageClassification.from_config(
        transformers.AutoConfig.for_model(family, **FAMILIES[family], num_labels=7))
    classifier.save_pretrained(tmp_path)
    encoder = build(pretrained=str(tmp_path)).encoder
    weights = classifier.base_model.state_dict()
    checked = 0
    for name, values in encoder.state_dict().items():
        name = name.removeprefix(f'{family}.')
        if not name.startswith('hidden_states_norms.'):  # which no classifier has
            assert torch.equal(values, weights[name]), name
            checked += 1
    assert checked > 20


@pytest.mark.parametrize('family', FAMILIES)
def test_branch_keeps_its_word(family):
    """Its channels and strides are those of its features, whatever the image's size."""
    branch = build(config=describe(family))
    with torch.no_grad():
        features = branch.encode(torch.randn(2, 3, 96, 160))
        assert branch.decode(features).shape == (2, 3, 24, 40)
    assert branch.strides == (4, 8, 16, 32)
    assert branch.multiple == (16 if family == 'dinov2' else 32)
    assert [feature.shape for feature in features] == [
        (2, channels, 96 // stride, 160 // stride)
        for channels, stride in zip(branch.channels, branch.strides)]


@pytest.mark.parametrize('family', FAMILIES)
def test_a_saved_pair_needs_nothing_but_its_folder(family, tmp_path):
    """Pretrained in one branch, fresh in the other; odd images; nothing is read a second time."""
    pretrained = tmp_path / 'pretrained'
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(
        family, **FAMILIES[family])).save_pretrained(pretrained)
    space = {'name': 'two', 'classes': [
        {'name': 'road', 'color': [0, 0, 0]}, {'name': 'sky', 'color': [1, 1, 1]}]}
    branch = {'kind': 'backbone_unet', 'widths': WIDTHS}
    model = build_model(ModelConfig('sync', {
        'depth': {**branch, 'pretrained': str(pretrained)},
        'semantics': {**branch, 'config': describe(family)}}, space)).eval()
    hub.save(model, tmp_path / 'model')
    assert 'pretrained' not in (tmp_path / 'model' / 'config.json').read_text()
    for path in pretrained.iterdir():
        path.unlink()
    loaded = hub.load(tmp_path / 'model')
    image = torch.randn(1, 3, 50, 70)
    with torch.no_grad():
        assert torch.equal(loaded(image).depth, model(image).depth)
        assert torch.equal(loaded(image).logits, model(image).logits)
    assert loaded(image).depth.shape == (1, 1, 13, 18)


def test_four_blocks_of_a_plain_transformer_by_default():
    """A third of the way, two thirds, ...: of six blocks 1, 3, 4 and 6; others on demand."""
    branch = build(config=describe('dinov2'))
    assert branch.encoder.out_features == OUT_FEATURES['dinov2']
    fewer = build(config=describe('dinov2'), out_features=['stage2', 'stage5'], widths=[8, 8])
    assert fewer.encoder.out_features == ['stage2', 'stage5']
    assert fewer.strides == (16, 32)
    arguments = fewer.resolved_arguments({'kind': 'backbone_unet', 'widths': [8, 8]})
    again = build_branch(3, **arguments).eval()
    again.load_state_dict(fewer.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(image), fewer(image))


def test_patches_of_a_power_of_two_are_seen_as_they_are():
    branch = build(config={**describe('dinov2'), 'patch_size': 8, 'image_size': 64})
    assert branch.strides == (2, 4, 8, 16) and branch.multiple == 8
    with torch.no_grad():
        features = branch.encode(torch.randn(1, 3, 40, 64))
    assert [feature.shape[2:] for feature in features] == [(20, 32), (10, 16), (5, 8), (3, 4)]


@pytest.mark.parametrize('family', FAMILIES)
def test_all_weights_learn_but_those_without_use(family):
    branch = build(config=describe(family)).train()
    branch(torch.randn(2, 3, 64, 64)).square().mean().backward()
    still = {'dinov2': ['encoder.embeddings.mask_token'],
             'swin': ['encoder.swin.layernorm.weight', 'encoder.swin.layernorm.bias']}
    assert [name for name, parameter in branch.named_parameters()
            if parameter.grad is None] == still.get(family, [])
    assert [name for name, parameter in branch.named_parameters()
            if not parameter.requires_grad] == still.get(family, [])


@pytest.mark.parametrize('family', FAMILIES)
def test_a_frozen_encoder_stays_as_it_is(family):
    branch = build(config=describe(family), freeze_encoder=True).train()
    before = {name: value.clone() for name, value in branch.encoder.state_dict().items()}
    branch(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad is None for parameter in branch.encoder.parameters())
    assert all(parameter.grad is not None for name, parameter in branch.named_parameters()
               if not name.startswith('encoder.'))
    assert all(torch.equal(value, before[name])
               for name, value in branch.encoder.state_dict().items())


def test_the_folders_normalisation_is_the_branchs(tmp_path):
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(
        'resnet', **FAMILIES['resnet'])).save_pretrained(tmp_path)
    assert build(pretrained=str(tmp_path)).normalisation == (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(
        {'image_mean': [0.5, 0.4, 0.3], 'image_std': [0.1, 0.2, 0.3]}))
    assert build(pretrained=str(tmp_path)).normalisation == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))


@pytest.mark.parametrize('arguments, message', [
    ({}, 'either config or pretrained'),
    ({'config': {'model_type': 'bert'}}, "no backbone of the kind 'bert'"),
    ({'config': {'model_type': 'squeezenet'}}, "no model_type 'squeezenet'"),
    ({'config': describe('resnet'), 'out_features': ['stage2', 'stage9']},
     "some of .*'stage4'.*in this order, got .*'stage9'"),
    ({'config': describe('resnet'), 'widths': [8, 8]}, 'each of the 4 features'),
    ({'config': {'model_type': 'hiera', 'embed_dim': 8, 'num_heads': [1, 1, 1, 1]}},
     'images of any size'),
])
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_foreign_weights_are_refused(tmp_path):
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(
        'resnet', **FAMILIES['resnet'])).save_pretrained(tmp_path)
    (tmp_path / 'config.json').write_text(json.dumps(describe('convnextv2')))
    with pytest.raises(ValueError, match='the weights do not fit'):
        build(pretrained=str(tmp_path))
