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


"""What holds for every architecture, whatever it is inside."""

from __future__ import annotations

import pytest
from sync_perception.models import hub
from sync_perception.models.interface import present_maps
import torch
from zoo import build, MODEL_ZOO


@pytest.fixture(params=sorted(MODEL_ZOO))
def model(request):
    """Build one small model after the other."""
    return build(request.param)


def test_save_and_load_give_the_same_maps_to_the_bit(model, tmp_path):
    """And the same config, with nothing left to fetch."""
    hub.save(model, tmp_path)
    loaded = hub.load(tmp_path)
    assert loaded.config == model.config
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = present_maps(model(image)), present_maps(loaded(image))
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


@pytest.mark.parametrize('size', [(64, 96), (50, 71)])
def test_maps_are_whole_fractions_of_any_image(model, size):
    """Two images, of a size that suits the network and of one that does not."""
    with torch.no_grad():
        maps = present_maps(model(torch.randn(2, 3, *size)))
    channels = {'depth': 1, 'logits': 20, 'normals': 3, 'log_variance': 1}
    for name, values in maps.items():
        factor = round(size[1] / values.shape[3])
        expected = (2, channels[name], *(-(-side // factor) for side in size))
        assert values.shape == expected, name
        assert torch.isfinite(values).all(), name
    assert 'depth' not in maps or (maps['depth'] > 0).all()


def test_every_weight_that_may_learn_gets_a_gradient(model):
    """And none that is frozen."""
    model.train()
    maps = present_maps(model(torch.randn(2, 3, 64, 96)))
    sum(values.float().square().mean() for values in maps.values()).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        if weight.grad is not None:
            assert torch.isfinite(weight.grad).all(), name
