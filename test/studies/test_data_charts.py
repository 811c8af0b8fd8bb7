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

"""Charts: bars as long as their shares, in their colours, and a histogram between its ends."""

from __future__ import annotations

import cv2
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
import numpy as np
import pytest
from sync_perception.studies import data_charts as charts
from sync_perception.studies.data_charts import draw_check, percent, remarks, title

SHARES = dict.fromkeys(charts.ANNOTATION_NAMES, 0.5)
EMPTY = {'dataset': 'x', 'split': 'all', 'samples': 1, 'sizes': {'4x3': 1}, 'bad': {},
         'shares': SHARES}


def all_axes(figure: Figure) -> dict[str, object]:
    """Return the axes of a figure by the beginnings of their titles."""
    return {axes.get_title(loc='left').partition(',')[0].partition(':')[0]: axes
            for axes in figure.axes}


def test_bars_are_as_long_as_their_shares_and_in_the_classes_colours():
    labels = {'space': 'kitti6', 'void': 0.1, 'shares': {
        'sky': 0.6, 'building': 0.3, 'road': 0.1, 'sidewalk': 0, 'vegetation': 0, 'car': 0}}
    bars = all_axes(draw_check({**EMPTY, 'labels': labels}))['Labels'].patches
    assert [bar.get_width() for bar in bars] == [0.6, 0.3, 0.1]
    assert [tuple(np.round(np.array(to_rgb(bar.get_facecolor())) * 255)) for bar in bars] == [
        (128, 128, 128), (128, 0, 0), (128, 64, 128)]
    assert 'Absent: sidewalk, vegetation, car.' in ' '.join(remarks(labels))


def test_every_annotation_has_a_bar():
    bars = all_axes(draw_check({**EMPTY, 'shares': {**SHARES, 'depth': 0.0}}))['Samples with']
    assert [bar.get_width() for bar in bars.patches] == [0.5, 0.0, *[0.5] * (len(SHARES) - 2)]


def test_depth_is_drawn_between_its_ends():
    edges = np.geomspace(0.1, 1000, 161)
    counts = np.zeros(160, int)
    counts[80:100] = [*range(1, 11), *range(10, 0, -1)]
    depth = {'edges': edges.tolist(), 'counts': counts.tolist(), 'known': 1.0, 'sky': 0.0,
             'metres': {'p5': 12.0, 'median': 25.0, 'p95': 31.0}}
    axes = all_axes(draw_check({**EMPTY, 'depth': depth}))['Depth']
    assert axes.get_xlim() == pytest.approx((edges[80], edges[100]))
    assert [bar.get_height() for bar in axes.patches] == counts[80:100].tolist()
    assert len({bar.get_facecolor() for bar in axes.patches}) > 10
    without = draw_check({**EMPTY, 'depth': {**depth, 'counts': [0] * 160}})
    assert not all_axes(without)['Depth'].patches


def test_the_title_counts_the_bad_samples():
    assert 'none bad' in title(EMPTY)
    assert '2 bad' in title({**EMPTY, 'bad': {'a': 'x', 'b': 'y'}})


def test_shares_have_two_digits():
    assert [percent(share) for share in (1, 0.5, 0.0123, 0.00123, 1e-6, 0)] == [
        '100%', '50.0%', '1.2%', '0.12%', '<0.01%', '0%']


def test_a_picture_is_written_or_refused(tmp_path):
    charts.write_png(tmp_path / 'a.png', draw_check(EMPTY))
    assert cv2.imread(str(tmp_path / 'a.png')).std() > 1
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError):
        charts.write_png(tmp_path / 'file' / 'a.png', draw_check(EMPTY))
