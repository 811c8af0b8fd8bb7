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

from collections.abc import Sequence
from pathlib import Path
import textwrap
from typing import Any

import cv2
import numpy as np
from sync_perception.images.colors import colorize_depth
from sync_perception.images.reading import write_image
from sync_perception.labels import LabelSpace

PAPER, INK, FADED, RULE, PLAIN, ALARM = (
    (252, 251, 249), (38, 42, 48), (120, 126, 134), (224, 226, 228), (96, 125, 155), (190, 40, 40))
COLUMN, MARGIN, GAP, ROW = 620, 40, 50, 26
HEAD, TITLE_SIZE, TEXT_SIZE = 96, 28, 15
BLOCK_HEAD = 44
NAME_WIDTH, VALUE_WIDTH = 150, 85
LINE, LINE_LETTERS = 22, 84
HISTOGRAM_HEIGHT = 260
DECADES = (0.1, 1, 10, 100, 1000)
TICKS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 2, 3, 4, 5, 6, 7, 8, 9))
TAIL = 5e-4
"""Share of the pixels at either end of the histogram that is not drawn."""
ANNOTATION_NAMES = {
    'K': 'intrinsics', 'depth': 'depth', 'labels': 'labels', 'expert_labels': 'expert labels',
    'expert_confidence': 'expert confidence', 'normals': 'normals', 'pose': 'pose',
    'neighbours': 'both neighbours'}


class Canvas:
    """
    White canvas for text and boxes.

    :param height: pixels.
    :param width: pixels.
    :ivar image: uint8 (height, width, 3), RGB.
    """

    def __init__(self, height: int, width: int):
        self.image = np.full((height, width, 3), PAPER, np.uint8)

    def text(
            self, text: str, x: int, y: int, color: Sequence[int] = INK, size: int = TEXT_SIZE,
            align: str = 'left', bold: bool = False) -> None:
        """
        Write a line.

        :param x: position of the left end, the centre or the right end, by `align`.
        :param y: position of the baseline.
        :param align: left, center or right.
        """
        if not hasattr(cv2, 'FontFace'):  # before OpenCV 5: stroke font
            scale, face = size / 30, cv2.FONT_HERSHEY_DUPLEX
            (width, _), _ = cv2.getTextSize(text, face, scale, 1)
            x -= {'left': 0, 'center': width // 2, 'right': width}[align]
            cv2.putText(self.image, text, (x, y), face, scale, color, 1, cv2.LINE_AA)
            return
        face, weight = cv2.FontFace('sans'), 650 if bold else 400
        _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), face, size, weight)
        x -= {'left': 0, 'center': width // 2, 'right': width}[align]
        cv2.putText(self.image, text, (x, y), color, face, size, weight)

    def box(self, x: float, y: float, width: float, height: float, color: Sequence[int]) -> None:
        """Fill a rectangle, given by its upper left corner, at least one pixel wide and high."""
        left, top = round(x), round(y)
        right, bottom = max(round(x + width), left + 1), max(round(y + height), top + 1)
        self.image[top:bottom, left:right] = color

    def rows(
            self, x: int, y: int, names: Sequence[str], shares: Sequence[float],
            colors: Sequence[Sequence[int]], notes: Sequence[Sequence[str]], whole: float) -> None:
        """
        Draw one bar per row, with its name on the left and notes on the right, in columns.

        :param y: position of the first row's upper edge.
        :param whole: share of a full bar.
        """
        width = COLUMN - NAME_WIDTH - VALUE_WIDTH * max(map(len, notes))
        for index, (name, share, color) in enumerate(zip(names, shares, colors)):
            top = y + index * ROW
            self.text(name, x + NAME_WIDTH - 12, top + 18, INK if share else FADED, align='right')
            self.box(x + NAME_WIDTH, top + 4, width, ROW - 8, RULE)
            if share:
                self.box(x + NAME_WIDTH, top + 4, width * share / whole, ROW - 8, color)
            for place, note in enumerate(reversed(notes[index])):
                self.text(note, x + COLUMN - place * VALUE_WIDTH, top + 18,
                          INK if share else FADED, align='right')

    def heading(self, x: int, y: int, title: str, *notes: str) -> None:
        """Write a block's title above a line, with notes in columns on the right."""
        self.text(title, x, y + 16, size=18, bold=True)
        for place, note in enumerate(reversed(notes)):
            self.text(note, x + COLUMN - place * VALUE_WIDTH, y + 16, FADED, align='right')
        self.box(x, y + 26, COLUMN, 1, FADED)


def draw_check(result: dict[str, Any]) -> np.ndarray:
    """
    Draw the result of `data_check.check`.

    :return: uint8 (H, W, 3), RGB.
    """
    kinds = [kind for kind in ('labels', 'expert_labels') if kind in result]
    left = sum(class_height(result[kind]) for kind in kinds)
    right = BLOCK_HEAD + ROW * len(ANNOTATION_NAMES) + GAP
    if 'depth' in result:
        right += BLOCK_HEAD + HISTOGRAM_HEIGHT + 2 * GAP
    columns = 2 if kinds else 1
    canvas = Canvas(
        HEAD + MARGIN + max(left, right), 2 * MARGIN + columns * COLUMN + (columns - 1) * GAP)
    draw_title(canvas, result)
    y = HEAD + MARGIN // 2
    for kind in kinds:
        draw_classes(canvas, MARGIN, y, kind, result[kind])
        y += class_height(result[kind])
    x, y = MARGIN + (columns - 1) * (COLUMN + GAP), HEAD + MARGIN // 2
    draw_annotations(canvas, x, y, result)
    if 'depth' in result:
        draw_depth(
            canvas, x, y + BLOCK_HEAD + ROW * len(ANNOTATION_NAMES) + GAP, result['depth'])
    return canvas.image


def draw_title(canvas: Canvas, result: dict[str, Any]) -> None:
    """Write the data set's name, image sizes and number of bad samples."""
    canvas.text(f'{result["dataset"]}, {result["split"]}', MARGIN, MARGIN + 12, size=TITLE_SIZE,
                bold=True)
    sizes = list(result['sizes'])
    shown = ', '.join(sizes[:3]) + (f' and {len(sizes) - 3} more sizes' if len(sizes) > 3 else '')
    canvas.text(f'{result["samples"]:,} samples   {shown}', MARGIN, MARGIN + 42, FADED)
    bad = len(result['bad'])
    canvas.text(f'{bad:,} bad' if bad else 'none bad', canvas.image.shape[1] - MARGIN,
                MARGIN + 42, ALARM if bad else FADED, align='right')


def draw_classes(
        canvas: Canvas, x: int, y: int, kind: str, histogram: dict[str, Any]) -> None:
    """Draw the frequencies of the present classes in their colours; the longest bar is full."""
    title = {'labels': 'Labels', 'expert_labels': 'Expert labels'}[kind]
    images = histogram.get('images')
    space = LabelSpace.load(histogram['space'])
    canvas.heading(x, y, f'{title}, {space.name}', 'of pixels',
                   *(['of images'] if images else []))
    shares = {name: share for name, share in histogram['shares'].items() if share}
    if shares:
        notes = [[percent(share), *([f'{images[name]:.0%}'] if images else [])]
                 for name, share in shares.items()]
        canvas.rows(
            x, y + BLOCK_HEAD, list(shares), list(shares.values()),
            [space.colors[space.index(name)].tolist() for name in shares], notes,
            max(shares.values()))
    y += BLOCK_HEAD + ROW * len(shares) + LINE
    for index, line in enumerate(remarks(histogram)):
        canvas.text(line, x, y + index * LINE, FADED)


def remarks(histogram: dict[str, Any]) -> list[str]:
    """Return lines with the share of void and the absent classes, wrapped to the column."""
    absent = [name for name, share in histogram['shares'].items() if not share]
    text = f'{percent(histogram["void"])} of all pixels are void.'
    if absent:
        text += f' Absent: {", ".join(absent)}.'
    return textwrap.wrap(text, LINE_LETTERS)


def class_height(histogram: dict[str, Any]) -> int:
    """Return the height of a block of classes, pixels."""
    bars = sum(share > 0 for share in histogram['shares'].values())
    return BLOCK_HEAD + ROW * bars + LINE * (len(remarks(histogram)) + 1) + GAP // 2


def percent(share: float) -> str:
    """Return a share in percent, with two significant digits, at most two decimals."""
    if share and share < 0.0001:
        return '<0.01%'
    return f'{share:.0%}' if share in (0, 1) else f'{share:.{1 if share >= 0.01 else 2}%}'


def draw_annotations(canvas: Canvas, x: int, y: int, result: dict[str, Any]) -> None:
    """Draw the shares of the samples that have each annotation."""
    focal = result.get('focal_lengths')
    note = ''
    if focal:
        ends = dict.fromkeys(f'{focal[name]:.0f}' for name in ('least', 'greatest'))
        note = f'focal length {" to ".join(ends)} pixels'
    canvas.heading(x, y, 'Samples with', note)
    shares = [result['shares'][key] for key in ANNOTATION_NAMES]
    canvas.rows(
        x, y + BLOCK_HEAD, list(ANNOTATION_NAMES.values()), shares, [PLAIN] * len(shares),
        [[percent(share)] for share in shares], 1.0)


def draw_depth(canvas: Canvas, x: int, y: int, depth: dict[str, Any]) -> None:
    """Draw the histogram of depth over the decades that it covers, in the colours of depth."""
    known, sky = percent(depth['known']), percent(depth['sky'])
    canvas.heading(x, y, 'Depth', f'known in {known} of pixels, sky in {sky}')
    counts, edges = np.array(depth['counts'], float), np.array(depth['edges'])
    if not counts.any():
        return
    below = counts.cumsum() / counts.sum()
    first, last = np.searchsorted(below, (TAIL, 1 - TAIL))
    lowest, highest = edges[first], edges[last + 1]
    top, base = y + BLOCK_HEAD, y + BLOCK_HEAD + HISTOGRAM_HEIGHT

    def place(metres: float) -> int:
        return round(x + COLUMN * np.log(metres / lowest) / np.log(highest / lowest))

    for tick in depth_ticks(lowest, highest):
        canvas.box(place(tick), top, 1, HISTOGRAM_HEIGHT, RULE)
        canvas.text(f'{tick:g} m', place(tick), base + 22, FADED, align='center')
    middles = np.sqrt(edges[:-1] * edges[1:])
    colors = colorize_depth(middles[None], highest, lowest)[0]
    for index in np.flatnonzero(counts[:last + 1]):
        if index >= first:
            height = counts[index] / counts.max() * HISTOGRAM_HEIGHT
            start, end = place(edges[index]), place(edges[index + 1])
            canvas.box(start, base - height, end - start, height, colors[index])
    canvas.box(x, base, COLUMN, 1, FADED)
    metres = depth['metres']
    canvas.box(place(metres['median']), top, 2, HISTOGRAM_HEIGHT, INK)
    canvas.text(f'median {metres["median"]:.2g} m, nine tenths from {metres["p5"]:.2g} to '
                f'{metres["p95"]:.2g} m', x + COLUMN, base + 52, FADED, align='right')


def depth_ticks(lowest: float, highest: float) -> list[float]:
    """Return round values in metres between two limits: the coarsest series of three or more."""
    ticks: list[float] = []
    for digits in TICKS:
        ticks = [float(f'{decade * digit:.2g}') for decade in DECADES for digit in digits
                 if lowest <= decade * digit <= highest]
        if len(ticks) >= 3:
            break
    return ticks


def write_png(path: Path, image: np.ndarray) -> None:
    """
    Write a uint8 (H, W, 3) RGB image.

    :raises OSError: if that fails.
    """
    options = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    write_image(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
