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


"""Parts of networks start from parts that learned before."""

from __future__ import annotations

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub
from sync_perception.models.config import ModelConfig
from sync_perception.resources import config_folder, default_model_folder
from sync_perception.training.loop.pretrained_parts import Origin, start_from
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.recipes import load_recipe
import torch

BRANCH = {'kind': 'unet', 'dim': 8, 'multipliers': [1]}


def network(seed, **arguments):
    torch.manual_seed(seed)
    return build_model(ModelConfig(
        'sync', {'depth': BRANCH, 'semantics': BRANCH, **arguments},
        LabelSpace.load('kitti6').to_dict(), input_pixels=64 * 64))


@pytest.fixture
def earlier(tmp_path):
    """Save a depth network as a model folder; return the network and the folder."""
    model = network(0, semantics=None)
    hub.save(model, tmp_path / 'earlier')
    return model.network, str(tmp_path / 'earlier')


def differing(part, other):
    """Name the weights of a part that another has not."""
    others = other.state_dict()
    return {name for name, weight in part.state_dict().items()
            if weight.shape != others[name].shape or not torch.equal(weight, others[name])}


def test_a_branch_starts_from_the_branch_of_its_name(earlier):
    donor, folder = earlier
    fresh = network(1).network
    assert differing(fresh.depth, donor.depth)
    semantics = {name: weight.clone() for name, weight in fresh.semantics.state_dict().items()}
    start_from(fresh, {'depth': Origin(folder)})
    assert not differing(fresh.depth, donor.depth)
    assert all(torch.equal(weight, semantics[name])
               for name, weight in fresh.semantics.state_dict().items())


def test_another_tasks_head_starts_anew(earlier):
    donor, folder = earlier
    fresh = network(1).network
    head = {f'head.{name}' for name in fresh.semantics.head.state_dict()}
    start_from(fresh, {'semantics': Origin(folder, part='depth', leave=('head',))})
    changed = differing(fresh.semantics, donor.depth)
    assert changed <= head and 'head.1.weight' in changed


@pytest.mark.parametrize(('origin', 'message'), [
    ({}, r"'semantics'.*depth"),
    ({'part': 'depth'}, r'head\.1\.weight is \(1, 8, 1, 1\), expected \(6, 8, 1, 1\); 1 other'),
    ({'part': 'depth', 'leave': ('haed',)}, "has no part 'haed'"),
])
def test_what_does_not_fit_is_refused(earlier, origin, message):
    fresh = network(1).network
    before = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        start_from(fresh, {'semantics': Origin(earlier[1], **origin)})
    assert all(torch.equal(weight, before[name]) for name, weight in fresh.state_dict().items())


def test_a_part_that_the_network_lacks(earlier):
    with pytest.raises(ValueError, match="'normals'"):
        start_from(network(1).network, {'normals': Origin(earlier[1])})


def test_the_shipped_model_is_the_default():
    shipped = hub.load(default_model_folder(), torch.device('cpu'))
    fresh = build_model(shipped.config).network
    start_from(fresh, {name: Origin('default') for name, _ in fresh.named_children()
                       if next(fresh.get_submodule(name).parameters(), None) is not None})
    assert not differing(fresh, shipped.network)


def test_a_training_starts_there(earlier):
    donor, folder = earlier
    learning = SynchronisedLearning(
        'sync', {'depth': BRANCH, 'semantics': BRANCH}, {'depth': Origin(folder)},
        label_space='kitti6')
    assert not differing(learning.model.network.depth, donor.depth)


def test_a_second_stage_starts_from_all_that_gives_depth():
    """The second stage's first depth is the first stage's last."""
    recipe = load_recipe(config_folder() / 'train' / 'self_supervised_stage_b.yaml')
    model = build_model(ModelConfig(
        'padnet', {'backbone': 'resnet18', 'channels': [8, 8, 16, 16, 16]},
        LabelSpace.load('kitti6').to_dict(), input_pixels=64 * 64))
    network = model.network.train()
    for weight in network.semantics_to_depth.parameters():
        torch.nn.init.ones_(weight)
    sum(disparity.sum() for disparity in network.disparities(torch.rand(2, 3, 64, 64))).backward()
    taught = {name for name, part in network.named_children()
              if any(weight.grad is not None for weight in part.parameters())}
    assert set(recipe['model']['initial']) == taught
