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


"""Weightings: by hand, against the papers' equations, checkpoints, two processes, bad input."""

from __future__ import annotations

import math
from typing import get_args, get_type_hints

from forked import fork
import numpy as np
import pytest
from sync_perception.training.loop.weighting import (
    build_weighting,
    DynamicWeightAverage,
    FixedWeights,
    UncertaintyWeights,
    WeightingConfig,
)
import torch
from torch import distributed

KINDS = get_args(get_type_hints(WeightingConfig)['kind'])


def losses(**values):
    """Return double losses that require gradients."""
    return {name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
            for name, value in values.items()}


def built():
    """Return one weighting of every kind over depth and labels."""
    return {
        'fixed': FixedWeights({'depth': 0.5, 'labels': 2}),
        'uncertainty': UncertaintyWeights({'depth': 'regression', 'labels': 'classification'}),
        'dynamic': DynamicWeightAverage(['depth', 'labels']),
    }


def after(weighting, *periods):
    """Train a weighting through periods, each a list of batches."""
    for period in periods:
        for batch in period:
            weighting(losses(**batch))
        weighting.advance()
    return weighting


def test_every_kind_is_tried_here():
    assert {name: type(one) for name, one in built().items()} == {
        kind: type(build_weighting(kind)) for kind in KINDS}


@pytest.mark.parametrize('kind', KINDS)
def test_a_missing_task_changes_nothing_for_the_others(kind):
    """The same weight, and the total of both is the sum of each alone."""
    both, alone = built()[kind], built()[kind]
    batch = losses(depth=3.0, labels=0.7)
    total = both(batch)
    apart = alone({'depth': batch['depth']}) + alone({'labels': batch['labels']})
    torch.testing.assert_close(total, apart)
    total.backward()
    assert {name: loss.grad.item() for name, loss in batch.items()} == pytest.approx(
        both.weights())


@pytest.mark.parametrize('kind', KINDS)
def test_gradients(kind):
    weighting = built()[kind].double()
    batch = losses(depth=3.0, labels=0.7)
    assert torch.autograd.gradcheck(
        lambda *values: weighting(dict(zip(batch, values))), tuple(batch.values()))


@pytest.mark.parametrize('kind', KINDS)
def test_unknown_tasks_are_refused(kind):
    weighting = built()[kind]
    with pytest.raises(ValueError, match=r"\['depth', 'labels'\], got \['normals'\]"):
        weighting(losses(depth=1.0, normals=1.0))
    with pytest.raises(ValueError, match='got none'):
        weighting({})


def test_fixed_weights_by_hand():
    weighting = FixedWeights({'depth': 0.5, 'labels': 2})
    assert weighting(losses(depth=3.0, labels=0.7)).item() == pytest.approx(1.5 + 1.4)
    assert weighting(losses(labels=0.7)).item() == pytest.approx(1.4)
    assert not list(weighting.parameters()) and not weighting.state_dict()


def test_uncertainty_is_the_gaussian_likelihood():
    """Eq. 7: for a mean squared error, -ln N(y; f, s^2) without ln(2 pi) / 2."""
    weighting = UncertaintyWeights({'depth': 'regression'}).double()
    weighting.log_variance.data.fill_(0.8)
    errors = torch.tensor([0.3, -2.0, 1.1], dtype=torch.float64)
    normal = torch.distributions.Normal(0, math.exp(0.4))
    expected = -normal.log_prob(errors).mean() - math.log(2 * math.pi) / 2
    torch.testing.assert_close(weighting({'depth': errors.square().mean()}), expected)
    assert weighting.weights() == pytest.approx({'depth': 0.5 * math.exp(-0.8)})


def test_uncertainty_of_a_classification():
    """Eq. 10: L / s^2 + ln s."""
    weighting = UncertaintyWeights({'labels': 'classification'}).double()
    weighting.log_variance.data.fill_(math.log(4))
    assert weighting(losses(labels=6.0)).item() == pytest.approx(6 / 4 + math.log(2))


def test_uncertainty_learns_each_tasks_scale():
    """The total is least where s^2 = L for a regression, s^2 = 2 L for a classification."""
    weighting = UncertaintyWeights({'depth': 'regression', 'labels': 'classification'}).double()
    optimizer = torch.optim.LBFGS(weighting.parameters(), max_iter=50)

    def closure():
        optimizer.zero_grad()
        total = weighting(losses(depth=9.0, labels=0.25))
        total.backward()
        return total

    optimizer.step(closure)
    assert weighting.log_variance.exp().tolist() == pytest.approx([9, 0.5], rel=1e-3)
    assert weighting.weights() == pytest.approx({'depth': 1 / 18, 'labels': 2}, rel=1e-3)


def test_uncertainty_of_an_absent_task_has_a_gradient_of_zero():
    weighting = UncertaintyWeights({'depth': 'regression', 'labels': 'classification'})
    weighting(losses(labels=3.0)).backward()
    assert weighting.log_variance.grad.tolist() == [0, -2.5]


def test_dynamic_weights_by_the_equation():
    """Eq. 7 with T = 2: K exp(r_k / T) / sum_i exp(r_i / T), r the ratio of two periods' means."""
    weighting = DynamicWeightAverage(['depth', 'labels'])
    assert weighting.weights() == {'depth': 1, 'labels': 1}
    after(weighting, [{'depth': 3.0, 'labels': 2.0}, {'depth': 5.0, 'labels': 2.0}])
    assert weighting.weights() == {'depth': 1, 'labels': 1}
    after(weighting, [{'depth': 1.0, 'labels': 1.0}, {'depth': 3.0, 'labels': 2.6}])
    ratios = np.array([2 / 4, 1.8 / 2])
    expected = 2 * np.exp(ratios / 2) / np.exp(ratios / 2).sum()
    assert list(weighting.weights().values()) == pytest.approx(expected.tolist())
    assert weighting(losses(depth=1.0, labels=10.0)).item() == pytest.approx(
        expected @ [1, 10])


def test_dynamic_weights_even_out_with_temperature():
    periods = [{'depth': 1.0, 'labels': 1.0}], [{'depth': 0.1, 'labels': 1.0}]
    spread = [np.ptp(list(after(
        DynamicWeightAverage(['depth', 'labels'], temperature), *periods).weights().values()))
        for temperature in (0.5, 2.0, 100.0)]
    assert spread[0] > spread[1] > spread[2] > 0


def test_absent_tasks_keep_their_history():
    """A mean is over the batches that had the task; a period without it does not count."""
    full = [{'depth': 4.0, 'labels': 2.0}], [{'depth': 2.0, 'labels': 1.0}]
    expected = after(DynamicWeightAverage(['depth', 'labels']), *full).weights()
    partly = [[{'depth': 4.0}, {'labels': 2.0}], [{'depth': 2.0}, {'depth': 2.0}],
              [{'labels': 0.5}, {'depth': 1.0}, {'labels': 1.5}]]
    weighting = after(DynamicWeightAverage(['depth', 'labels']), *partly)
    assert weighting.last.tolist() == [1, 1] and weighting.before.tolist() == [2, 2]
    assert weighting.weights() == pytest.approx(expected)


def test_losses_without_a_ratio_count_as_they_are():
    """A mean of zero, a negative or an infinite one gives no sensible ratio."""
    for odd in (0.0, -1.0, math.nan):
        weighting = after(
            DynamicWeightAverage(['depth', 'labels']),
            [{'depth': odd, 'labels': 1.0}], [{'depth': 2.0, 'labels': 1.0}])
        assert weighting.weights() == {'depth': 1, 'labels': 1}


def test_validation_leaves_no_trace():
    weighting = DynamicWeightAverage(['depth']).eval()
    weighting(losses(depth=3.0))
    assert weighting.count.item() == 0


def test_a_checkpoint_in_the_middle_of_a_period_carries_all():
    head = [{'depth': 4.0, 'labels': 2.0}], [{'depth': 3.0, 'labels': 1.7}]
    whole = after(DynamicWeightAverage(['depth', 'labels']), *head)
    whole(losses(depth=2.0, labels=1.0))
    resumed = DynamicWeightAverage(['depth', 'labels'])
    resumed.load_state_dict(whole.state_dict())
    for weighting in (whole, resumed):
        after(weighting, [{'depth': 1.0, 'labels': 1.5}])
    assert resumed.weights() == whole.weights()
    assert resumed.weights()['labels'] > 1 > resumed.weights()['depth']


def one_of_two(rank, folder):
    """Weigh the batches of a rank, and save what it knows then."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    weighting = DynamicWeightAverage(['depth', 'labels'])
    for batch in ([{'depth': 1, 'labels': 5}, {'depth': 3}],
                  [{'depth': 1}, {'depth': 1, 'labels': 2}]):
        weighting({task: torch.tensor(float(loss)) for task, loss in batch[rank].items()})
        weighting.advance()
    torch.save(weighting.state_dict(), f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason='torch without torch.distributed')
def test_two_processes_have_one_history(tmp_path):
    """Batches of unlike tasks and losses on each; means over both."""
    processes = [fork(one_of_two, rank, tmp_path) for rank in range(2)]
    try:
        for process in processes:
            process.join(100)
        assert [process.exitcode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    for rank in range(2):
        state = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert state['before'].tolist() == [2, 5] and state['last'].tolist() == [1, 2]


def test_bad_settings():
    with pytest.raises(ValueError, match='each once'):
        DynamicWeightAverage([])
    with pytest.raises(ValueError, match='each once'):
        DynamicWeightAverage(['depth', 'depth'])
    with pytest.raises(ValueError, match='temperature.*got 0'):
        DynamicWeightAverage(['depth'], temperature=0)
    with pytest.raises(ValueError, match="'ranking'"):
        UncertaintyWeights({'depth': 'ranking'})
    for weight in (-1, math.nan):
        with pytest.raises(ValueError, match='depth'):
            FixedWeights({'depth': weight})
