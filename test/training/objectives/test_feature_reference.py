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

"""The features of the pretrained encoder: kept as they were, whatever the network learns."""

from __future__ import annotations

import pytest
from small_batches import batch, TINY
from sync_perception.models import build_model, ModelConfig
from sync_perception.training.loop.pretrained_parts import Origin
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.feature_reference import FeatureReference
from sync_perception.training.objectives.self_supervised import SelfSupervisedConfig
import torch
from zoo import build

PRETRAINED = {'pretrained': 'somewhere'}
HELD = Objectives(self_supervised=SelfSupervisedConfig(feature_distance=0.01))


@pytest.mark.parametrize('name, arguments', [
    ('padnet', PRETRAINED), ('mobile_unet', {'depth': PRETRAINED}),
    ('depth_alone', {'depth': PRETRAINED})])
def test_the_distance_is_zero_until_the_encoder_learns(name, arguments):
    network = build(name).eval().network
    reference = FeatureReference(network, arguments)
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    assert reference.distance(network, image).item() == pytest.approx(0, abs=1e-6)
    encoder = network.encoder if name == 'padnet' else network.depth.encoder
    with torch.no_grad():
        for weight in encoder.parameters():
            weight += 0.05 * weight.std(correction=0)
    moved = reference.distance(network, image)
    assert moved > 1e-3
    moved.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in encoder.parameters())
    assert not any(weight.requires_grad for weight in reference.part.parameters())


@pytest.mark.parametrize('name, arguments', [
    ('padnet', PRETRAINED), ('depth_alone', {'depth': PRETRAINED})])
def test_a_network_that_learns_has_no_distance_by_its_batches_alone(name, arguments):
    """Statistics of the batch and dropout do not count, and are left as they were."""
    network = build(name).train().network
    reference = FeatureReference(network, arguments)
    buffers = {key: value.clone() for key, value in network.named_buffers()}
    modes = {key: module.training for key, module in network.named_modules()}
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 3
    assert reference.distance(network, image).item() == pytest.approx(0, abs=1e-6)
    assert modes == {key: module.training for key, module in network.named_modules()}
    assert all(torch.equal(value, buffers[key]) for key, value in network.named_buffers())


def test_the_distance_by_its_definition():
    network = build('padnet').eval().network
    reference = FeatureReference(network, PRETRAINED)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    before = network.encode(image)[-1]
    with torch.no_grad():
        for weight in network.encoder.parameters():
            weight *= 1.1
    expected = (network.encode(image)[-1] - before).square().sum(dim=1).sqrt().mean()
    torch.testing.assert_close(reference.distance(network, image), expected)


def test_encoders_that_were_not_pretrained_are_refused():
    with pytest.raises(ValueError, match='`pretrained`.*kind'):
        SynchronisedLearning('sync', {'depth': TINY, 'semantics': None}, objectives=HELD)
    with pytest.raises(ValueError, match='RefineNet'):
        FeatureReference(build('refinenet').network, PRETRAINED)
    with pytest.raises(ValueError, match='an encoder for depth'):
        FeatureReference(build('semantics_alone').network, {})


def test_the_reference_comes_from_the_pretrained_weights_not_from_what_training_starts_at(
        tmp_path):
    """Stage B starts from stage A's model, whose features may be anywhere."""
    from sync_perception.models import hub
    from sync_perception.models.unet.resnet import ResNet
    torch.manual_seed(0)
    weights = tmp_path / 'resnet18.pth'
    torch.save(ResNet('resnet18').state_dict(), weights)
    arguments = {'backbone': 'resnet18', 'channels': [8, 8, 16, 16, 16],
                 'pretrained': str(weights)}
    first = build_model(ModelConfig('padnet', arguments, build('padnet').config.label_space))
    with torch.no_grad():
        for weight in first.network.encoder.parameters():
            weight *= 1.2
    hub.save(first, tmp_path / 'first')
    module = SynchronisedLearning(
        'padnet', arguments, initial={'encoder': Origin(str(tmp_path / 'first'))},
        objectives=HELD).eval()
    image = module.normalised(batch()['image'])
    features = module.objectives['self_supervised'].features
    assert features.distance(module.model.network, image) > 0.01
    assert not any('features' in name for name in module.state_dict())
    again = SynchronisedLearning('padnet', arguments, objectives=HELD).eval()
    features = again.objectives['self_supervised'].features
    assert features.distance(again.model.network, image).item() == pytest.approx(0, abs=1e-6)
