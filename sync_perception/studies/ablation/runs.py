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

"""Runs of an ablation: started, resumed or kept, each in its own folder and process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
import fcntl
import json
import os
from pathlib import Path
import time
from typing import Any

from sync_perception.datasets import DatasetOptions
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions
from sync_perception.files.resume import check_same_settings
from sync_perception.files.whole_files import write_json, write_text
from sync_perception.models import hub
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.models.storage.folder import CONFIG_NAME
from sync_perception.studies.training_curves import read_curves, write_curves
from sync_perception.studies.training_process import LOG_FILE
from sync_perception.training.feeding.recordings import EvaluationSource
from sync_perception.training.recipes import texts
import torch
import yaml

RECIPE, RESULTS, CURVES = 'recipe.yaml', 'results.json', 'curves.json'
LOCK = '.lock'
Fit = Callable[[Path, Sequence[str]], None]
"""Training function of a run's folder and the arguments of `train`; raises on failure."""


@dataclass(frozen=True)
class Run:
    """
    One training of an ablation.

    :param folder: output folder.
    :param recipe: complete recipe, which writes to that folder.
    :param name: name of the variant or preparation.
    :param seed: random seed; None for a preparation.
    :param measured: evaluation data sets; empty for a preparation.
    """

    folder: Path
    recipe: dict[str, Any]
    name: str
    seed: int | None = None
    measured: list[EvaluationSource] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Return the run's name for messages."""
        return self.name if self.seed is None else f'{self.name}, seed {self.seed}'


def carry_out(run: Run, fit: Fit) -> Iterator[str]:
    """
    Complete the training and evaluation of a run; yield progress messages.

    The process waits if another one is executing the same run.

    :raises RuntimeError: if the training fails, or starts from an unfinished run.
    :raises ValueError: if the folder contains a run with other settings.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOCK).open('w') as lock:
        # the training inherits the lock, and keeps it if this process is killed
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield 'another process trains it: waiting'
            fcntl.flock(lock, fcntl.LOCK_EX)
        check_settings(run)
        if is_done(run):
            yield 'already done'
            return
        if not (run.folder / RESULTS).is_file():
            check_beginning(run)
            began = time.monotonic()
            resumed = (run.folder / 'checkpoints' / 'last.ckpt').is_file()
            yield f'{"resuming" if resumed else "training"}, see {run.folder / LOG_FILE}'
            write_text(run.folder / RECIPE, yaml.safe_dump(run.recipe, sort_keys=False))
            arguments = ['--config', str(run.folder / RECIPE)]
            fit(run.folder, arguments + ['--ckpt_path', 'last'] * resumed)
            write_curves(run.folder / CURVES, read_curves(run.folder))
            write_run_results(run, training_record(run))
            yield f'trained in {time.monotonic() - began:.0f} s'
        for source in to_measure(run):
            yield f'evaluating on {source.name}'
            results = read_results(run)
            scores = evaluate(
                run.folder / 'model',
                DatasetOptions(source.dataset, source.root, source.split, source.arguments),
                EvaluationOptions(median_scaling=source.median_scaling, limit=source.samples,
                                  video=source.video))
            results['measured'][source.name] = {'source': asdict(source), 'scores': scores}
            write_run_results(run, results)


def check_settings(run: Run) -> None:
    """
    Compare a run's settings with those in its folder.

    :raises ValueError: if they differ.
    """
    path = run.folder / RECIPE
    begun = (run.folder / RESULTS).is_file() or (run.folder / 'checkpoints').is_dir()
    if not begun or not path.is_file():
        return
    former = yaml.safe_load(path.read_text())
    # normalise as in the file: tuples become lists
    wanted = yaml.safe_load(yaml.safe_dump(run.recipe))
    check_same_settings(run.folder, former, wanted, 'remove the folder to train the run again, or '
                                                    'set `out` to another folder')


def check_beginning(run: Run) -> None:
    """
    Check that the runs whose files a recipe uses are finished.

    Their models exist before that, and a run that starts from one would not be repeated.

    :raises RuntimeError: if one is not finished.
    """
    for text in texts(run.recipe):
        for folder in Path(text).parents:
            begun = (folder / RECIPE).is_file() and not (folder / RESULTS).is_file()
            if begun and not folder.samefile(run.folder):
                raise RuntimeError(
                    f'{text}: expected a finished training, but {folder} has no {RESULTS} yet: '
                    'finish it, then run this ablation again')


def is_done(run: Run) -> bool:
    """Return whether a run's training and evaluation are complete."""
    return (run.folder / RESULTS).is_file() and not to_measure(run)


def to_measure(run: Run) -> list[EvaluationSource]:
    """Return the evaluations that are missing or had other settings."""
    there = read_results(run)['measured']
    former = {name: EvaluationSource(**entry['source']) for name, entry in there.items()}
    return [source for source in run.measured if former.get(source.name) != source]


def read_results(run: Run) -> dict[str, Any]:
    """Read the results of a run."""
    return json.loads((run.folder / RESULTS).read_text())


def write_run_results(run: Run, results: dict[str, Any]) -> None:
    """Write the results of a run atomically."""
    write_json(run.folder / RESULTS, results)


def training_record(run: Run) -> dict[str, Any]:
    """
    Return the record of a finished training.

    :raises RuntimeError: if there is no model.
    """
    folder = run.folder / 'model'
    if not (folder / CONFIG_NAME).is_file():
        raise RuntimeError(
            f'{run.label} left no model in {folder}: the recipe needs the callback '
            'sync_perception.training.loop.export.ExportAverage, without a folder of its own')
    if run.recipe.get('learning') == 'contrastive':
        model = contrastive.load_contrastive(folder, torch.device('cpu'))
        couplings: dict[str, list[float]] = {}
    else:
        model = hub.load(folder, torch.device('cpu'))
        couplings = model.network.coupling_norms()
    record = model.config.record
    return {
        'name': run.name, 'seed': run.seed, 'steps': record['steps'],
        'seconds': round(record['hours'] * 3600, 1),
        'parameters': sum(weight.numel() for weight in model.parameters()),
        'couplings': couplings, 'record': record, 'measured': {}}
