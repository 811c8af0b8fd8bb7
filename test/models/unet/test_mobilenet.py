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

"""The MobileNetV2 encoder against the implementation in transformers; the branch's shapes."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.models.unet.mobilenet import MobileNetV2, MobileUNet
import torch


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return MobileNetV2().eval()


def test_features_equal_transformers(encoder):
    transformers = pytest.importorskip('transformers')
    config = transformers.MobileNetV2Config(
        tf_padding=True, finegrained_output=True, layer_norm_eps=1e-3)
    reference = transformers.MobileNetV2Model(config, add_pooling_layer=False).eval()
    units = [module for module in reference.modules()
             if type(module).__name__ == 'MobileNetV2ConvLayer'][:51]
    with torch.no_grad():
        for convolution, unit in zip(encoder.convolutions(), units):
            unit.convolution.weight.copy_(convolution.weight)
            norm = unit.normalization
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            norm.bias.copy_(convolution.bias)
        image = torch.randn(1, 3, 64, 96)
        expected = reference(image, output_hidden_states=True).hidden_states
        features = encoder(image)
    # after the blocks that end a stride; transformers counts the first block to its stem
    for feature, block in zip(features[1:], (2, 5, 12, 16)):
        torch.testing.assert_close(feature, expected[block - 1], atol=1e-4, rtol=1e-4)


def test_with_batch_norms_it_equals_transformers_too():
    """Padded on all sides, expanding also by 1, at an odd size; every stage is tapped."""
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    encoder = MobileNetV2(taps=range(7), normalised=True).eval()
    config = transformers.MobileNetV2Config(
        tf_padding=False, first_layer_is_expansion=False, finegrained_output=True,
        layer_norm_eps=1e-5)
    reference = transformers.MobileNetV2Model(config, add_pooling_layer=False).eval()
    units = [module for module in reference.modules()
             if type(module).__name__ == 'MobileNetV2ConvLayer'][:52]
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for convolution, norm, unit in zip(encoder.convolutions(), norms, units, strict=True):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 1.5)
            unit.convolution.load_state_dict(convolution.state_dict())
            unit.normalization.load_state_dict(norm.state_dict())
        image = torch.randn(1, 3, 75, 97)
        expected = reference(image, output_hidden_states=True).hidden_states
        features = encoder(image)
    assert encoder.strides == (2, 4, 8, 16, 16, 32, 32)
    for feature, block in zip(features[1:], (2, 5, 9, 12, 15, 16), strict=True):
        torch.testing.assert_close(feature, expected[block - 1], atol=1e-4, rtol=1e-4)


def test_folded_weights_mean_the_same_with_batch_norms(encoder, tmp_path):
    """The paddings differ by one pixel a stride: by 1 + 2 in the image at stride 4."""
    arrays = {f'{index:03}.{name}': values.detach().numpy()
              for index, convolution in enumerate(encoder.convolutions())
              for name, values in convolution.named_parameters()}
    np.savez(tmp_path / 'folded.npz', **arrays)
    normalised = MobileNetV2(normalised=True).eval()
    normalised.load_folded(tmp_path / 'folded.npz')
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        found = normalised(image)[1]
        expected = encoder(torch.nn.functional.pad(image, (3, 0, 3, 0)))[1]
    inner = slice(6, -6)
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])


def test_published_weights_fit_and_see(encoder, data_root):
    path = data_root / 'pretrained' / 'mobilenet_v2_1.0_imagenet_folded.npz'
    encoder.load_folded(path)
    with np.load(path) as arrays:
        np.testing.assert_array_equal(
            encoder.convolutions()[50].weight.detach().numpy(), arrays['050.weight'])
        assert '051.weight' in arrays.files  # the classifier's, left


def test_weights_of_another_network_are_refused(encoder, tmp_path):
    path = tmp_path / 'other.npz'
    np.savez(path, **{'000.weight': np.zeros((16, 3, 3, 3), np.float32)})
    with pytest.raises(ValueError, match=r'000.weight.*\(32, 3, 3, 3\).*\(16, 3, 3, 3\)'):
        encoder.load_folded(path)


@pytest.mark.parametrize('arguments', [{}, {'size': 'tiny', 'widths': [8, 8, 8, 8, 8]}])
def test_branch_keeps_its_word(arguments):
    branch = MobileUNet(out_channels=5, **arguments).eval()
    with torch.no_grad():
        features = branch.encode(torch.zeros(2, 3, 64, 96))
        assert branch.decode(features).shape == (2, 5, 32, 48)
    assert [feature.shape[1] for feature in features] == list(branch.channels)
    assert [64 // feature.shape[2] for feature in features] == list(branch.strides)


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="'huge'.*tiny, base"):
        MobileUNet(out_channels=1, size='huge')


def test_frozen_blocks_do_not_learn():
    branch = MobileUNet(out_channels=1, frozen_blocks=2)
    branch(torch.randn(1, 3, 64, 64)).sum().backward()
    frozen = [*branch.encoder.stem.parameters(), *branch.encoder.blocks[:2].parameters()]
    assert all(parameter.grad is None for parameter in frozen)
    assert all(parameter.grad is not None for parameter in branch.encoder.blocks[2:].parameters())
