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


"""Pretrained depth models as branches, against the transformers library's own forward pass."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.models import build_branch
from tiny import DEPTH, save_depth
import torch

# height and width that suit each model: the library's DPT takes squares alone
SIZES = {
    'depth_anything': (56, 84), 'depth_anything_relative': (56, 84), 'dpt': (96, 96),
    'dpt_hybrid': (64, 64), 'dpt_dinov2': (56, 112), 'dpt_swinv2': (64, 96), 'glpn': (64, 96),
    'zoedepth': (64, 96)}
RELATIVE = ('depth_anything_relative', 'dpt', 'dpt_hybrid', 'dpt_dinov2', 'dpt_swinv2')


def build(pretrained, **arguments):
    """Build a branch in evaluation mode."""
    return build_branch(1, 'transformers_depth', pretrained=str(pretrained), **arguments).eval()


@pytest.mark.parametrize('kind', sorted(DEPTH))
def test_depth_equals_the_library_s_to_the_bit(kind, tmp_path):
    """On two images of a size that suits the model."""
    reference = save_depth(tmp_path, kind)
    branch = build(tmp_path, metric=True) if kind in RELATIVE else build(tmp_path)
    height, width = SIZES[kind]
    image = torch.randn(2, 3, height, width)
    with torch.no_grad():
        expected = reference(pixel_values=image).predicted_depth
        features = branch.encode(image)
        depth = branch.decode(features)
    assert expected.std() > 1e-3 * expected.abs().mean()
    assert torch.equal(depth[:, 0], expected.clamp(min=1e-3))
    assert tuple(feature.shape[1] for feature in features) == branch.channels
    for feature, stride in zip(features, branch.strides):
        assert feature.shape[2] == pytest.approx(height / stride, rel=0.15)


@pytest.mark.parametrize('kind', ['depth_anything_relative', 'dpt'])
def test_a_scale_makes_metres_of_inverse_depth(kind, tmp_path):
    """Depth is scale / (raw + shift); where raw and shift are nothing it is very far."""
    reference = save_depth(tmp_path, kind)
    image = torch.randn(1, 3, *SIZES[kind])
    with torch.no_grad():
        raw = reference(pixel_values=image).predicted_depth.numpy()
        depth = build(tmp_path, scale=30.0, shift=0.2)(image)[:, 0].numpy()
        unshifted = build(tmp_path, scale=30.0)(image)[:, 0].numpy()
    np.testing.assert_allclose(depth, 30.0 / (raw + 0.2), rtol=1e-5)
    np.testing.assert_allclose(unshifted, 30.0 / np.maximum(raw, 0.03), rtol=1e-5)


@pytest.mark.parametrize('kind', RELATIVE)
def test_relative_depth_is_refused_without_a_scale(kind, tmp_path):
    """The message says what the model gives and what to do."""
    save_depth(tmp_path, kind)
    with pytest.raises(ValueError, match=r'/ \(raw \+ shift\)'):
        build(tmp_path)


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'scale': 3.0}, 'already gives metres'),
    ({'scale': -1.0, 'metric': False}, 'above 0'),
    ({'config': DEPTH['glpn']}, 'either config or pretrained'),
    ({'mean': [0.0] * 3}, 'mean and std or neither'),
])
def test_contradictions_are_refused(arguments, message, tmp_path):
    """Of a metric model."""
    save_depth(tmp_path, 'glpn')
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **arguments)


def test_other_models_and_other_outputs_are_refused(tmp_path):
    """What has no branch, several heads, or is asked for normals."""
    with pytest.raises(ValueError, match="'vit'"):
        build_branch(1, 'transformers_depth', config={'model_type': 'vit'})
    with pytest.raises(ValueError, match='1 .*4'):
        build_branch(4, 'transformers_depth', config=DEPTH['glpn'])
    heads = [{'name': name, 'n_bins': 8, 'min_depth': 0.1, 'max_depth': 10.0}
             for name in ('nyu', 'kitti')]
    several = {
        **DEPTH['zoedepth'], 'bin_configurations': heads, 'num_patch_transformer_layers': 1,
        'patch_transformer_hidden_size': 8, 'patch_transformer_intermediate_size': 8,
        'patch_transformer_num_attention_heads': 1}
    with pytest.raises(ValueError, match='one metric head, got 2'):
        build_branch(1, 'transformers_depth', config=several)


@pytest.mark.parametrize('kind', ['depth_anything', 'glpn'])
def test_an_image_of_any_size_is_seen_whole(kind, tmp_path):
    """Its map depends on its last row and column."""
    save_depth(tmp_path, kind)
    branch = build(tmp_path)
    image = torch.randn(1, 3, 61, 75, requires_grad=True)
    branch(image).sum().backward()
    assert (image.grad.abs().sum(dim=1) > 0).all()


def test_resolved_arguments_rebuild_the_branch_without_its_folder(tmp_path):
    """Normalisation and scale included."""
    processor = {'do_normalize': True, 'image_mean': [0.4, 0.5, 0.6], 'image_std': [0.2, 0.3, 0.4]}
    save_depth(tmp_path, 'dpt', **processor)
    arguments = {'pretrained': str(tmp_path), 'scale': 5.0, 'shift': 0.3}
    branch = build_branch(1, 'transformers_depth', **arguments).eval()
    resolved = branch.resolved_arguments(arguments)
    assert 'pretrained' not in resolved
    rebuilt = build_branch(1, 'transformers_depth', **resolved).eval()
    rebuilt.load_state_dict(branch.state_dict())
    assert rebuilt.normalisation == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(rebuilt(image), branch(image))


@pytest.mark.parametrize('kind', sorted(DEPTH))
def test_only_the_backbone_freezes_and_all_else_learns(kind, tmp_path):
    """A frozen encoder gets no gradient; every other weight, the image's way, gets one."""
    config = DEPTH[kind]
    metric = True if kind in RELATIVE else None
    branch = build_branch(
        1, 'transformers_depth', freeze_encoder=True, config=config, metric=metric).train()
    branch(torch.randn(2, 3, *SIZES[kind])).square().mean().backward()
    for name, weight in branch.named_parameters():
        assert (weight.grad is None) == name.startswith('encoder.'), name
    whole = build_branch(1, 'transformers_depth', config=config, metric=metric).train()
    whole(torch.randn(2, 3, *SIZES[kind])).square().mean().backward()
    assert [name for name, weight in whole.named_parameters() if weight.grad is None] == []
