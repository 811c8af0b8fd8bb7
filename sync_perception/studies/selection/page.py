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

"""HTML page of the selected images, in order and with scores."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.progress import track
from sync_perception.datasets.derived.selection_files import Selection
from sync_perception.datasets.sample import DenseDataset
from sync_perception.evaluation.html_report.report_pictures import Picture, picture
from sync_perception.files.whole_files import write_text
from sync_perception.models.network_input import resize_image

TEMPLATE = 'page.html'
WIDTH = 320
STRATEGY_WORDS = {
    'random': 'by chance',
    'diversity': 'each as different as possible from those before it',
    'uncertainty': 'the first round at random, then where a depth student has the largest errors',
    'both': 'each different from those before it, from the second round on also where a depth '
            'student has large errors'}


def write_selection_page(selection: Selection, data: DenseDataset, path: Path) -> None:
    """
    Write a self-contained page.

    :param data: the data set of the images.
    """
    pictures = {
        name: draw(data, name) for name in track(
            selection.ids, f'page of {len(selection.ids)} images', console=Console(stderr=True))}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined)
    write_text(path, environment.get_template(TEMPLATE).render(
        selection=selection, rounds=rounds(selection), pictures=pictures, curve=curve(selection),
        words=STRATEGY_WORDS[selection.strategy], images=len(data),
        date=datetime.now(timezone.utc).strftime('%Y-%m-%d')))


def draw(data: DenseDataset, sample_id: str) -> Picture:
    """Return a small picture of a sample's image."""
    image = data.read(sample_id).image
    height, width = image.shape[:2]
    if width > WIDTH:
        image = resize_image(image, (max(round(height * WIDTH / width), 1), WIDTH))
    return picture(sample_id, image)


def rounds(selection: Selection) -> list[dict[str, Any]]:
    """Return the rounds: number, first and last rank, and images with rank, id and scores."""
    record = selection.record or {}
    empty = [None] * len(selection.ids)
    images = [
        {'place': place, 'id': name, 'score': score, 'distance': distance,
         'uncertainty': uncertainty}
        for place, (name, score, distance, uncertainty) in enumerate(zip(
            selection.ids, selection.scores, record.get('distances', empty),
            record.get('uncertainties', empty)), start=1)]
    starts = (0, *selection.budgets)
    return [{'number': number, 'first': start + 1, 'last': end, 'images': images[start:end]}
            for number, (start, end) in enumerate(zip(starts, selection.budgets), start=1)]


def curve(selection: Selection) -> dict[str, Any] | None:
    """
    Return the curve of the scores over the order of selection, in a box of 1000 x 200.

    :return: points of an SVG polyline, the greatest score and the x where each round ends; None if
        fewer than two images have scores.
    """
    scored = [(place, score) for place, score in enumerate(selection.scores, start=1)
              if score is not None]
    if len(scored) < 2:
        return None
    last, greatest = len(selection.ids), max(max(score for _, score in scored), 1e-9)
    return {
        'points': ' '.join(f'{1000 * place / last:.1f},{200 - 200 * score / greatest:.1f}'
                           for place, score in scored),
        'greatest': greatest, 'last': last,
        'ends': [round(1000 * budget / last, 1) for budget in selection.budgets[:-1]]}
