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

"""Training curves: read from logs, averaged over runs, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
import json
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
import numpy as np
from sync_perception.files.whole_files import write_bytes, write_text
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

matplotlib.use('Agg')

Curve = tuple[list[int], list[float]]
"""Steps, ascending, and the values at them."""
KEPT = ('train/', 'val/', 'coupling/')
BINS, LOSS_BINS = 40, 12
LABEL_GAP, LEADER = 0.085, 0.05
BAND = 0.13
LOGARITHMIC = ('Loss', 'Training loss')
"""Titles of panels that may need a logarithmic axis."""
DECADES = 5
"""Ratio of the greatest to the least value for a logarithmic axis."""
PALETTE = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000')
"""Okabe and Ito's colour-blind safe colours, without yellow."""
INK, FADED = '#262a30', '#6b7178'
STYLE = {
    'font.size': 10, 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.edgecolor': FADED, 'axes.labelcolor': INK, 'axes.titlelocation': 'left',
    'axes.titlesize': 11, 'xtick.color': FADED, 'ytick.color': FADED, 'axes.grid': True,
    'grid.color': '#e6e8ea', 'axes.axisbelow': True}


def read_curves(folder: str | Path) -> dict[str, Curve]:
    """
    Read a training's log: losses, metrics and coupling norms.

    If a resumed training repeated steps, the later values are used.

    :param folder: folder of its TensorBoard event files.
    :return: curves by tag.
    """
    # all scalars, no pictures
    log = EventAccumulator(str(folder), size_guidance={'scalars': 0, 'images': 1})
    log.Reload()
    curves: dict[str, Curve] = {}
    for tag in sorted(log.Tags()['scalars']):
        if tag.startswith(KEPT):
            latest = {event.step: event.value
                      for event in sorted(log.Scalars(tag), key=lambda event: event.wall_time)}
            steps = sorted(latest)
            curves[tag] = steps, [float(f'{latest[step]:.5g}') for step in steps]
    return curves


def write_curves(path: Path, curves: dict[str, Curve]) -> None:
    """Write curves as JSON, one per line."""
    lines = [f'{json.dumps(tag)}: {json.dumps(curve)}' for tag, curve in curves.items()]
    write_text(path, '{\n' + ',\n'.join(lines) + '\n}\n')


def load_curves(path: Path) -> dict[str, Curve]:
    """Read the curves of `write_curves`; {} if the file does not exist."""
    if not path.is_file():
        return {}
    return {tag: (steps, values) for tag, (steps, values) in json.loads(path.read_text()).items()}


def bins_of(tag: str) -> int:
    """Return the number of bins of a curve: few for losses, which vary between batches."""
    return LOSS_BINS if tag.startswith('train/') else BINS


def averaged(curves: Sequence[Curve], bins: int = BINS) -> tuple[np.ndarray, ...]:
    """
    Average curves of several runs, each first within bins of steps.

    :param bins: greatest number of bins; fewer if a curve has fewer points.
    :return: steps, mean and standard deviation over the runs (0 for a single run), float64, for
        the bins in which every run has a value.
    """
    last = max(steps[-1] for steps, _ in curves)
    edges = np.linspace(0, last, min(bins, *(len(steps) for steps, _ in curves)) + 1)
    rows, places = [], []
    for steps, values in curves:
        # bins include their right edge, at which validation happens
        index = np.searchsorted(edges[1:-1] + 1e-6, steps, side='left')
        count = np.bincount(index, minlength=len(edges) - 1)
        with np.errstate(invalid='ignore'):
            rows.append(np.bincount(index, values, len(edges) - 1) / count)
            places.append(np.bincount(index, steps, len(edges) - 1) / count)
    table = np.array(rows)
    known = np.isfinite(table).all(axis=0)
    table, places = table[:, known], np.array(places)[:, known]
    deviation = table.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(table.shape[1])
    return places.mean(axis=0), table.mean(axis=0), deviation


def draw_comparison(
        variants: dict[str, Sequence[dict[str, Curve]]], tags: dict[str, str], title: str,
        path: Path) -> bool:
    """
    Draw the curves of variants, one panel per tag.

    :param variants: the curves of each one's runs.
    :param tags: the panels' titles by tag.
    :param path: PNG to write.
    :return: whether there were curves to draw.
    """
    shown = {tag: name for tag, name in tags.items()
             if any(tag in run for runs in variants.values() for run in runs)}
    if not shown:
        return False
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure((1 + 5 * columns, 0.6 + 3.1 * rows), layout='constrained')
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, (tag, name) in zip(axes, shown.items()):
            lines = {}
            for color, (variant, runs) in zip(PALETTE, variants.items()):
                curves = [run[tag] for run in runs if tag in run]
                if curves:
                    lines[variant] = (*averaged(curves, bins_of(tag)), color)
            draw_lines(panel, lines, name)
            panel.set_xlabel('step')
        for panel in axes[len(shown):]:
            panel.remove()
        figure.suptitle(title, x=0.01, ha='left', color=INK)
        save_figure(figure, path)
    return True


def draw_couplings(
        runs: Sequence[dict[str, Curve]], losses: dict[str, str], title: str, path: Path) -> bool:
    """
    Draw a variant's coupling norms per level, below its losses.

    :param runs: the curves of its runs.
    :param losses: the titles of the upper panel's lines by tag.
    :param path: PNG to write.
    :return: whether there were curves to draw.
    """
    directions: dict[str, list[str]] = {}
    for tag in sorted({tag for run in runs for tag in run if tag.startswith('coupling/')},
                      key=lambda tag: int(tag.rpartition('/')[2])):
        directions.setdefault(tag.split('/')[1], []).append(tag)
    if not directions:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure((11, 2.9 * (1 + len(directions))), layout='constrained')
        panels = figure.subplots(1 + len(directions), 1, sharex=True)
        upper = {name: (*averaged([run[tag] for run in runs if tag in run], LOSS_BINS), color)
                 for color, (tag, name) in zip(PALETTE, losses.items())
                 if any(tag in run for run in runs)}
        draw_lines(panels[0], upper, 'Loss')
        for panel, (direction, tags) in zip(panels[1:], sorted(directions.items())):
            shades = matplotlib.colormaps['viridis'](np.linspace(0, 0.85, len(tags)))
            lines = {}
            for tag, shade in zip(tags, shades):
                level = int(tag.rpartition('/')[2])
                name = f'level {level}' + (' (finest)' if level == 0 else '')
                lines[name] = (*averaged([run[tag] for run in runs if tag in run]), shade)
            draw_lines(panel, lines, f'Norm of the coupling, {direction.replace("_", " ")}')
        panels[-1].set_xlabel('step')
        figure.suptitle(title, x=0.01, ha='left', color=INK)
        save_figure(figure, path)
    return True


def draw_lines(panel: Axes, lines: dict[str, tuple], title: str) -> None:
    """
    Draw mean lines with deviation bands, each labelled at its end.

    :param lines: steps, mean, deviation and colour by name.
    """
    panel.set_title(title, color=INK)
    values = np.concatenate([mean for _, mean, *_ in lines.values()] or [np.ones(1)])
    logarithmic = title.startswith(LOGARITHMIC) and values.max() > DECADES * values.min() > 0
    if logarithmic:
        panel.set_yscale('log')
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FormatStrFormatter('%g'))
        panel.yaxis.set_minor_formatter(NullFormatter())
    for steps, mean, deviation, color in lines.values():
        lower = mean - deviation
        lower = np.maximum(lower, mean / 10) if logarithmic else lower
        panel.fill_between(steps, lower, mean + deviation, color=color, alpha=BAND, linewidth=0)
        panel.plot(steps, mean, color=color, linewidth=1.6)
    panel.margins(x=0)
    panel.autoscale_view()
    to_panel = panel.transData + panel.transAxes.inverted()
    ends = {name: to_panel.transform((steps[-1], mean[-1]))
            for name, (steps, mean, *_) in lines.items()}
    heights = {name: end[1] for name, end in ends.items()}
    for name, place in spread_apart(heights, LABEL_GAP).items():
        color = lines[name][-1]
        panel.annotate(
            name, ends[name], (1 + LEADER, place), xycoords='axes fraction', va='center',
            color=color, fontsize=9, annotation_clip=False, arrowprops={
                'arrowstyle': '-', 'color': color, 'linewidth': 0.8, 'linestyle': ':',
                'shrinkA': 2, 'shrinkB': 3, 'relpos': (0, 0.5)})


def spread_apart(places: dict[str, float], gap: float) -> dict[str, float]:
    """
    Move label positions so that neighbours keep a distance; groups spread around their mean.

    :param places: by name.
    :return: the new places, in the same order.
    """
    groups: list[tuple[float, list[str]]] = []
    for name in sorted(places, key=places.get):
        middle, members = places[name], [name]
        while groups and groups[-1][0] + gap * (len(groups[-1][1]) + len(members)) / 2 > middle:
            before, others = groups.pop()
            total = before * len(others) + middle * len(members)
            members = others + members
            middle = total / len(members)
        groups.append((middle, members))
    return {name: middle + gap * (index - (len(members) - 1) / 2)
            for middle, members in groups for index, name in enumerate(members)}


def step_reached(curve: tuple[np.ndarray, ...], share: float) -> int:
    """
    Return when a curve has permanently covered a share of the way from first to last value.

    :param curve: result of `averaged`.
    :return: the first step from which on it has.
    """
    steps, values = curve[:2]
    way = (values - values[0]) / (values[-1] - values[0])
    before = np.flatnonzero(way < share)
    return int(round(steps[before[-1] + 1 if len(before) else 0]))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG without date, so that equal curves give equal files."""
    content = BytesIO()
    figure.savefig(content, format='png', dpi=110, metadata={'Software': None})
    write_bytes(path, content.getbuffer())
