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

"""Training curves on an ablation's page, with the growth of the couplings."""

from __future__ import annotations

from collections.abc import Sequence
import math
from pathlib import Path

from sync_perception.studies.ablation.plan import Ablation
from sync_perception.studies.ablation.runs import CURVES, Run
from sync_perception.studies.training_curves import (
    averaged,
    BINS,
    Curve,
    draw_comparison,
    draw_couplings,
    load_curves,
    LOSS_BINS,
    step_reached,
)

LOSSES = {'train/task_depth': 'Training loss, depth',
          'train/task_semantics': 'Training loss, semantics',
          'train/task_normals': 'Training loss, normals'}
Curves = dict[str, Curve]
"""Logged curves of a run by tag."""


def draw_curves(ablation: Ablation, runs: Sequence[Run], page: Path) -> list[str]:
    """Draw the curves beside the page; return the Markdown lines that embed them."""
    curves: dict[str, list[Curves]] = {}
    for run in runs:
        curves.setdefault(run.name, []).append(load_curves(run.folder / CURVES))
    drawn = {name: curves[name] for name in ablation.drawn() if name in curves}
    logged = {f'val/{source}/{metric}': f'Validation, {source} {metric}'
              for source in measured_names(drawn) for metric in ablation.metrics}
    lines: list[str] = []
    over = 'mean and standard deviation over seeds'
    losses = page.parent / 'images' / f'{ablation.part}_losses.png'
    if draw_comparison(drawn, {**LOSSES, **logged}, f'While training: {over}', losses):
        names = ', '.join(f'"{name}"' for name in drawn)
        lines += ['', f'![Losses of {names} over the steps](images/{losses.name})']
    coupled = most_coupled(ablation.curves or list(ablation.variants), curves)
    couplings = page.parent / 'images' / f'{ablation.part}_couplings.png'
    titles = {tag: name.rpartition(', ')[2] for tag, name in LOSSES.items()}
    if coupled and draw_couplings(
            curves[coupled], titles, f'Couplings of "{coupled}": {over}', couplings):
        lines += ['', f'![Norms of the couplings of {coupled} over the steps, below its losses]'
                      f'(images/{couplings.name})', '',
                      *rise_table(coupled, curves[coupled], titles)]
    return lines


def rise_table(variant: str, runs: Sequence[Curves], losses: dict[str, str]) -> list[str]:
    """Describe when the coupling norms grew and the losses fell."""
    directions: dict[str, list[Curve]] = {}
    for run in runs:
        for direction, norm in whole_norms(run).items():
            directions.setdefault(direction, []).append(norm)
    falling = {f'loss of {name}': [run[tag] for run in runs if tag in run]
               for tag, name in losses.items()}
    rows = []
    for name, curves in {**directions, **falling}.items():
        if curves and any(values[0] != values[-1] for _, values in curves):
            mean = averaged(curves, LOSS_BINS if name in falling else BINS)
            rows.append(f'| {name} | {step_reached(mean, 0.5)} | {step_reached(mean, 0.9)} |')
    return [
        'Steps after which half and nine tenths of the change from the first to the last value '
        f'were reached, in the mean over seeds ({variant}):', '',
        '| | half | nine tenths |', '|---|---:|---:|', *rows]


def whole_norms(run: Curves) -> Curves:
    """Return the total norm of each direction's couplings over the steps."""
    found: Curves = {}
    for direction in sorted({tag.split('/')[1] for tag in run if tag.startswith('coupling/')}):
        levels = [curve for tag, curve in run.items()
                  if tag.startswith(f'coupling/{direction}/')]
        norms = [math.hypot(*values) for values in zip(*(values for _, values in levels))]
        found[f'coupling from {direction.replace("_", " ")}'] = levels[0][0], norms
    return found


def measured_names(curves: dict[str, list[Curves]]) -> list[str]:
    """Return the names of the validation sources."""
    tags = sorted({tag for runs in curves.values() for run in runs for tag in run
                   if tag.startswith('val/')})
    return list(dict.fromkeys(tag.split('/')[1] for tag in tags))


def most_coupled(
        variants: Sequence[str], curves: dict[str, list[Curves]]) -> str | None:
    """Return the first variant with the greatest number of active couplings."""
    def active(variant: str) -> int:
        return sum(tag.startswith('coupling/') and any(values)
                   for run in curves.get(variant, [])[:1] for tag, (_, values) in run.items())

    best = max(variants, key=active)
    return best if active(best) else None
