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

"""`sync_perception select`: select the images of a data set to label first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from sync_perception.datasets import DatasetOptions
from sync_perception.datasets.derived.selection_files import Selection, split_words
from sync_perception.files.whole_files import replacing
from sync_perception.models import hub
from sync_perception.resources import model_source
from sync_perception.runtime.backends.devices import torch_device
from sync_perception.studies.pseudo_labels import portable_name, weights_fingerprint
from sync_perception.studies.selection.farthest_point import Choice, inverse_deviations
from sync_perception.studies.selection.features import Cache, Describer, Rows, SMALL
from sync_perception.studies.selection.page import write_selection_page
from sync_perception.studies.selection.student import (
    nearest_inverse_depth,
    StudentSettings,
    teach,
    uncertainties,
)

LOG = logging.getLogger(__name__)
RANDOM, DIVERSITY, UNCERTAINTY, BOTH = 'random', 'diversity', 'uncertainty', 'both'
STRATEGIES = {
    RANDOM: (RANDOM, RANDOM), DIVERSITY: (DIVERSITY, DIVERSITY),
    UNCERTAINTY: (RANDOM, UNCERTAINTY), BOTH: (DIVERSITY, BOTH)}
"""Criteria of the first round, before there is a student, and of later rounds."""


@dataclass(frozen=True)
class Plan:
    """
    Settings of a selection.

    :param budgets: increasing numbers of images; each one ends a round.
    :param strategy: a key of STRATEGIES.
    :param seed: random seed of the first image, random choices and students.
    :param student: settings of the student.
    """

    budgets: tuple[int, ...]
    strategy: str = BOTH
    seed: int = 0
    student: StudentSettings = StudentSettings()

    def __post_init__(self):
        """Check the settings."""
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f'no strategy {self.strategy!r}, expected one of: {", ".join(STRATEGIES)}')
        rising = all(a < b for a, b in zip(self.budgets, self.budgets[1:]))
        if not self.budgets or self.budgets[0] < 1 or not rising:
            raise ValueError(
                f'expected budgets of at least 1 that rise, such as 25,50,100, got '
                f'{",".join(map(str, self.budgets))}')

    def kind(self, number: int) -> str:
        """Return the criterion of a round, counted from 0."""
        return STRATEGIES[self.strategy][min(number, 1)]

    def key(self, number: int) -> str:
        """Return a key of the rounds up to this one, equal for equal settings of all of them."""
        rounds = [(self.kind(i), budget) for i, budget in enumerate(self.budgets[:number + 1])]
        learned = [asdict(self.student)] if UNCERTAINTY in self.needs(number) else []
        text = json.dumps([self.seed, rounds, learned])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def needs(self, number: int | None = None) -> set[str]:
        """Return the image data needed up to a round, by default for all."""
        last = len(self.budgets) - 1 if number is None else number
        kinds = {self.kind(i) for i in range(last + 1)}
        return {need for need in (DIVERSITY, UNCERTAINTY) if kinds & {need, BOTH}}


def select(
        model: str | Path | None, data: DatasetOptions, out: str | Path, plan: Plan,
        cache: str | Path | None = None, level: int = -1, device: str = 'auto', page: bool = True
        ) -> Selection:
    """
    Select images of a data set to label (Hoyer et al., 2021).

    The next image is the i with the greatest min_j |phi_i - phi_j| + u_i, j over the chosen ones:
    phi are depth features, averaged over a 4 x 8 grid, each channel scaled to unit variance over
    the data set; u is 1000 times the mean difference of log(1 + disparity) between the model and a
    student trained on the images of the rounds before.

    :param model: argument of `hub.load`, not an exported file; None for the default model. Not
        loaded for random selection.
    :param data: the data set; its split may be another selection.
    :param out: output file; the page is written beside it, with suffix .html.
    :param plan: budgets, strategy and seed.
    :param cache: folder of image descriptions, by default beside `out`; used to resume interrupted
        runs, and by other selections from the same images.
    :param level: level of the features, fine to coarse; negative ones count from the coarsest.
    :param device: auto, cpu, cuda or cuda:N.
    :param page: whether to write the page.
    :return: the selection.
    :raises ValueError: if a budget exceeds the data set, or the model has no depth features.
    """
    out = Path(out)
    check_output(out, data.split)
    samples = data.open()
    ids = list(samples.ids)
    check_budget(plan, len(ids))
    if plan.strategy == RANDOM:
        name, choice = '', random_choice(plan, len(ids))
    else:
        if len(plan.budgets) == 1 and plan.strategy in (UNCERTAINTY, BOTH):
            LOG.warning('with one budget there is one round, in which no student is used')
        name = str(model_source(model))
        describer = Describer(hub.load(name, torch_device(device)), level)
        stored = Cache(Path(cache) if cache else out.with_suffix('.cache'), ids, {
            'dataset': data.name, 'root': portable_name(data.root), 'split': data.split,
            'arguments': data.arguments or {}, 'model': name,
            'weights': weights_fingerprint(name), 'level': level, 'channels': describer.channels})
        usable = stored.describe(samples, describer, UNCERTAINTY in plan.needs())
        check_budget(plan, int(usable.sum()), ' that can be read')
        choice = Rounds(plan, stored, usable, describer).run()
    selection = Selection(
        data.name, data.split, plan.strategy, plan.seed, plan.budgets,
        tuple(ids[index] for index in choice.chosen), scores_of(choice),
        portable_name(data.root), name,
        data.arguments, record_of(plan, choice, level))
    selection.write(out)
    if page:
        write_selection_page(selection, samples, out.with_suffix('.html'))
    return selection


def check_output(out: Path, split: str) -> None:
    """Check that the file to write is JSON, and not the selection to choose from."""
    if out.suffix != '.json':
        raise ValueError(f'expected a file that ends in .json, got {out}')
    words = split_words(split)
    if words is not None and Path(os.path.expandvars(words[0])).resolve() == out.resolve():
        raise ValueError(f'expected another file to write than the one to choose from, got {out}')


def random_choice(plan: Plan, images: int) -> Choice:
    """Return a random choice of images."""
    choice = Choice()
    for index in first_order(plan.seed, images)[:plan.budgets[-1]]:
        choice.take(index)
    return choice


def check_budget(plan: Plan, images: int, which: str = '') -> None:
    """Check that no budget exceeds the data set."""
    if plan.budgets[-1] > images:
        raise ValueError(
            f'the budget of {plan.budgets[-1]} is larger than the set of {images} images{which}')


def first_order(seed: int, images: int) -> np.ndarray:
    """Return the images' indices in a random order, for random choices."""
    return np.random.default_rng(seed).permutation(images)


class Rounds:
    """
    Execution of a plan's rounds; every choice is stored immediately.

    :param plan: settings of the selection.
    :param cache: cache of image descriptions.
    :param usable: bool (N,), the images to choose from.
    :param describer: describer of the model.
    """

    def __init__(self, plan: Plan, cache: Cache, usable: np.ndarray, describer: Describer):
        self.plan, self.cache, self.usable = plan, cache, usable
        self.rows = cache.rows(describer.channels)
        self.device = describer.model.device
        order = first_order(plan.seed, len(usable))
        self.order = order[usable[order]]
        self.scale: np.ndarray | None = None

    def run(self) -> Choice:
        """Complete the plan, resuming after an interruption."""
        choice = Choice()
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task('images chosen', total=self.plan.budgets[-1])
            for number in range(len(self.plan.budgets)):
                choice = self.finish(
                    number, choice, lambda done: progress.update(bar, completed=done))
        return choice

    def finish(self, number: int, choice: Choice, report: Callable[[int], None]) -> Choice:
        """Choose until a round's budget is spent."""
        budget, kind = self.plan.budgets[number], self.plan.kind(number)
        path = self.cache.folder / f'round_{number}_{self.plan.key(number)}.npz'
        if path.is_file():
            choice = read_choice(path)
        uncertainty = rows = None
        if len(choice.chosen) < budget and kind in (UNCERTAINTY, BOTH):
            uncertainty = self.uncertainty(number, choice)
        if kind in (DIVERSITY, BOTH):
            rows = self.rows
        while len(choice.chosen) < budget:
            report(len(choice.chosen))
            if kind == RANDOM or not choice.chosen:
                choice.take(self.order[len(choice.chosen)])
            else:
                choice.pick(self.usable, rows, self.channel_scale(rows), uncertainty)
                if kind == DIVERSITY and len(choice.chosen) == 2 and not choice.distances[1]:
                    raise ValueError(
                        'expected features that differ between images, got the same for all: is '
                        'the model trained?')
            write_choice(path, choice)
        report(len(choice.chosen))
        return choice

    def channel_scale(self, rows: Rows | None) -> np.ndarray | None:
        """Return the factors of the features' channels, computed once."""
        if self.scale is None and rows is not None:
            self.scale = inverse_deviations(rows, self.usable)
        return self.scale

    def uncertainty(self, number: int, choice: Choice) -> np.ndarray:
        """Return the uncertainty of every image in a round, by a student of the rounds before."""
        path = self.cache.folder / f'uncertainty_{number}_{self.plan.key(number)}.npy'
        if path.is_file():
            return np.load(path)
        images = self.cache.array('images', (*SMALL, 3), np.uint8)
        inverse = self.cache.array('inverse_depth', SMALL, np.float16)
        nearest = nearest_inverse_depth(inverse, self.usable)
        learned = choice.chosen[:self.plan.budgets[number - 1]]
        settings = self.plan.student
        student = teach(
            images, inverse, learned, nearest, settings, self.plan.seed, self.device)
        scores = uncertainties(student, images, inverse, nearest, settings.weight, self.device)
        with replacing(path, shared=True) as beside, beside.open('wb') as file:
            np.save(file, scores)
        return scores


def write_choice(path: Path, choice: Choice) -> None:
    """Write the state of a selection atomically."""
    with replacing(path, shared=True) as beside, beside.open('wb') as file:
        np.savez(file, **{name: np.asarray(value) for name, value in vars(choice).items()})


def read_choice(path: Path) -> Choice:
    """Read the state written by `write_choice`."""
    with np.load(path, allow_pickle=False) as stored:
        return Choice(
            stored['chosen'].tolist(), stored['distances'].tolist(),
            stored['uncertainties'].tolist(), stored['nearest'], int(stored['compared']))


def finite(values: Sequence[float]) -> list[float | None]:
    """Return the numbers, None for NaN."""
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def scores_of(choice: Choice) -> tuple[float | None, ...]:
    """Return the score of each chosen image: distance + uncertainty, as far as used."""
    parts = np.array([choice.distances, choice.uncertainties])
    score = np.where(np.isnan(parts).all(axis=0), np.nan, np.nansum(parts, axis=0))
    return tuple(finite(score))


def record_of(plan: Plan, choice: Choice, level: int) -> dict[str, Any]:
    """Return the settings, and each score's parts."""
    if plan.strategy == RANDOM:
        return {}
    record: dict[str, Any] = {'level': level, 'distances': finite(choice.distances)}
    if UNCERTAINTY in plan.needs():
        record.update(
            uncertainties=finite(choice.uncertainties), student=asdict(plan.student))
    return record


def parse_budgets(text: str) -> tuple[int, ...]:
    """
    Parse numbers joined by commas.

    :raises ValueError: if the text is malformed.
    """
    try:
        return tuple(int(word) for word in text.split(','))
    except ValueError as error:
        raise ValueError(
            f'expected budgets as numbers joined by commas, such as 25,50,100, got {text!r}'
        ) from error
