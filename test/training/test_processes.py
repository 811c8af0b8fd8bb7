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

"""Two processes learn from a batch what one learns from it."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest
from small_batches import write_recipe, write_streets
from sync_perception.models import hub
from sync_perception.training.train import train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
BRANCH = {'kind': 'unet', 'block': 'convnext', 'dim': 8, 'multipliers': [1, 2]}


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason='torch without gloo')
def test_two_processes_agree_with_one(tmp_path):
    """
    Without batch norms and without variation of colours: the same crops, the same gradient.

    Sums in another order differ by rounding, which Adam enlarges where a gradient is nearly zero.
    Depth may differ by a relative 1e-4, class scores by 1e-4, measurements by 1e-3: a pixel that
    is undecided between two classes may fall either way.
    """
    streets = write_streets(tmp_path / 'streets')
    settings = {'architecture': 'sync', 'arguments': {'depth': BRANCH, 'semantics': BRANCH},
                'photometric': False, 'canonical_focal': 90.0, 'input_pixels': 6144}
    measured = [{'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'samples': 3}]

    def recipe(name: str, batch_size: int, **trainer) -> Path:
        return write_recipe(
            tmp_path / name / 'recipe.yaml', streets, model=settings,
            trainer={'val_check_interval': 3, 'num_sanity_val_steps': 0, **trainer},
            data={'batch_size': batch_size, 'crop': [32, 48], 'val_sources': measured})

    alone = recipe('alone', 4)
    train(['--config', str(alone)])
    together = recipe('together', 2, devices=2, strategy='ddp')
    finished = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2',
         '-m', 'sync_perception.cli', 'train', '--config', str(together)],
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY), 'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    first, second = (hub.load(path.parent / 'model') for path in (alone, together))
    assert first.config.record['steps'] == second.config.record['steps'] == 6
    assert first.config.record['batch_size'] == second.config.record['batch_size'] == 4
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, theirs = first(image), second(image)
    torch.testing.assert_close(ours.depth, theirs.depth, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-4)
    logs = [EventAccumulator(str(path.parent)).Reload() for path in (alone, together)]
    for metric in ('abs_rel', 'miou', 'pixel_accuracy'):
        values = [[event.value for event in log.Scalars(f'val/vkitti2/{metric}')] for log in logs]
        assert values[0] == pytest.approx(values[1], abs=1e-3), metric
