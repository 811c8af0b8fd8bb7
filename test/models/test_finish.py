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

"""What changes a trained network's maps, and that it does so outside of training only."""

from __future__ import annotations

import math

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.finish import Finish, sharpened
from sync_perception.types import DenseOutput
from tiny_branch import TINY
import torch

FINISH = {'sharpen': 1.01, 'temperature': 2.0, 'deviation_scale': 3.0}


def test_a_ramp_between_two_surfaces_becomes_a_step():
    """A wall at 20 m behind a car at 10 m: what hung between them belongs to one of the two."""
    row = torch.tensor([10.0, 10, 10, 12, 17, 20, 20, 20])
    result = sharpened(row.expand(1, 1, 5, -1), 1.3)
    expected = torch.tensor([10.0, 10, 10, 10, 20, 20, 20, 20])
    torch.testing.assert_close(result, expected.expand(1, 1, 5, -1))


def test_slopes_below_the_ratio_stay_as_they_are():
    """A road that rises to the horizon has no border."""
    road = 1.1 ** torch.arange(24.0).reshape(1, 1, -1, 1).expand(1, 1, 24, 6)
    torch.testing.assert_close(sharpened(road, 1.3), road, rtol=0, atol=0)


def output() -> DenseOutput:
    """Return random maps."""
    generator = torch.Generator().manual_seed(0)
    maps = {name: torch.rand(1, channels, 8, 12, generator=generator) + 1
            for name, channels in (('depth', 1), ('logits', 4), ('log_variance', 1))}
    return DenseOutput(**maps)


def test_the_default_changes_nothing():
    maps = output()
    assert Finish()(maps).maps() == maps.maps()


def test_the_temperature_keeps_labels_and_lowers_confidence():
    before, after = output(), Finish(temperature=2.0)(output())
    assert torch.equal(before.logits.argmax(1), after.logits.argmax(1))
    sure = [maps.logits.softmax(1).amax(1) for maps in (before, after)]
    assert (sure[1] < sure[0]).all()


def test_the_deviation_is_scaled():
    before, after = output(), Finish(deviation_scale=1.5)(output())
    torch.testing.assert_close(
        (after.log_variance / 2).exp(), 1.5 * (before.log_variance / 2).exp())


def test_a_model_finishes_its_maps_outside_of_training_only():
    torch.manual_seed(0)
    config = ModelConfig(
        'sync', {'depth': TINY, 'semantics': TINY, 'uncertainty': True},
        LabelSpace.load('driving').to_dict(), finish=FINISH)
    model = build_model(config).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = Finish(**FINISH)(model.network(image)).maps(), model(image).maps()
        assert all(torch.equal(found[name], values) for name, values in expected.items())
        assert not torch.equal(found['depth'], model.network(image).depth)
        model.network.eval()
        model.training = True
        plain = model.network(image).maps()
        assert all(torch.equal(model(image).maps()[name], plain[name]) for name in plain)


@pytest.mark.parametrize(('key', 'value'), [
    ('sharpen', 1.0), ('sharpen', math.nan), ('temperature', 0.0), ('deviation_scale', -1.0)])
def test_values_out_of_range_are_refused(key, value):
    with pytest.raises(ValueError, match=f'{key}, got {value}'):
        Finish(**{key: value})
    config = {'architecture': 'sync', 'arguments': {}, 'finish': {key: value},
              'label_space': LabelSpace.load('driving').to_dict()}
    with pytest.raises(ValueError, match=key):
        ModelConfig.from_dict(config)


def test_unknown_keys_are_refused():
    with pytest.raises(ValueError, match='blur'):
        ModelConfig.from_dict({
            'architecture': 'sync', 'arguments': {}, 'finish': {'blur': 2.0},
            'label_space': LabelSpace.load('driving').to_dict()})
