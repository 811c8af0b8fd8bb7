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


"""Counted operations against counts by hand and a published one."""

from __future__ import annotations

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig, MODELS
from sync_perception.models.catalogue.cost import measure_cost, run_empty
from sync_perception.models.interface import Interface, Network
from sync_perception.types import DenseOutput
import torch
from torch import nn
from torch.nn import functional

SPACE = LabelSpace.load('driving').to_dict()
MOBILE = {'kind': 'mobile_unet', 'widths': [8, 16, 16, 24, 32]}


class Small(Network):
    """A strided convolution, and attention of its pixels to one another."""

    multiple = 8

    def __init__(self, interface: Interface):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, image_b3hw):
        """Return the attention's first channel as depth."""
        x = self.convolution(image_b3hw)
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        mixed = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return DenseOutput(depth=mixed[:, 0, :, :1].transpose(1, 2).reshape(x[:, :1].shape))


def test_operations_are_those_counted_by_hand(monkeypatch):
    """A multiply-add is two; padding to the network's multiple is paid for."""
    monkeypatch.setitem(MODELS, 'small', Small)
    cost = measure_cost(ModelConfig('small', {}, SPACE), [(16, 24), (13, 24)])
    pixels = 8 * 12
    convolution = 2 * pixels * 4 * 3 * 3 * 3
    attention = 2 * (2 * pixels * pixels * 4)  # queries with keys, then shares with values
    assert cost.flops == {(16, 24): convolution + attention, (13, 24): convolution + attention}
    assert cost.parameters == 3 * 3 * 3 * 4 + 4
    assert cost.tasks == ('depth',)


@pytest.mark.parametrize('space, size, published', [
    ('nyud40', (480, 640), 6.49e9), ('kitti6', (350, 1200), 6.45e9)])
def test_refinenet_costs_what_its_authors_say(space, size, published):
    """They count multiply-adds, and more than convolutions: half of ours is up to a tenth less."""
    config = ModelConfig('refinenet', {}, LabelSpace.load(space).to_dict())
    assert 0.9 < measure_cost(config, [size]).flops[size] / 2 / published < 1


def test_couplings_that_are_off_are_not_counted():
    """Uncoupled, a network has the parameters and operations of its two branches."""
    def cost(**arguments):
        return measure_cost(ModelConfig('sync', arguments, SPACE), [(64, 96)])
    both = cost(depth=MOBILE, semantics=MOBILE, depth_to_semantics=False,
                semantics_to_depth=False)
    alone = cost(depth=MOBILE, semantics=None), cost(depth=None, semantics=MOBILE)
    assert both.parameters == sum(part.parameters for part in alone)
    assert both.flops[64, 96] == sum(part.flops[64, 96] for part in alone)
    assert cost(depth=MOBILE, semantics=MOBILE).parameters > both.parameters


def test_parameters_are_those_of_the_saved_file(tmp_path):
    """A network without batch norms saves its parameters and nothing else."""
    config = ModelConfig('sync', {'depth': {'kind': 'unet', 'size': 'tiny'}, 'semantics': None},
                         SPACE)
    hub.save(build_model(config), tmp_path)
    size = (tmp_path / 'model.safetensors').stat().st_size
    assert size == pytest.approx(4 * measure_cost(config, []).parameters, rel=0.02)


def test_nothing_is_computed():
    """The weights have no memory, and the model given away may be large."""
    config = ModelConfig('padnet', {'backbone': 'resnet101'}, SPACE)
    with torch.device('meta'):
        model = build_model(config)
    assert {weight.device.type for weight in model.parameters()} == {'meta'}
    assert run_empty(model, [(64, 96)]).parameters > 8e7
