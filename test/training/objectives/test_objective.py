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

"""A sixth objective: a file and a line in a dict, known to recipes, training and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from small_batches import annotated_batch, TINY, write_recipe, write_streets
from sync_perception.training import module as training_module
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import configuration, OBJECTIVES, Objectives
from sync_perception.training.objectives.objective import Objective
from sync_perception.training.train import train
import torch
from torch import nn


@dataclass(frozen=True)
class DimConfig:
    """
    How bright depth may be.

    :param weight: of the term, 0 or more.
    """

    weight: float = 1.0


class Dim(Objective):
    """The log depth of each crop, times a factor that is learned beside the network."""

    Config = DimConfig
    TASKS = {'dim': 'depth'}

    def __init__(self, config, setup):
        super().__init__(config, setup)
        self.weights = {'dim': config.weight, 'dim_factor': 0.5}
        self.learned = nn.Linear(1, 1, bias=False)
        self.steps, self.offsets, self.samples = 0, None, None

    def terms(self, step):
        """Count the steps."""
        self.steps += 1
        factor = self.learned.weight.squeeze()
        return {'dim': step.output.depth.log().mean() * factor, 'dim_factor': factor.square()}

    def check_offsets(self, offsets):
        """Remember the neighbours."""
        self.offsets = offsets

    def check_mixture(self, mixture):
        """Remember the number of samples."""
        self.samples = len(mixture)

    def parameter_groups(self):
        """Return the factor, with a rate of its own."""
        return [{'params': list(self.learned.parameters()), 'lr': 0.125}]

    def scale_from(self, step, terms):
        """Claim that this objective gives the scale."""
        return {'camera height'}

    def state(self):
        """Return the number of steps."""
        return {'steps': self.steps}

    def load_state(self, state):
        """Continue counting."""
        self.steps = state['steps']


@pytest.fixture
def sixth(monkeypatch):
    """Add the line to the dict, and do what importing the module then does."""
    monkeypatch.setitem(OBJECTIVES, 'dim', Dim)
    whole, build = configuration(OBJECTIVES), SynchronisedLearning.__init__
    monkeypatch.setattr(training_module, 'Objectives', whole)
    monkeypatch.setattr(build, '__defaults__', tuple(
        whole() if isinstance(default, Objectives) else default for default in build.__defaults__))
    return whole


def test_a_recipe_may_ask_for_it(sixth, tmp_path):
    """It is trained, logged, checked against the data, exported by name, and resumed."""
    settings = {'data': {'samples': 8}, 'model': {'objectives': {'dim': {'weight': 0.25}}}}
    recipe = write_recipe(
        tmp_path / 'recipe.yaml', write_streets(tmp_path / 'streets'), **settings)
    run = train(['--config', str(recipe), '--trainer.max_steps', '3'])
    dim, metrics = run.model.objectives['dim'], run.trainer.callback_metrics
    assert dim.config == DimConfig(0.25) and dim.steps == 3
    assert (dim.offsets, dim.samples) == ((), 8)
    assert {'train/dim', 'train/dim_factor', 'train/depth/silog'} <= set(metrics)
    assert 'camera height' in run.model.model.config.scale_from
    rates = [group['initial_lr'] for group in run.trainer.optimizers[0].param_groups]
    assert 0.125 in rates
    resumed = train(['--config', str(recipe), '--ckpt_path', 'last'])
    assert resumed.trainer.global_step == 4 and resumed.model.objectives['dim'].steps == 4


def test_its_settings_are_checked(sixth, tmp_path):
    recipe = write_recipe(tmp_path / 'recipe.yaml', tmp_path, model={
        'objectives': {'dim': {'wait': 0.25}}})
    with pytest.raises(ValueError, match='dim.*wait'):
        train(['--config', str(recipe)])


def test_the_step_adds_its_weighted_terms(sixth):
    """Those of a task to that task, the others to the total, with a gradient for each."""
    totals = []
    for weight in (0.0, 0.25):
        torch.manual_seed(0)
        module = SynchronisedLearning(
            'sync', {'depth': TINY, 'semantics': None}, photometric=False,
            objectives=sixth(dim=DimConfig(weight)))
        module.log_step = lambda *_: None
        totals.append(module.training_step(annotated_batch(), 0))
    terms = module.terms
    torch.testing.assert_close(totals[1] - totals[0], 0.25 * terms['dim'])
    totals[1].backward()
    factor = module.beside['dim'].weight
    depth = terms['dim'].detach() / factor.detach().squeeze()
    torch.testing.assert_close(factor.grad.squeeze(), 0.25 * depth + factor.detach().squeeze())


def test_trainings_without_it_know_nothing_of_it():
    module = SynchronisedLearning('sync', {'depth': TINY, 'semantics': None})
    assert list(module.objectives) == ['supervised'] and not module.beside
    assert not hasattr(Objectives(), 'dim')


@pytest.mark.parametrize('name', OBJECTIVES)
def test_the_command_explains_every_setting(name, capsys, tmp_path):
    """With its default, below a line that says what the objective is."""
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('{model: {architecture: sync, arguments: {}}, data: {samples: 1}}')
    with pytest.raises(SystemExit) as end:
        train(['--config', str(recipe), f'--model.objectives.{name}.help'])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for field in OBJECTIVES[name].Config.__dataclass_fields__:
        assert f'--model.objectives.{name}.{field}' in shown
