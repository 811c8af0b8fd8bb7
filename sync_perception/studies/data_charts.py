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

"""Charts of a data set's content: class frequencies, annotations and depth histogram."""

from __future__ import annotations

import io
from pathlib import Path
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
import numpy as np
from sync_perception.files.whole_files import write_bytes
from sync_perception.images.colors import colorize_depth
from sync_perception.labels import LabelSpace

INK, FADED, PLAIN = '#262a30', '#787e86', '#607d9b'
WIDTH, ROW, BLOCK, HEAD = 6.4, 0.26, 1.1, 0.9
"""Inches: width of a column; heights of a bar, of the rest of a block, of the title."""
HISTOGRAM = 3.2
"""Height of the depth histogram, inches."""
RESOLUTION = 100
"""Dots per inch."""
LINE_LETTERS = 84
TAIL = 5e-4
"""Fraction of the pixels at either end of the histogram that is not drawn."""
TITLES = {'labels': 'Labels', 'expert_labels': 'Expert labels'}
ANNOTATION_NAMES = {
    'K': 'intrinsics', 'depth': 'depth', 'labels': 'labels', 'expert_labels': 'expert labels',
    'expert_confidence': 'expert confidence', 'normals': 'normals', 'pose': 'pose',
    'neighbours': 'both neighbours'}


def draw_check(result: dict[str, Any]) -> Figure:
    """
    Draw the result of `data_check.check`.

    :return: a figure with the classes on the left, annotations and depth on the right.
    """
    kinds = [kind for kind in TITLES if kind in result]
    left = [BLOCK + ROW * len(present(result[kind])) for kind in kinds]
    right = [BLOCK + ROW * len(ANNOTATION_NAMES), *([HISTOGRAM] if 'depth' in result else [])]
    columns = 2 if kinds else 1
    figure = Figure((WIDTH * columns, HEAD + max(sum(left), sum(right))), RESOLUTION,
                    layout='constrained')
    figure.suptitle(title(result), x=0.01, ha='left', fontweight='bold', color=INK)
    parts = figure.subfigures(1, columns, squeeze=False)[0]
    for kind, axes in zip(kinds, parts[0].subplots(
            len(kinds), squeeze=False, height_ratios=left)[:, 0] if kinds else ()):
        draw_classes(axes, TITLES[kind], result[kind])
    blocks = parts[-1].subplots(len(right), squeeze=False, height_ratios=right)[:, 0]
    draw_annotations(blocks[0], result)
    if 'depth' in result:
        draw_depth_histogram(blocks[1], result['depth'])
    return figure


def title(result: dict[str, Any]) -> str:
    """Return the data set's name, number of samples, image sizes and number of bad samples."""
    sizes, bad = list(result['sizes']), len(result['bad'])
    shown = ', '.join(sizes[:3]) + (f' and {len(sizes) - 3} more sizes' if len(sizes) > 3 else '')
    return (f'{result["dataset"]}, {result["split"]}: {result["samples"]:,} samples, {shown}, '
            f'{f"{bad:,}" if bad else "none"} bad')


def draw_classes(axes: Axes, name: str, histogram: dict[str, Any]) -> None:
    """Draw the frequencies of the present classes in their colours."""
    space, images = LabelSpace.load(histogram['space']), histogram.get('images')
    shares = present(histogram)
    notes = [percent(share) + (f' of pixels, {images[label]:.0%} of images' if images else '')
             for label, share in shares.items()]
    colors = [space.colors[space.index(label)] / 255 for label in shares]
    draw_bars(axes, f'{name}, {space.name}', shares, colors, notes)
    axes.set_xlabel('\n'.join(remarks(histogram)), loc='left', color=FADED)


def draw_annotations(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the fractions of the samples that have each annotation."""
    shares = {name: result['shares'][key] for key, name in ANNOTATION_NAMES.items()}
    draw_bars(axes, 'Samples with', shares, [PLAIN] * len(shares),
              [percent(share) for share in shares.values()])
    focal = result.get('focal_lengths')
    if focal:
        ends = dict.fromkeys(f'{focal[name]:.0f}' for name in ('least', 'greatest'))
        axes.set_xlabel(f'focal length {" to ".join(ends)} pixels', loc='left', color=FADED)


def draw_bars(axes: Axes, heading: str, shares: dict[str, float], colors: list[Any],
              notes: list[str]) -> None:
    """
    Draw one horizontal bar per name, the first one on top.

    :param notes: text at the end of each bar.
    """
    bars = axes.barh(list(shares), list(shares.values()), color=colors)
    axes.bar_label(bars, notes, padding=4, color=INK)
    axes.set_title(heading, loc='left', color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set_xticks([])
    axes.spines[['top', 'right', 'bottom']].set_visible(False)


def draw_depth_histogram(axes: Axes, depth: dict[str, Any]) -> None:
    """Draw the histogram of depth over the range that it covers, in the colours of depth."""
    known, sky = percent(depth['known']), percent(depth['sky'])
    axes.set_title(f'Depth: known in {known} of pixels, sky in {sky}', loc='left', color=INK)
    axes.set_yticks([])
    axes.spines[['top', 'right', 'left']].set_visible(False)
    counts, edges = np.array(depth['counts'], float), np.array(depth['edges'])
    if not counts.any():
        return
    below = counts.cumsum() / counts.sum()
    first, last = np.searchsorted(below, (TAIL, 1 - TAIL))
    lowest, highest = edges[first], edges[last + 1]
    colors = colorize_depth(np.sqrt(edges[:-1] * edges[1:])[None], highest, lowest)[0] / 255
    shown = slice(first, last + 1)
    axes.bar(edges[shown], counts[shown], np.diff(edges)[shown], align='edge',
             color=colors[shown])
    axes.set_xscale('log')
    axes.set_xlim(lowest, highest)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda metres, _: f'{metres:g} m'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    metres = depth['metres']
    axes.axvline(metres['median'], color=INK)
    axes.set_xlabel(f'median {metres["median"]:.2g} m, nine tenths from {metres["p5"]:.2g} to '
                    f'{metres["p95"]:.2g} m', loc='left', color=FADED)


def present(histogram: dict[str, Any]) -> dict[str, float]:
    """Return the shares of the classes that occur."""
    return {name: share for name, share in histogram['shares'].items() if share}


def remarks(histogram: dict[str, Any]) -> list[str]:
    """Return lines with the share of void and the absent classes, wrapped to the column."""
    absent = [name for name, share in histogram['shares'].items() if not share]
    text = f'{percent(histogram["void"])} of all pixels are void.'
    if absent:
        text += f' Absent: {", ".join(absent)}.'
    return textwrap.wrap(text, LINE_LETTERS)


def percent(share: float) -> str:
    """Return a share in percent, with two significant digits, at most two decimals."""
    if share and share < 0.0001:
        return '<0.01%'
    return f'{share:.0%}' if share in (0, 1) else f'{share:.{1 if share >= 0.01 else 2}%}'


def write_png(path: Path, figure: Figure) -> None:
    """
    Write a figure as a PNG file.

    :raises OSError: if that fails.
    """
    data = io.BytesIO()
    figure.savefig(data, format='png')
    write_bytes(path, data.getvalue())
