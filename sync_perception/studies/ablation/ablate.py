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

"""`sync_perception ablate`: train and compare variants of a recipe over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
import logging
from pathlib import Path
from typing import Any

from rich.console import Console
from sync_perception.files.pages import split_page
from sync_perception.studies.ablation.page import write_ablation_page
from sync_perception.studies.ablation.plan import load_ablation
from sync_perception.studies.ablation.runs import carry_out, check_settings, Fit, is_done, Run
from sync_perception.studies.shards import parse_shard
from sync_perception.studies.training_process import train_in_child
from sync_perception.training.recipes import check_known, check_variables

LOG = logging.getLogger(__name__)


def ablate(
        config: str | Path, only: Sequence[str] = (), shard: str | None = None,
        page_only: bool = False, fit: Fit = train_in_child) -> dict[str, Any]:
    """
    Train and evaluate the missing runs, and write the page when all are complete.

    :param config: the ablation's file.
    :param only: variants, by name; all by default.
    :param shard: `i/n`, the i-th of n processes that share the runs.
    :param page_only: whether to only write the page from the existing runs.
    :param fit: training function of the run's folder and the arguments of `train`.
    :return: runs, done (their numbers), failed (errors by run), missing (runs), and page, None
        unless it was written.
    :raises FileNotFoundError: if a file that the runs need does not exist.
    :raises ValueError: if the file is invalid, needs an unset environment variable, if the page
        lacks the part, or if existing runs had other settings.
    """
    ablation = load_ablation(config)
    check_known('only', only, ablation.variants)
    if Path(ablation.page).is_file():
        split_page(ablation.page, ablation.part)
    part, parts = parse_shard(shard or '1/1')
    everything = ablation.runs()
    chosen = [run for run in everything if run.name in (only or ablation.variants)]
    chosen = [] if page_only else chosen[part - 1::parts]
    for run in (*ablation.preparations_of(everything), *everything):
        check_settings(run)
    chosen = [*ablation.preparations_of(chosen), *chosen]
    for run in chosen:
        check_variables(run.recipe)
    for source in ablation.measured if chosen else ():
        source.load()
    failed = carry_out_all(chosen, fit)
    missing = [run.label for run in everything if not is_done(run)]
    done = len(everything) - len(missing)
    page = None
    if page_only or not missing:
        page = write_ablation_page(ablation, everything, config)
    return {'runs': len(everything), 'done': done, 'failed': failed, 'missing': missing,
            'page': page}


def carry_out_all(runs: Sequence[Run], fit: Fit) -> dict[str, str]:
    """Execute runs one after the other, also after failures; return the failures."""
    console, failed = Console(stderr=True), {}
    for number, run in enumerate(runs, 1):
        try:
            for news in carry_out(run, fit):
                console.print(f'{number} of {len(runs)}: {run.label}: {news}', highlight=False)
        except (ValueError, OSError, RuntimeError) as error:
            LOG.error('%s failed: %s', run.label, error)
            failed[run.label] = str(error)
    return failed


def ablation_summary(result: dict[str, Any]) -> str:
    """Return a summary of `ablate` as text."""
    lines = [f'{result["done"]} of {result["runs"]} runs are done']
    lines += [f'failed: {name}: {error}' for name, error in result['failed'].items()]
    if result['missing']:
        lines.append(f'missing: {"; ".join(result["missing"])}')
    if result['page']:
        lines.append(f'The page is {result["page"]}')
    return '\n'.join(lines)
