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


"""Variants by an amount: the table by hand, and a picture in which the lines rise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.studies.ablation.series import draw_series, Series, series_table
from sync_perception.studies.seed_statistics import Spread

SERIES = Series('labels', {
    'alone': {25: 'a25', 100: 'a100'}, 'more': {25: 'm25', 100: 'm100', 367: 'm367'}})
CELLS = {
    'a25': Spread(0.25, 0.0125, 3), 'a100': Spread(0.5, None, 1), 'm25': Spread(0.2, 0.1, 3),
    'm100': Spread(0.75, 0.05, 3)}


def test_the_table_has_a_column_an_amount():
    assert series_table(SERIES, CELLS.get, more_is_better=True) == [
        '| labels | 25 | 100 | 367 |', '|---|---:|---:|---:|',
        '| alone | **0.250 ± 0.013** | 0.500 | – |',
        '| more | 0.200 ± 0.100 | **0.750 ± 0.050** | – |']
    lower = series_table(SERIES, CELLS.get, more_is_better=False)
    assert '**0.500**' in lower[2] and '**0.200 ± 0.100**' in lower[3]


def test_the_picture_shows_every_line_that_was_measured(tmp_path):
    assert draw_series(SERIES, CELLS.get, 'score', tmp_path / 'series.png')
    picture = cv2.imread(str(tmp_path / 'series.png'))[..., ::-1]
    blue, red = (np.abs(picture.astype(int) - color).max(axis=2) < 30
                 for color in ((0, 114, 178), (213, 94, 0)))
    assert blue.sum() > 300 and red.sum() > 300
    assert not draw_series(SERIES, lambda name: None, 'score', tmp_path / 'empty.png')
    assert not (tmp_path / 'empty.png').exists()


@pytest.mark.parametrize(('lines', 'message'), [
    ({}, 'expected 1 to 7 lines, got 0'),
    ({'a': {}}, "series 'a': expected variants by rising amounts above 0, got none"),
    ({'a': {2: 'x', 1: 'y'}}, "series 'a': .*got 2, 1"),
    ({'a': {'few': 'x'}}, "series 'a': .*got few")])
def test_what_cannot_be_drawn_is_refused(lines, message):
    with pytest.raises(ValueError, match=message):
        Series('labels', lines)
