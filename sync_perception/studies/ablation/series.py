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


"""Series of an ablation's variants over an amount, such as the number of labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
import numpy as np
from sync_perception.studies.seed_statistics import Spread
from sync_perception.studies.training_curves import draw_lines, INK, PALETTE, save_figure, STYLE

Cell = Callable[[str], Spread | None]
"""Function from a variant to its mean and deviation over seeds; None if not measured."""


@dataclass(frozen=True)
class Series:
    """
    Arrangement of variants by an amount, such as the number of labels.

    :param axis: label of the amount's axis.
    :param lines: variants by ascending amount, for each line's name.
    :raises ValueError: unless there are lines, at most the number of colours, of ascending
        amounts.
    """

    axis: str
    lines: dict[str, dict[float, str]]

    def __post_init__(self):
        """Check the lines."""
        if not 1 <= len(self.lines) <= len(PALETTE):
            raise ValueError(
                f'series: expected 1 to {len(PALETTE)} lines, got {len(self.lines)}')
        for name, variants in self.lines.items():
            amounts = list(variants)
            numbers = all(isinstance(amount, (int, float)) and amount > 0 for amount in amounts)
            if not amounts or not numbers or amounts != sorted(amounts):
                raise ValueError(
                    f'series {name!r}: expected variants by rising amounts above 0, got '
                    f'{", ".join(map(str, amounts)) or "none"}')

    def variants(self) -> list[str]:
        """Return the names of all variants."""
        return [variant for line in self.lines.values() for variant in line.values()]

    def amounts(self) -> list[float]:
        """Return all amounts, ascending."""
        return sorted({amount for line in self.lines.values() for amount in line})


def series_table(series: Series, cell: Cell, more_is_better: bool) -> list[str]:
    """Return a table with one row per line and one column per amount, the best in bold."""
    amounts = series.amounts()
    cells = {name: {amount: value for amount, variant in line.items()
                    if (value := cell(variant)) is not None}
             for name, line in series.lines.items()}
    best = {}
    for amount in amounts:
        means = [line[amount].mean for line in cells.values() if amount in line]
        best[amount] = (max if more_is_better else min)(means) if len(means) > 1 else None
    lines = [f'| {series.axis} | {" | ".join(f"{amount:g}" for amount in amounts)} |',
             '|---|' + '---:|' * len(amounts)]
    for name, line in cells.items():
        row = [written(line.get(amount), best[amount]) for amount in amounts]
        lines.append(f'| {" | ".join([name, *row])} |')
    return lines


def written(value: Spread | None, best: float | None) -> str:
    """Return a mean and deviation with three decimals, bold if best."""
    if value is None:
        return '–'
    text = f'{value.mean:.3f}'
    if value.deviation is not None:
        text += f' ± {value.deviation:.3f}'
    return f'**{text}**' if value.mean == best else text


def draw_series(series: Series, cell: Cell, title: str, path: Path) -> bool:
    """
    Draw the lines over the amount, on a logarithmic axis.

    :param path: PNG to write.
    :return: whether there were values to draw.
    """
    lines = {}
    for color, (name, line) in zip(PALETTE, series.lines.items()):
        points = [(amount, value.mean, value.deviation or 0.0)
                  for amount, variant in line.items() if (value := cell(variant)) is not None]
        if points:
            lines[name] = (*np.array(points, float).T, color)
    if not lines:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 4.6), layout='constrained')
        panel = figure.subplots()
        panel.set_xscale('log')
        panel.xaxis.set_major_locator(FixedLocator(series.amounts()))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.xaxis.set_major_formatter(lambda amount, _: f'{amount:g}')
        for amounts, mean, _, color in lines.values():
            panel.plot(amounts, mean, 'o', color=color, markersize=4.5)
        draw_lines(panel, lines, title)
        panel.set_xlabel(series.axis, color=INK)
        save_figure(figure, path)
    return True
