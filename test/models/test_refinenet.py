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


"""Light-Weight RefineNet: the paper's sizes, its training, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.interface import Interface
from sync_perception.models.refinenet import ChainedResidualPooling, RefineBranch, RefineNet
from sync_perception.models.unet.mobilenet import MobileNetV2
import torch
from torch.utils.flop_counter import FlopCounterMode


def parameters(module):
    """Count a module's weights."""
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize('classes, expected', [(6, 2_991_687), (40, 3_070_057)])
def test_it_has_as_many_parameters_as_published(classes, expected):
    assert parameters(RefineNet(Interface(classes))) == expected


def test_a_task_costs_two_small_layers():
    """256 scales and a 3x3 convolution with bias: 7,171 for normals, 2,561 for uncertainty."""
    two = parameters(RefineNet(Interface(6)))
    assert parameters(RefineNet(Interface(6), normals=True)) - two == 256 + 3 * 256 * 9 + 3
    assert parameters(RefineNet(Interface(6), uncertainty=True)) - two == 256 + 256 * 9 + 1


def test_it_computes_about_as_much_as_the_paper_says():
    """6.5 GFLOPs at 640x480 with 40 classes: 5.9 in convolutions, the rest mostly in poolings."""
    with torch.device('meta'):
        network = RefineNet(Interface(40)).eval()
        counter = FlopCounterMode(display=False)  # counts two for a multiplication and addition
        with counter, torch.no_grad():
            network(torch.zeros(1, 3, 480, 640))
    assert counter.get_total_flops() / 2 == pytest.approx(6.5e9, rel=0.1)


@pytest.mark.parametrize('depthwise', [False, True])
def test_a_chain_of_poolings_starts_near_the_identity(depthwise):
    torch.manual_seed(0)
    x = torch.rand(1, 256, 8, 8)
    with torch.no_grad():
        change = ChainedResidualPooling(depthwise)(x) - x
    assert 0 < change.norm() < 0.3 * x.norm()


def test_maps_have_a_quarter_of_any_size():
    network = RefineNet(Interface(5), normals=True, uncertainty=True).eval()
    with torch.no_grad():
        output = network(torch.randn(2, 3, 75, 97))
    assert output.depth.shape == output.log_variance.shape == (2, 1, 19, 25)
    assert output.logits.shape == (2, 5, 19, 25)
    torch.testing.assert_close(output.normals.norm(dim=1), torch.ones(2, 19, 25))


def test_depth_stays_within_the_range_unless_it_is_the_raw_map():
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 64)
    network = RefineNet(Interface(2, depth_range=(2.0, 9.0)), depth_form='log').eval()
    with torch.no_grad():
        network.heads['depth'][2].weight.mul_(1e4)
        within = network(image).depth
        network.depth_form = 'metres'
        raw = network(image).depth
    assert within.min() >= 2 and within.max() <= 9.001
    assert raw.min() < 0


@pytest.fixture
def folded(tmp_path):
    """Write random folded weights, as ImageNet's are distributed."""
    torch.manual_seed(0)
    path = tmp_path / 'folded.npz'
    np.savez(path, **{
        f'{index:03}.{name}': values.detach().numpy()
        for index, convolution in enumerate(MobileNetV2().convolutions())
        for name, values in convolution.named_parameters()})
    return path


def test_folded_weights_want_frozen_norms_and_their_own_normalisation(folded, monkeypatch):
    monkeypatch.setenv('WEIGHTS', str(folded.parent))
    with pytest.raises(ValueError, match='expected frozen_norm: true'):
        RefineNet(Interface(2), pretrained=str(folded))
    with pytest.raises(ValueError, match=r'\(0.4, 0.4, 0.4\)'):
        RefineNet(
            Interface(2, mean=(0.4, 0.4, 0.4)), pretrained=str(folded), frozen_norm=True)
    network = RefineNet(Interface(2), pretrained='$WEIGHTS/folded.npz', frozen_norm=True)
    with np.load(folded) as arrays:
        np.testing.assert_array_equal(
            network.encoder.convolutions()[2].weight.detach().numpy(), arrays['001.weight'])


def test_frozen_norms_keep_their_statistics_in_training(folded):
    """The encoder is the same function in training and evaluation; the rest learns."""
    arguments = {'pretrained': str(folded), 'frozen_norm': True}
    config = ModelConfig('refinenet', arguments, LabelSpace.load('kitti6').to_dict())
    model = build_model(config).train()
    assert model.config.arguments == {'frozen_norm': True}
    image = torch.randn(2, 3, 64, 64)
    trained = model(image)
    with torch.no_grad():
        evaluated = model.eval()(image)
    torch.testing.assert_close(trained.logits, evaluated.logits)
    trained.logits.sum().backward()
    assert model.network.encoder.stem[1].bias.grad is not None
    branch = RefineBranch(2, **arguments).train()
    assert not branch.encoder.stem[1].training
    assert RefineBranch(2).train().encoder.stem[1].training


def test_an_unknown_depth_form_is_refused():
    with pytest.raises(ValueError, match="'feet'"):
        RefineNet(Interface(2), depth_form='feet')
