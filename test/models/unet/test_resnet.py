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

"""The ResNet encoder against the one in transformers, and against published figures."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file
from sync_perception.models.unet.resnet import read_weights, ResNet
import torch
from torch import nn


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


def stir(module: nn.Module) -> nn.Module:
    """Give every batch norm other statistics and weights than the fresh ones."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.3, 0.8)
            nn.init.normal_(norm.bias, std=0.1)
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def transformers_resnet(kind: str, **changes):
    """Build the same network in transformers, at its published widths."""
    transformers = pytest.importorskip('transformers')
    sizes = {
        'resnet18': {'layer_type': 'basic', 'hidden_sizes': [64, 128, 256, 512],
                     'depths': [2, 2, 2, 2]},
        'resnet50': {'layer_type': 'bottleneck', 'hidden_sizes': [256, 512, 1024, 2048],
                     'depths': [3, 4, 6, 3]},
    }
    config = transformers.ResNetConfig(
        **sizes[kind], downsample_in_bottleneck=False, num_labels=2)
    for name, value in changes.items():
        setattr(config, name, value)
    return stir(transformers.ResNetForImageClassification(config))


def torchvision_file(path, drop: tuple[str, ...] = (), **more: torch.Tensor):
    """Write a ResNet-18 as torchvision publishes it, with a classifier; return its encoder."""
    encoder = stir(ResNet('resnet18'))
    weights = {name: tensor for name, tensor in encoder.state_dict().items() if name not in drop}
    weights |= {'fc.weight': torch.zeros(1000, 512), 'fc.bias': torch.zeros(1000), **more}
    if path.suffix == '.safetensors':
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return encoder


@pytest.mark.parametrize('kind, parameters, classifier_inputs', [
    ('resnet18', 11_689_512, 512),
    ('resnet50', 25_557_032, 2048),
    ('resnet101', 44_549_160, 2048),
])
def test_parameters_are_those_of_the_published_networks(kind, parameters, classifier_inputs):
    """With torchvision's counts, which include 1000 classes; the same when dilated."""
    with torch.device('meta'):
        networks = ResNet(kind), ResNet(kind, dilated=True)
    for network in networks:
        encoder = sum(parameter.numel() for parameter in network.parameters())
        assert encoder + 1000 * (classifier_inputs + 1) == parameters


@pytest.mark.parametrize('kind', ['resnet18', 'resnet50'])
def test_features_equal_transformers_whose_folder_loads(kind, tmp_path):
    """Every stage's feature, with the weights that the other library wrote."""
    reference = transformers_resnet(kind)
    reference.save_pretrained(tmp_path)
    encoder = ResNet(kind, pretrained=str(tmp_path)).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = reference(image, output_hidden_states=True).hidden_states
        features = encoder(image)
    assert len(expected) == 5
    for feature, other, channels, stride in zip(
            features[1:], expected[1:], encoder.channels[1:], encoder.strides[1:]):
        assert feature.shape == (2, channels, 64 // stride, 96 // stride)
        torch.testing.assert_close(feature, other, atol=1e-4, rtol=1e-4)
    pooled = nn.functional.max_pool2d(features[0], 3, 2, 1)
    torch.testing.assert_close(pooled, expected[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kind', ['resnet18', 'resnet50'])
def test_dilated_it_computes_the_same_on_every_second_pixel(kind):
    """What dilation is for: the same function, more densely sampled."""
    encoder, dilated = stir(ResNet(kind)), ResNet(kind, dilated=True).eval()
    dilated.load_state_dict(encoder.state_dict())
    image = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        *skips, coarsest = encoder(image)
        *dilated_skips, finer = dilated(image)
    assert finer.shape[-2:] == (6, 4)
    assert dilated.strides == (2, 4, 8, 16, 16)
    torch.testing.assert_close(finer[..., ::2, ::2], coarsest, atol=1e-4, rtol=1e-4)
    for own, other in zip(skips, dilated_skips):
        assert torch.equal(own, other)


@pytest.mark.parametrize('name', ['resnet18.pth', 'resnet18.safetensors'])
def test_files_under_torchvisions_names_load(name, tmp_path, monkeypatch):
    """The classifier is left; variables are expanded; old files lack batch counters."""
    monkeypatch.setenv('CHECKPOINTS', str(tmp_path))
    encoder = torchvision_file(tmp_path / name, drop=('bn1.num_batches_tracked',))
    loaded = ResNet('resnet18', pretrained=f'$CHECKPOINTS/{name}').eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for own, other in zip(loaded(image), encoder(image)):
            assert torch.equal(own, other)


def test_two_equal_images_look_like_one_to_repeated_weights(tmp_path):
    """The first convolution is repeated and halved, so that activations keep their size."""
    encoder = torchvision_file(tmp_path / 'resnet18.pth')
    pair = ResNet('resnet18', in_channels=6, pretrained=str(tmp_path / 'resnet18.pth')).eval()
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            pair(torch.cat([image, image], dim=1))[-1], encoder(image)[-1],
            atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    """Missing, unknown and misshapen tensors are each named."""
    path = tmp_path / 'other.pth'
    torchvision_file(path, drop=('layer3.0.conv1.weight',), **{
        'head.weight': torch.zeros(3), 'bn1.bias': torch.zeros(32)})
    with pytest.raises(ValueError, match=(
            r'layer3\.0\.conv1\.weight.*head\.weight.*bn1\.bias \(32,\).*\(64,\)')):
        ResNet('resnet18', pretrained=str(path))
    torchvision_file(path)
    with pytest.raises(ValueError, match=r'layer1\.0\.bn3\.bias.*\d+'):
        ResNet('resnet50', pretrained=str(path))
    with pytest.raises(ValueError, match=r'conv1\.weight \(64, 3, 7, 7\) for \(64, 4, 7, 7\)'):
        ResNet('resnet18', in_channels=4, pretrained=str(path))


def test_a_network_that_strides_elsewhere_is_refused(tmp_path):
    """Its weights have the same names and shapes, and mean another function."""
    transformers_resnet('resnet18', downsample_in_bottleneck=True).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='downsample_in_bottleneck'):
        read_weights(str(tmp_path))


def test_what_holds_no_weights_is_refused(tmp_path):
    """Neither a missing file, nor code in a pickle, nor other content is a checkpoint."""
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_weights(str(tmp_path / 'nowhere.pth'))
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_weights(str(tmp_path / 'nowhere'))
    torch.save(nn.Linear(1, 1), tmp_path / 'pickled.pth')
    (tmp_path / 'text.safetensors').write_text('no weights')
    for name in ('pickled.pth', 'text.safetensors'):
        with pytest.raises(ValueError, match=f'{name}:'):
            read_weights(str(tmp_path / name))
    torch.save([torch.zeros(1)], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='list'):
        read_weights(str(tmp_path / 'list.pth'))


def test_an_unknown_kind_is_refused():
    """The message lists the known ones."""
    with pytest.raises(ValueError, match="'resnet34':.*resnet18, resnet50"):
        ResNet('resnet34')
