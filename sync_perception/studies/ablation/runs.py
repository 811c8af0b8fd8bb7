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

"""The runs of an ablation: each in a folder and a process of its own, begun, resumed or kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
import fcntl
import json
import os
from pathlib import Path
import time
from typing import Any

from sync_perception.evaluation.evaluate import evaluate
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
"""Trains, given the folder of the run and the arguments of `train`; raises if that fails."""


@dataclass(frozen=True)
class Run:
    """
    One training of an ablation.

    :param folder: of all that it leaves.
    :param recipe: the whole recipe, which writes into that folder.
    :param name: of its variant, or of a preparation.
    :param seed: None for a preparation.
    :param measured: what its model is measured on; nothing for a preparation.
    """

    folder: Path
    recipe: dict[str, Any]
    name: str
    seed: int | None = None
    measured: list[EvaluationSource] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name it for people."""
        return self.name if self.seed is None else f'{self.name}, seed {self.seed}'


def carry_out(run: Run, fit: Fit) -> Iterator[str]:
    """
    Train and measure a run, as far as that has not been done; yield what happens.

    A process waits while another one has the same run in its hands.

    :raises RuntimeError: if the training fails, or starts from a run that is not finished.
    :raises ValueError: if the folder holds a run of other settings.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOCK).open('w') as lock:
        # the training inherits the lock, and keeps it should this process be killed
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield 'another process has it, waits'
            fcntl.flock(lock, fcntl.LOCK_EX)
        check_settings(run)
        if is_done(run):
            yield 'there already'
            return
        if not (run.folder / RESULTS).is_file():
            check_beginning(run)
            began = time.monotonic()
            resumed = (run.folder / 'checkpoints' / 'last.ckpt').is_file()
            yield f'{"goes on" if resumed else "trains"}, see {run.folder / LOG_FILE}'
            write_text(run.folder / RECIPE, yaml.safe_dump(run.recipe, sort_keys=False))
            arguments = ['--config', str(run.folder / RECIPE)]
            fit(run.folder, arguments + ['--ckpt_path', 'last'] * resumed)
            write_curves(run.folder / CURVES, read_curves(run.folder))
            write_results(run, training_record(run))
            yield f'trained in {time.monotonic() - began:.0f} s'
        for source in to_measure(run):
            yield f'is measured on {source.name}'
            results = read_results(run)
            scores = evaluate(
                run.folder / 'model', source.dataset, source.root, source.split,
                median_scaling=source.median_scaling, arguments=source.arguments,
                limit=source.samples, video=source.video)
            results['measured'][source.name] = {'source': asdict(source), 'scores': scores}
            write_results(run, results)


def check_settings(run: Run) -> None:
    """
    Compare a run with what its folder holds.

    :raises ValueError: if that was trained with other settings.
    """
    path = run.folder / RECIPE
    begun = (run.folder / RESULTS).is_file() or (run.folder / 'checkpoints').is_dir()
    if not begun or not path.is_file():
        return
    former = yaml.safe_load(path.read_text())
    # as it would be read back: tuples become lists
    wanted = yaml.safe_load(yaml.safe_dump(run.recipe))
    check_same_settings(run.folder, former, wanted, 'remove the folder to train the run anew, or '
                        'let `out` name another one')


def check_beginning(run: Run) -> None:
    """
    Look whether the runs that another one's recipe names files of were trained to their end.

    Their models are there before that: who starts from one of these would never be trained anew.

    :raises RuntimeError: if one was not.
    """
    for text in texts(run.recipe):
        for folder in Path(text).parents:
            begun = (folder / RECIPE).is_file() and not (folder / RESULTS).is_file()
            if begun and not folder.samefile(run.folder):
                raise RuntimeError(
                    f'{text} is expected to be of a finished training, but {folder} has no '
                    f'{RESULTS} yet: finish that one, then this one again')


def is_done(run: Run) -> bool:
    """Say whether a run was trained and measured on all that it is to be measured on."""
    return (run.folder / RESULTS).is_file() and not to_measure(run)


def to_measure(run: Run) -> list[EvaluationSource]:
    """Return what a trained run was not measured on yet, or only differently."""
    there = read_results(run)['measured']
    former = {name: EvaluationSource(**entry['source']) for name, entry in there.items()}
    return [source for source in run.measured if former.get(source.name) != source]


def read_results(run: Run) -> dict[str, Any]:
    """Read what is known of a trained run."""
    return json.loads((run.folder / RESULTS).read_text())


def write_results(run: Run, results: dict[str, Any]) -> None:
    """Write what is known of a run; at once, so that there is never half of it."""
    write_json(run.folder / RESULTS, results)


def training_record(run: Run) -> dict[str, Any]:
    """
    Gather what a finished training says of itself.

    :raises RuntimeError: if it left no model.
    """
    folder = run.folder / 'model'
    if not (folder / CONFIG_NAME).is_file():
        raise RuntimeError(
            f'{run.label} left no model in {folder}: the recipe needs the callback '
            'sync_perception.training.loop.export.ExportAverage, without a folder of its own')
    if run.recipe.get('learning') == 'contrastive':
        model = contrastive.load(folder, torch.device('cpu'))
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
