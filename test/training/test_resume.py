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

"""A training that is interrupted and resumed learns what it would have learned."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from small_batches import write_recipe, write_streets
from sync_perception.training.train import train
import torch
import yaml

HERE = Path(__file__).resolve()


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    return write_streets(tmp_path_factory.mktemp('streets'))


def weights(root: Path) -> dict[str, torch.Tensor]:
    """Return what a training leaves: the exported average."""
    return load_file(root / 'model' / 'model.safetensors')


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def killed(recipe: Path, step: int) -> None:
    """Run a training in a process of its own, which is killed in the middle of a step."""
    description = yaml.safe_load(recipe.read_text())
    description['trainer']['callbacks'].append(
        {'class_path': 'interruption.Kill', 'init_args': {'step': step}})
    deadly = recipe.with_name('deadly.yaml')
    deadly.write_text(yaml.safe_dump(description))
    paths = [str(HERE.parents[2]), str(HERE.parent)]
    finished = subprocess.run(
        [sys.executable, '-m', 'sync_perception.cli', 'train', '--config', str(deadly)],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths),
             'OMP_NUM_THREADS': str(torch.get_num_threads())},
        capture_output=True, text=True)
    assert finished.returncode == -signal.SIGKILL, finished.stderr


def test_a_killed_training_goes_on_as_if_nothing_had_been(streets, tmp_path):
    """Killed in the eighth step, two after its last checkpoint; a worker had read ahead."""
    settings = {'data': {'workers': 1}, 'model': {'weighting': 'uncertainty'}}
    whole = write_recipe(tmp_path / 'whole' / 'recipe.yaml', streets, **settings)
    uninterrupted = train(['--config', str(whole)])
    broken = write_recipe(tmp_path / 'broken' / 'recipe.yaml', streets, **settings)
    killed(broken, step=7)
    assert not (broken.parent / 'model').exists()
    resumed = train(['--config', str(broken), '--ckpt_path', 'last'])
    assert resumed.trainer.global_step == uninterrupted.trainer.global_step == 12
    assert_same(weights(whole.parent), weights(broken.parent))
    ends = [torch.load(root.parent / 'checkpoints' / 'last.ckpt', weights_only=False)
            for root in (whole, broken)]
    assert_same(*(end['current_model_state'] for end in ends))
    for first, second in zip(*(end['optimizer_states'][0]['state'].values() for end in ends)):
        assert_same(first, second)
    assert ends[0]['lr_schedulers'] == ends[1]['lr_schedulers']
