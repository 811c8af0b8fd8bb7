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

"""
Kills a training again and again, and compares its model with that of an uninterrupted one.

The network is tiny and the streets are drawn. Each kill (SIGKILL) comes at a random moment after a
checkpoint was written; the next run goes on from the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
from random import Random
import subprocess
import sys
import tempfile
import time

from safetensors.torch import load_file
from small_batches import write_recipe, write_streets
import torch
from trial import Outcome

STEPS = 6  # for each kill; a checkpoint comes every third
PATIENCE = 300.0  # seconds until the next checkpoint


@contextmanager
def training(recipe: Path, resume: bool) -> Iterator[subprocess.Popen]:
    """Yield a training in a process of its own."""
    words = [sys.executable, '-m', 'sync_perception.cli', 'train', '--config', str(recipe)]
    words += ['--ckpt_path', 'last'] if resume else []
    with (recipe.parent / 'log').open('wb') as log, subprocess.Popen(
            words, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': '1'}) as process:
        try:
            yield process
        finally:
            process.kill()


def written(recipe: Path) -> int:
    """Return when the last checkpoint was written, 0 if there is none."""
    path = recipe.parent / 'checkpoints' / 'last.ckpt'
    return path.stat().st_mtime_ns if path.exists() else 0


def finish(recipe: Path, resume: bool = False) -> tuple[int, float]:
    """Train to the end; return the status, and the seconds from the first checkpoint on."""
    with training(recipe, resume) as process:
        while process.poll() is None and not written(recipe):
            time.sleep(0.01)
        begun = time.monotonic()
        return process.wait(), time.monotonic() - begun


def kill_once(recipe: Path, resume: bool, delay: float) -> str:
    """Kill a training some seconds after its first checkpoint; return what went wrong."""
    before, end = written(recipe), time.monotonic() + PATIENCE
    with training(recipe, resume) as process:
        while written(recipe) == before:
            if process.poll() is not None or time.monotonic() > end:
                log = (recipe.parent / 'log').read_text().splitlines()
                return f'no checkpoint came, status {process.poll()}: {" / ".join(log[-3:])}'
            time.sleep(0.005)
        time.sleep(delay)
    return ''


def kill(kills: int, seed: int, folder: Path) -> tuple[int, int, list[str]]:
    """
    Kill a training so many times, then let it finish.

    :return: the steps, how often it was killed before it was done, and what did not hold.
    """
    random, steps = Random(seed), STEPS * (kills + 1)
    streets = write_streets(folder / 'streets')
    whole, broken = (
        write_recipe(folder / name / 'recipe.yaml', streets,
                     data={'samples': 2 * steps, 'workers': 1}, model={'weighting': 'uncertainty'})
        for name in ('whole', 'broken'))
    status, seconds = finish(whole)
    if status:
        return steps, 0, [f'the uninterrupted training ended with status {status}']
    longest, wrong, number = seconds / steps * STEPS / 2, [], 0
    model = broken.parent / 'model' / 'model.safetensors'
    while number < kills and not wrong:
        problem = kill_once(broken, number > 0, random.uniform(0, longest))
        if model.exists():
            break  # it was done before the kill came
        wrong += [f'run {number}: {problem}'] if problem else []
        number += not problem
    if not model.exists():
        status, _ = finish(broken, resume=True)
    if status:
        return steps, number, [*wrong, f'the last run ended with status {status}']
    expected, got = load_file(whole.parent / 'model' / 'model.safetensors'), load_file(model)
    wrong += [f'the weights {name} differ from those of an uninterrupted training'
              for name in expected if not torch.equal(expected[name], got[name])]
    return steps, number, wrong


def soak(kills: int) -> Outcome:
    """Kill a training so many times."""
    with tempfile.TemporaryDirectory(prefix='soak_training_') as folder:
        steps, done, wrong = kill(kills, seed=0, folder=Path(folder))
    return Outcome(
        done, wrong, f'after {steps} steps every weight is, bit by bit, that of an uninterrupted '
        'training', {'steps': steps})


SOAK = {'training': soak}
