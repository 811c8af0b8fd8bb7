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


"""Plan of an ablation: its YAML file, parsed and checked before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, MISSING
from pathlib import Path
from typing import Any, TypeVar

from sync_perception.evaluation.metrics import METRIC_LABELS
from sync_perception.files.checks import first_line, mapping
from sync_perception.files.whole_files import read_yaml
from sync_perception.studies.ablation.runs import Run
from sync_perception.studies.ablation.series import Series
from sync_perception.studies.depth_baselines import BASELINES
from sync_perception.studies.training_curves import PALETTE
from sync_perception.training.feeding.recordings import EvaluationSource
from sync_perception.training.recipes import (
    BASES,
    changed,
    check_known,
    check_numbers,
    extended,
    texts,
    with_texts,
)

SEED = '{seed}'
"""Placeholder of the run's seed in recipes: `split: runs/chosen_{seed}.json:25`."""
HIGHER_IS_BETTER = {
    name: better for name, (_, _, better) in METRIC_LABELS.items() if better is not None}
"""Metrics of `evaluate`, and whether higher is better."""
Settings = TypeVar('Settings')


@dataclass(frozen=True)
class Comparison:
    """
    Comparison of two variants.

    :param variant: the changed variant.
    :param against: the reference variant.
    :param asks: the question as text.
    """

    variant: str
    against: str
    asks: str = ''


@dataclass(frozen=True)
class Ablation:
    """
    Content of an ablation's file.

    :param recipe: common to all runs; `extends` names recipes, from the file's folder, and
        `{seed}` in a text is the run's seed.
    :param variants: changes to the recipe by name.
    :param measured: evaluation data sets of the final models, by name.
    :param seeds: each variant is trained with each of them.
    :param out: folder of the runs: {out}/{variant}/seed_{seed}.
    :param page: page with the generated part; pictures are written to images/ beside it.
    :param part: name of that part, and prefix of the pictures' names.
    :param summary: JSON of all runs' numbers; None for none.
    :param preparations: recipes by name, trained once, before those that mention {out}/{name}.
    :param baselines: baselines without learning, keys of
        `sync_perception.studies.depth_baselines.BASELINES`.
    :param comparisons: paired comparisons of variants.
    :param metrics: metrics in the tables, keys of HIGHER_IS_BETTER.
    :param curves: variants whose losses are drawn, at most the number of colours; by default those
        compared, or else the first ones.
    :param series: arrangement of variants by an amount, in a table and a picture of the first
        metric on the first of `measured`; None for none.
    :param notes: text for the page.
    :raises ValueError: if settings contradict each other.
    """

    recipe: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    measured: list[EvaluationSource]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    out: str = 'runs/ablation'
    page: str = 'docs/ablation.md'
    part: str = 'ablation'
    summary: str | None = None
    preparations: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    metrics: list[str] = field(default_factory=lambda: ['miou', 'abs_rel', 'delta1'])
    curves: list[str] = field(default_factory=list)
    series: Series | None = None
    notes: str = ''

    def __post_init__(self):
        """Check the plan before training."""
        for kind in ('variants', 'measured', 'seeds', 'metrics'):
            if not getattr(self, kind):
                raise ValueError(f'{kind}: expected at least one')
        names = [source.name for source in self.measured]
        for kind, listed in (('seeds', self.seeds), ('measured', names)):
            if len(set(listed)) < len(listed):
                raise ValueError(f'{kind}: expected all different, got {listed}')
        check_known('metrics', self.metrics, HIGHER_IS_BETTER)
        check_known('baselines', self.baselines, BASELINES)
        unscaled = [source.name for source in self.measured if not source.median_scaling]
        if self.baselines and unscaled:
            raise ValueError(
                f'measured {unscaled[0]}: expected median_scaling: true, since the baselines have '
                'no metric scale, got false')
        compared = [name for pair in self.comparisons for name in (pair.variant, pair.against)]
        check_known('comparisons', compared, self.variants)
        check_known('curves', self.curves, self.variants)
        check_known('series', self.series.variants() if self.series else (), self.variants)
        if len(self.curves) > len(PALETTE):
            raise ValueError(f'curves: expected at most {len(PALETTE)}, got {len(self.curves)}')
        for name in (*self.variants, *self.preparations, self.part):
            if not name or '/' in name or name.startswith('.'):
                raise ValueError(f'expected a name that a folder can have, got {name!r}')
        twice = sorted(set(self.variants) & set(self.preparations))
        if twice:
            raise ValueError(f'{twice[0]!r} is both a variant and a preparation')
        for name, change in self.variants.items():
            if BASES in change:
                raise ValueError(
                    f'variant {name!r}: expected changes of the recipe, got {BASES!r}, which only '
                    'the recipe and preparations have')

    def runs(self) -> list[Run]:
        """Return the whole grid, seed by seed, so that compared runs are close in time."""
        return [self.run(name, seed) for seed in self.seeds for name in self.variants]

    def run(self, variant: str, seed: int) -> Run:
        """Return the run of a variant and seed."""
        folder = Path(self.out) / variant / f'seed_{seed}'
        recipe = changed(self.recipe, self.variants[variant])
        return Run(folder, placed(recipe, folder, seed), variant, seed, self.measured)

    def drawn(self) -> list[str]:
        """Return the variants whose losses are drawn."""
        compared = {name for pair in self.comparisons for name in (pair.variant, pair.against)}
        chosen = self.curves or [name for name in self.variants if name in compared]
        return (chosen or list(self.variants))[:len(PALETTE)]

    def preparations_of(self, runs: Sequence[Run]) -> list[Run]:
        """Return the preparations that runs depend on, directly or through other preparations."""
        needed: list[Run] = []
        for name, recipe in reversed(self.preparations.items()):
            folder = Path(self.out) / name
            wanted = [text for run in (*runs, *needed) for text in texts(run.recipe)]
            if any(Path(text).absolute().is_relative_to(folder.absolute()) for text in wanted):
                needed.append(Run(folder, placed(recipe, folder), name))
        return needed[::-1]


def placed(recipe: dict[str, Any], folder: Path, seed: int | None = None) -> dict[str, Any]:
    """Return a recipe with its output folder and seed filled in."""
    place: dict[str, Any] = {'trainer': {'default_root_dir': str(folder)}}
    if seed is not None:
        place |= {'seed_everything': seed, 'data': {'seed': seed}}
        recipe = with_texts(recipe, lambda text: text.replace(SEED, str(seed)))
    return changed(recipe, place)


def load_ablation(path: str | Path) -> Ablation:
    """
    Read an ablation's file.

    :raises FileNotFoundError: if it, or a recipe that it extends, does not exist.
    :raises ValueError: if it has unknown keys or contradicts itself.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no ablation {path}')
    content = read_yaml(path)
    mapping(content, str(path))
    check_numbers(content, f'{path}: ')
    try:
        return make_ablation(content, path)
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f'{path}: {type(error).__name__}: {first_line(error)}') from error


def make_ablation(content: dict[str, Any], path: Path) -> Ablation:
    """
    Return the ablation of a file's content.

    :param path: path of the file.
    """
    check_keys(Ablation, content, str(path))
    for kind in ('recipe', 'variants', 'preparations'):
        if not isinstance(content.get(kind, {}), dict):
            raise ValueError(f'{path}: {kind}: expected a mapping, got {content[kind]!r:.80}')
    sections = {
        'recipe': extended(content['recipe'], path.parent),
        'preparations': {name: extended(recipe, path.parent)
                         for name, recipe in content.get('preparations', {}).items()},
        'variants': {name: change or {} for name, change in content['variants'].items()},
        'measured': [build(EvaluationSource, entry, f'{path}: measured {index}')
                     for index, entry in enumerate(content['measured'], 1)],
        'comparisons': [build(Comparison, entry, f'{path}: comparison {index}')
                        for index, entry in enumerate(content.get('comparisons', ()), 1)]}
    if content.get('series') is not None:
        sections['series'] = build(Series, content['series'], f'{path}: series')
    try:
        return Ablation(**{**content, **sections})
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def build(kind: type[Settings], entry: Any, where: str) -> Settings:
    """
    Build settings from a mapping.

    :raises ValueError: if the mapping is invalid.
    """
    check_keys(kind, entry, where)
    return kind(**entry)


def check_keys(kind: type, entry: Any, where: str) -> None:
    """
    Check the keys of a mapping.

    :raises ValueError: if it is not a mapping, or has unknown or missing keys.
    """
    if not isinstance(entry, dict):
        raise ValueError(f'{where}: expected a mapping, got {entry!r:.80}')
    known = [each.name for each in fields(kind)]
    check_known(where, list(entry), known)
    missing = [each.name for each in fields(kind) if each.name not in entry
               and each.default is MISSING and each.default_factory is MISSING]
    if missing:
        raise ValueError(f'{where}: {", ".join(missing)} missing')
