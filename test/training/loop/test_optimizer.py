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

"""Learning rates: of encoders, of their layers, over the steps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from small_batches import TINY
from sync_perception.training.loop.optimizer import (
    distances_from_top,
    of_encoder,
    OptimizerConfig,
    warm_cosine,
)
from sync_perception.training.module import SynchronisedLearning
import zoo


def test_learning_rate_rises_and_falls():
    assert [warm_cosine(x, 0.1) for x in (0, 0.05, 0.1, 0.55, 1.0)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize('arguments, encoders, others', [
    ({'depth': TINY, 'semantics': TINY}, True, True),
    ({'depth': {**TINY, 'freeze_encoder': True}, 'semantics': None}, False, True),
    ({'depth': {'kind': 'unet', 'block': 'resnet', 'size': 'tiny'}, 'semantics': None},
     False, True),
])
def test_encoders_learn_at_their_own_rate(arguments, encoders, others):
    """Each group only where it has something to learn, and everything that learns in one."""
    module = SynchronisedLearning('sync', arguments)
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = module.configure_optimizers()['optimizer']
    rates = {parameter: group['initial_lr'] for group in optimizer.param_groups
             for parameter in group['params']}
    for name, parameter in module.model.named_parameters():
        expected = None
        if parameter.requires_grad:
            expected = 2e-4 if '.encoder.' in name else 1e-3
        assert rates.get(parameter) == expected, name
    assert (2e-4 in rates.values()) == encoders
    assert (1e-3 in rates.values()) == others


def test_parts_learn_slowly_or_not_at_all():
    """The innermost factor counts; what is frozen is in no group and gets no gradient."""
    module = SynchronisedLearning(
        'sync', {'depth': TINY, 'semantics': TINY},
        optimizer=OptimizerConfig(factors={'semantics': 0.1, 'semantics.encoder': 0.0}))
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = module.configure_optimizers()['optimizer']
    rates = {parameter: group['initial_lr'] for group in optimizer.param_groups
             for parameter in group['params']}
    for name, parameter in module.model.network.named_parameters():
        if name.startswith('semantics.encoder.'):
            assert not parameter.requires_grad and parameter not in rates, name
        elif name.startswith('semantics.'):
            assert rates[parameter] == pytest.approx(1e-4), name
        else:
            assert rates[parameter] == (2e-4 if '.encoder.' in name else 1e-3), name


@pytest.mark.parametrize('factors', [{'semantic': 0.1}, {'depth': -1.0}])
def test_factors_of_unknown_parts_or_below_zero_are_refused(factors):
    with pytest.raises(ValueError, match=next(iter(factors))):
        SynchronisedLearning('sync', {'depth': TINY, 'semantics': TINY},
                             optimizer=OptimizerConfig(factors=factors))


@pytest.mark.parametrize('name', sorted(zoo.MODEL_ZOO))
def test_of_every_architecture_what_may_learn_is_taught_once(name):
    module = SynchronisedLearning(*zoo.MODEL_ZOO[name]())
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = module.configure_optimizers()['optimizer']
    taught = [id(parameter) for group in optimizer.param_groups for parameter in group['params']]
    learns = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    assert len(taught) == len(set(taught)) and set(taught) == learns


def test_an_encoder_inside_of_a_decoder_is_no_encoder():
    assert of_encoder('network.depth.encoder.blocks.0.weight')
    assert of_encoder('network.encoder.decoder.weight')
    assert not of_encoder('network.semantics.decoder.encoder.layers.0.weight')
    assert not of_encoder('network.depth.pre_encoder.weight')


def test_a_network_with_nothing_left_to_learn_is_refused():
    module = SynchronisedLearning('sync', {'depth': TINY, 'semantics': None})
    module.model.requires_grad_(False)
    with pytest.raises(ValueError, match='nothing to learn'):
        module.configure_optimizers()


def test_layers_learn_the_slower_the_earlier():
    names = [
        'depth.encoder.embeddings.weight', 'depth.encoder.layer.0.weight',
        'depth.encoder.layer.1.mlp.0.weight', 'depth.encoder.norm.weight', 'depth.head.0.weight',
        'semantics.encoder.stem.weight', 'semantics.encoder.stages.2.0.weight']
    assert distances_from_top(names) == dict(zip(
        [*names[:4], *names[5:]], [2, 1, 0, 0, 3, 0]))


def test_layer_decay_reaches_the_optimizer():
    module = SynchronisedLearning(
        'sync', {'depth': TINY, 'semantics': None},
        optimizer=OptimizerConfig(encoder_layer_decay=0.5))
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = module.configure_optimizers()['optimizer']
    rates = {parameter: group['initial_lr'] for group in optimizer.param_groups
             for parameter in group['params']}
    layers: dict[int, set[float]] = {}
    for name, parameter in module.model.named_parameters():
        if of_encoder(name):
            behind = name.split('.encoder.')[1].split('.')
            number = next(int(part) for part in behind if part.isdecimal())
            layers.setdefault(number, set()).add(rates[parameter])
    last = max(layers)
    assert len(layers) > 3
    assert layers == {number: {2e-4 * 0.5 ** (last - number)} for number in layers}


@pytest.mark.parametrize(('name', 'value'), [
    ('encoder_layer_decay', 0), ('encoder_layer_decay', 1.5), ('learning_rate', -1e-3),
    ('warmup', 2)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f'optimizer.{name}.*{value}'):
        OptimizerConfig(**{name: value})
