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

"""Page of an ablation: tables, statements and curves, generated from its runs' folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict
import json
import math
from pathlib import Path
import textwrap
from typing import Any

from sync_perception.datasets.derived.selection_files import split_words
from sync_perception.files.pages import markers, replace_part
from sync_perception.files.whole_files import write_text
from sync_perception.studies.ablation.curves_page import draw_curves
from sync_perception.studies.ablation.plan import Ablation, Comparison, HIGHER_IS_BETTER
from sync_perception.studies.ablation.runs import is_done, read_results, Run
from sync_perception.studies.ablation.series import draw_series, series_table
from sync_perception.studies.depth_baselines import measure_baseline
from sync_perception.studies.seed_statistics import (
    chance,
    Difference,
    HELPS,
    HURTS,
    paired_difference,
    Spread,
    spread,
)

WIDTH = 105
Measure = tuple[str, str]
"""Name of a data set, and a metric."""
Results = list[dict[str, Any]]


def write_ablation_page(ablation: Ablation, runs: Sequence[Run], config: str | Path) -> Path:
    """
    Write the page, its pictures and the summary of the existing runs.

    :param runs: the whole grid, complete or not.
    :param config: the ablation's file, for the command.
    :return: path of the page.
    :raises ValueError: if no run is complete, or an existing page lacks the markers.
    """
    done = [run for run in runs if is_done(run)]
    if not done:
        raise ValueError(f'no run is done in {ablation.out}')
    results = [read_results(run) for run in done]
    page = Path(ablation.page)
    if not page.is_file():
        page.parent.mkdir(parents=True, exist_ok=True)
        write_text(page, '\n'.join(['# Ablation', '', *markers(ablation.part), '']))
    missing = [run.label for run in runs if run not in done]
    baselines = {name: {
        (source.name, metric): value for source in ablation.measured
        for metric, value in measure_baseline(name, source).items()}
        for name in ablation.baselines}
    lines = [
        *setting(ablation, results, missing, config), '',
        *first_table(ablation, results, baselines), '',
        *second_table(ablation, results), *statements(ablation, results),
        *in_series(ablation, results, page), *draw_curves(ablation, done, page)]
    if ablation.notes.strip():
        lines += ['', ablation.notes.strip()]
    if ablation.summary:
        write_summary(ablation, results, baselines, config)
    replace_part(page, ablation.part, lines)
    return page


def write_summary(
        ablation: Ablation, results: Results, baselines: dict[str, dict[Measure, float]],
        config: str | Path) -> None:
    """Write all numbers of all runs, from which the page's figures can be reproduced."""
    runs, protocols = deepcopy(results), {}
    for run in runs:
        for name, entry in run['measured'].items():
            protocols[name] = entry['scores'].pop('protocol')
    write_text(ablation.summary, json.dumps({
        'config': str(config), 'recipe': ablation.recipe, 'variants': ablation.variants,
        'comparisons': [asdict(comparison) for comparison in ablation.comparisons],
        'metrics': ablation.metrics, 'protocols': protocols,
        'baselines': {name: {' '.join(measure): value for measure, value in scores.items()}
                      for name, scores in baselines.items()},
        'runs': runs}, indent=1) + '\n')


def by_seed(results: Results, variant: str, measure: Measure) -> dict[int, float]:
    """Return a variant's metric by seed, for the runs that have it."""
    source, metric = measure
    found = {
        run['seed']: run['measured'][source]['scores'].get(metric)
        for run in results if run['name'] == variant and source in run['measured']}
    return {seed: value for seed, value in found.items()
            if value is not None and math.isfinite(value)}


def measures(ablation: Ablation, results: Results) -> list[Measure]:
    """Return the columns of the tables: all metrics of any run."""
    everything = [(source.name, metric) for source in ablation.measured
                  for metric in ablation.metrics]
    return [measure for measure in everything
            if any(by_seed(results, variant, measure) for variant in ablation.variants)]


def split_name(split: str) -> str:
    """Return a split's name; all files of `select` have the same, whatever seed they name."""
    return split if split_words(split) is None else 'a selection'


def setting(
        ablation: Ablation, results: Results, missing: Sequence[str], config: str | Path
        ) -> list[str]:
    """Describe the setting: runs, seeds and machine."""
    records = [run['record'] for run in results]
    counts = f'{len(results)} runs: {len(ablation.variants)} variants with the seeds ' \
             f'{", ".join(map(str, ablation.seeds))}.'
    data = distinct(', '.join(f'{part["dataset"]} ({split_name(part["split"])})'
                              for part in record['data']) for record in records)
    sizes = distinct(f'{record["batch_size"]} crops of {record["crop"][0]}x{record["crop"][1]}'
                     for record in records)
    wanted = {source.name for source in ablation.measured}
    sources = distinct(
        f'{name} ({entry["scores"]["dataset"]}, {entry["scores"]["split"]}, '
        f'{entry["scores"]["frames"]} frames)'
        for run in results for name, entry in run['measured'].items() if name in wanted)
    lines = [
        f'`sync_perception ablate --config {config}`', '', wrapped(
            f'{counts} Each was trained for {distinct(run["steps"] for run in results)} steps '
            f'with {sizes} (height x width) from {data}, on '
            f'{distinct(record["machine"] for record in records)}, torch '
            f'{distinct(record["torch"] for record in records)}, finished '
            f'{distinct(record["finished"] for record in records)}. The averaged weights of the '
            f'last step were evaluated on {sources}. Other programs on the machine increase the '
            'seconds.')]
    if missing:
        lines += ['', wrapped(f'**Incomplete**, without: {"; ".join(missing)}.')]
    return lines


def distinct(values: Iterable[Any]) -> str:
    """Join the distinct values, in the order of first appearance."""
    return '; '.join(dict.fromkeys(map(str, values)))


def first_table(
        ablation: Ablation, results: Results, baselines: dict[str, dict[Measure, float]]
        ) -> list[str]:
    """Return the table of baselines and variants' means over seeds, each column's best in bold."""
    columns = measures(ablation, results)
    cells = {
        variant: {measure: spread(list(values.values())) for measure in columns
                  if (values := by_seed(results, variant, measure))}
        for variant in ablation.variants}
    best = {measure: best_mean(measure, cells) for measure in columns}
    heads = ['variant', *map(headed, columns), 'parameters (M)', 'seconds']
    lines = ['Mean and standard deviation over seeds, the best mean in bold:', '',
             *table_head(heads)]
    for name, scores in baselines.items():
        row = [f'{scores[measure]:.4f}' if measure in scores else '–' for measure in columns]
        lines.append(f'| {" | ".join([name, *row, "–", "–"])} |')
    for variant in ablation.variants:
        own = [run for run in results if run['name'] == variant]
        if not own:
            continue
        row = [spread_text(cells[variant].get(measure), best[measure], len(ablation.seeds))
               for measure in columns]
        million = distinct(f'{run["parameters"] / 1e6:.2f}' for run in own)
        seconds = spread([run['seconds'] for run in own])
        lines.append(f'| {" | ".join([variant, *row, million, f"{seconds.mean:.0f}"])} |')
    return lines


def best_mean(measure: Measure, cells: dict[str, dict[Measure, Spread]]) -> float | None:
    """Return the best variant's mean; None if there is only one value."""
    means = [row[measure].mean for row in cells.values() if measure in row]
    if len(means) < 2:
        return None
    return (max if HIGHER_IS_BETTER[measure[1]] else min)(means)


def headed(measure: Measure) -> str:
    """Return a column's header, with an arrow for the better direction."""
    return f'{measure[0]} {measure[1]} {"↑" if HIGHER_IS_BETTER[measure[1]] else "↓"}'


def table_head(heads: Sequence[str]) -> list[str]:
    """Return a table's two header lines: names left-aligned, numbers right-aligned."""
    return [f'| {" | ".join(heads)} |', '|---|' + '---:|' * (len(heads) - 1)]


def spread_text(value: Spread | None, best: float | None, expected: int) -> str:
    """Return mean and deviation as text, bold if best, with the number of seeds if incomplete."""
    if value is None:
        return '–'
    text = f'{value.mean:.4f}{deviation_text(value)}'
    text = f'**{text}**' if value.mean == best else text
    return text if value.count == expected else f'{text} ({value.count} of {expected} seeds)'


def deviation_text(value: Spread) -> str:
    """Return a standard deviation as text, if there is one."""
    return '' if value.deviation is None else f' ± {value.deviation:.4f}'


def paired_differences(
        comparison: Comparison, results: Results, columns: Sequence[Measure]
        ) -> dict[Measure, Difference]:
    """Return the paired differences of two variants in all common metrics."""
    found = {measure: paired_difference(
        by_seed(results, comparison.variant, measure),
        by_seed(results, comparison.against, measure), HIGHER_IS_BETTER[measure[1]])
        for measure in columns}
    return {measure: difference for measure, difference in found.items() if difference}


def in_series(ablation: Ablation, results: Results, page: Path) -> list[str]:
    """Return the table and picture of the series, if configured."""
    if ablation.series is None:
        return []
    measure = ablation.measured[0].name, ablation.metrics[0]

    def cell(variant: str) -> Spread | None:
        values = list(by_seed(results, variant, measure).values())
        return spread(values) if values else None

    title = f'{headed(measure)}, mean and standard deviation over seeds'
    lines = ['', f'{title}:', '',
             *series_table(ablation.series, cell, HIGHER_IS_BETTER[measure[1]])]
    path = page.parent / 'images' / f'{ablation.part}_series.png'
    if draw_series(ablation.series, cell, title, path):
        lines += ['', f'![{title}, over {ablation.series.axis}](images/{path.name})']
    return lines


def second_table(ablation: Ablation, results: Results) -> list[str]:
    """Return the table of the paired comparisons."""
    if not ablation.comparisons:
        return []
    columns = measures(ablation, results)
    lines = [
        'Differences, seed by seed: mean and standard deviation, and in how many seeds the first '
        'one is better:', '', *table_head(['comparison', *map(headed, columns)])]
    for comparison in ablation.comparisons:
        found = paired_differences(comparison, results, columns)
        row = [signed(found[measure]) if measure in found else '–' for measure in columns]
        name = f'{comparison.variant} − {comparison.against}'
        lines.append(f'| {" | ".join([name, *row])} |')
    return lines


def signed(difference: Difference) -> str:
    """Return a signed difference with its deviation and the number of improved seeds."""
    own = difference.spread
    return f'{own.mean:+.4f}{deviation_text(own)}, {difference.better}/{own.count}'


def statements(ablation: Ablation, results: Results) -> list[str]:
    """Return the conclusion of each comparison as text, with the rule applied."""
    if not ablation.comparisons:
        return []
    columns = measures(ablation, results)
    compared = [(comparison, paired_differences(comparison, results, columns))
                for comparison in ablation.comparisons]
    cells = [difference for _, found in compared for difference in found.values()]
    rule = ('A change *helps* or *hurts* where the differences of all seeds have the same sign '
            'and their mean is farther from 0 than their standard deviation. ')
    lucky = sum(chance(difference.spread.count) for difference in cells)
    rule += (f'{sum(difference.verdict != "" for difference in cells)} of the {len(cells)} '
             f'differences above help or hurt; by chance alone, up to {lucky:.1f} would.')
    return ['', wrapped(rule), '', *(f'- {sentence(*each)}' for each in compared)]


def sentence(comparison: Comparison, found: dict[Measure, Difference]) -> str:
    """Return the conclusion of a comparison as a sentence."""
    asks = f'{comparison.asks} ' if comparison.asks else ''
    start = f'{asks}**{comparison.variant}** against **{comparison.against}**'
    if not found:
        return f'{start}: the two have no metric in common for any seed.'
    counts = sorted({difference.spread.count for difference in found.values()})
    seeds = f'{" or ".join(map(str, counts))} seed{"s" if counts[-1] > 1 else ""}'
    parts = []
    for verdict in (HELPS, HURTS, ''):
        names = [' '.join(measure) + (f' ({difference.spread.mean:+.4f})' if verdict else '')
                 for measure, difference in found.items() if difference.verdict == verdict]
        if names:
            what = verdict or f'has no consistent effect over {seeds} on'
            parts.append(f'{what} {joined(names)}')
    return f'{start}: {"; ".join(parts)}.'


def joined(names: Sequence[str]) -> str:
    """Join names, the last one by `and`."""
    return ' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))


def wrapped(text: str) -> str:
    """Wrap a paragraph."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
