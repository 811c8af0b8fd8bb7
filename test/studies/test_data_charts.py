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

"""Charts: bars as long as their shares, in their colours, and words that fit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.studies import data_charts as charts
from sync_perception.studies.data_charts import Canvas, depth_ticks, draw_check, percent, remarks

SHARES = dict.fromkeys(charts.ANNOTATION_NAMES, 0.5)
EMPTY = {'dataset': 'x', 'split': 'all', 'samples': 1, 'sizes': {'4x3': 1}, 'bad': {},
         'shares': SHARES}


def rows_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return the widths of the rows in which a colour occurs."""
    widths = (picture == np.array(color)).all(axis=-1).sum(axis=1)
    return widths[widths > 0]


def test_bars_are_as_long_as_their_shares():
    labels = {'space': 'kitti6', 'void': 0.1, 'shares': {
        'sky': 0.6, 'building': 0.3, 'road': 0.1, 'sidewalk': 0, 'vegetation': 0, 'car': 0}}
    picture = draw_check({**EMPTY, 'labels': labels})
    sky, building, road = (rows_of(picture, color) for color in (
        (128, 128, 128), (128, 0, 0), (128, 64, 128)))
    assert np.bincount(sky).argmax() == pytest.approx(2 * np.bincount(building).argmax(), abs=2)
    assert np.bincount(sky).argmax() == pytest.approx(6 * np.bincount(road).argmax(), abs=4)
    assert not len(rows_of(picture, (64, 0, 128)))
    assert 'Absent: sidewalk, vegetation, car.' in ' '.join(remarks(labels))


def test_depth_is_drawn_between_its_ends():
    edges = np.geomspace(0.1, 1000, 161)
    counts = np.zeros(160, int)
    counts[80:100] = [*range(1, 11), *range(10, 0, -1)]
    depth = {'edges': edges.tolist(), 'counts': counts.tolist(), 'known': 1.0, 'sky': 0.0,
             'metres': {'p5': 12.0, 'median': 25.0, 'p95': 31.0}}
    picture = draw_check({**EMPTY, 'depth': depth})
    colourful = picture.max(axis=-1).astype(int) - picture.min(axis=-1) > 100
    heights = colourful.sum(axis=0)
    assert heights.max() == pytest.approx(charts.HISTOGRAM_HEIGHT, abs=2)
    assert np.count_nonzero(heights) > 0.9 * charts.COLUMN
    without = draw_check({**EMPTY, 'depth': {**depth, 'counts': [0] * 160}})
    assert without.shape == picture.shape


@pytest.mark.parametrize('align, expected', [('left', 100), ('right', 0), ('center', 50)])
def test_words_are_aligned(align, expected):
    canvas = Canvas(40, 200)
    canvas.text('MMMMMMMM', 100, 30, align=align)
    columns = np.flatnonzero((canvas.image != charts.PAPER).any(axis=(0, 2)))
    start, end = columns[0], columns[-1]
    assert {'left': start, 'right': end, 'center': (start + end) / 2}[align] == pytest.approx(
        100, abs=4)
    assert end - start > 60


def test_words_are_written_by_older_versions_of_opencv_too(monkeypatch):
    monkeypatch.delattr(cv2, 'FontFace', raising=False)
    canvas = Canvas(40, 200)
    canvas.text('road', 100, 30, align='right')
    columns = np.flatnonzero((canvas.image != charts.PAPER).any(axis=(0, 2)))
    assert 40 < columns[0] < columns[-1] <= 100


def test_shares_have_two_digits():
    assert [percent(share) for share in (1, 0.5, 0.0123, 0.00123, 1e-6, 0)] == [
        '100%', '50.0%', '1.2%', '0.12%', '<0.01%', '0%']


@pytest.mark.parametrize('ends, ticks', [
    ((4.0, 90.0), [5, 10, 20, 50]), ((0.75, 3.6), [1, 1.5, 2, 3]), ((0.15, 950.0), [1, 10, 100]),
    ((3.5, 6.5), [4, 5, 6])])
def test_ticks_are_round_metres(ends, ticks):
    assert depth_ticks(*ends) == ticks


def test_ticks_keep_their_distance():
    """The longest label is about 50 of the 620 pixels wide."""
    rng = np.random.default_rng(0)
    for lowest, ratio in zip(rng.uniform(0.1, 5, 300), np.exp(rng.uniform(0.1, 5, 300))):
        places = np.log(depth_ticks(lowest, lowest * ratio)) / np.log(ratio)
        assert len(places) < 2 or np.diff(places).min() > 0.09


def test_a_picture_can_not_always_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='cannot write'):
        charts.write_png(tmp_path / 'file' / 'a.png', np.zeros((2, 2, 3), np.uint8))
