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

"""The page of a model with known answers: its numbers, its pictures, and that it is valid."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
import json
from pathlib import Path
import re

from constant import constant_model
import cv2
import numpy as np
import pytest
from sync_perception.datasets import DatasetOptions
from sync_perception.evaluation.evaluate import EvaluationOptions, evenly_spread
from sync_perception.evaluation.html_report.report import choose, FrameScore, write_html_report
from sync_perception.evaluation.html_report.report_pictures import (
    paint_error,
    paint_wrong,
    shrink_depth,
    thicken,
)

VOID_TAGS = {'meta', 'img', 'link', 'br', 'input'}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects images, addresses and words."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str]]) -> None:
        """Remember the tag."""
        found = dict(attrs)
        assert len(found) == len(attrs), f'{tag} has an attribute twice'
        self.addresses += [found[name] for name in ('src', 'href') if name in found]
        if tag == 'img':
            self.images.append(found)
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect words outside of the style."""
        if self.open and self.open[-1] != 'style':
            self.words.append(data.strip())


@pytest.fixture(scope='module')
def streets(tmp_path_factory) -> Path:
    """Write four frames of Virtual KITTI 2: all road, a quarter of it car; 8, 10, 16, 25 m."""
    root = tmp_path_factory.mktemp('streets')
    folder = root / 'Scene01' / 'clone'
    rows = ['frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]']
    for frame, metres in enumerate((8, 10, 16, 25)):
        colors = np.empty((64, 64, 3), np.uint8)
        colors[:] = (100, 60, 100)
        colors[:16 * (frame == 1)] = (255, 127, 80)
        for kind, name, pixels in (
                ('rgb', 'rgb', colors), ('classgt', 'classSegmentation', colors),
                ('depth', 'depth', np.full((64, 64), metres * 100, np.uint16))):
            path = folder / 'frames' / name / 'Camera_0' / f'{kind}_{frame:05}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        rows.append(f'{frame} 0 50 50 31.5 31.5')
    (folder / 'intrinsic.txt').write_text('\n'.join(rows))
    return root


@pytest.fixture(scope='module')
def page(streets, tmp_path_factory) -> tuple[Page, dict, str]:
    """Report on a model that answers road and 10 m."""
    tmp_path = tmp_path_factory.mktemp('report')
    model = constant_model(
        tmp_path / 'model', 'road', input_pixels=64 * 64, record={'note': 'a <b> & c'})
    path = write_html_report(
        model, DatasetOptions('vkitti2', streets), tmp_path / 'out',
        EvaluationOptions(device='cpu'), worst=1, best=1)
    text = path.read_text(encoding='utf-8')
    return Page(text), json.loads((tmp_path / 'out' / 'report.json').read_text()), text


def test_the_page_is_whole_and_alone(page):
    """Tags are balanced, images have a text and a size, and nothing is fetched."""
    parsed, _, text = page
    assert parsed.open == []
    assert text.startswith('<!DOCTYPE html>')
    assert parsed.addresses and all(src.startswith('data:image/') for src in parsed.addresses)
    assert not re.search(r'https?:|@import|url\(', text)
    for image in parsed.images:
        assert image['alt']
        coded = base64.b64decode(image['src'].partition(',')[2])
        pixels = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape[:2] == (int(image['height']), int(image['width']))


def test_the_numbers_are_the_measured_ones(page):
    """10 m for 8, 10, 16 and 25 m; a sixteenth of the labelled pixels is car, called road."""
    parsed, result, text = page
    abs_rel = [2 / 8, 0, 6 / 16, 15 / 25]
    assert result['abs_rel'] == pytest.approx(np.mean(abs_rel), abs=1e-3)
    assert f'{result["abs_rel"]:.4f}' in parsed.words
    road = (16 - 1) / 16
    assert result['iou']['Road'] == pytest.approx(road, abs=1e-6)
    assert f'{road:.3f}' in parsed.words
    rows = {(row['near'], row['far']): row for row in result['distances']}
    assert rows[5, 10]['abs_rel'] == pytest.approx(2 / 8, abs=2e-3)
    assert rows[20, 30]['bias'] == pytest.approx(-15 / 25, abs=2e-3)
    assert sum(row['share'] for row in rows.values()) == pytest.approx(1)
    frames = [frame['abs_rel'] for frame in result['per_frame']]
    np.testing.assert_allclose(frames, abs_rel, atol=2e-3)
    assert [frame['miou'] for frame in result['per_frame']] == pytest.approx([1, 0.375, 1, 1])
    assert 'a &lt;b&gt; &amp; c' in text


def test_worst_and_best_frames_are_shown(page):
    """By mean IoU the second frame is the worst; by depth the fourth, and the second the best."""
    parsed, _, _ = page
    shown = {image['alt'] for image in parsed.images}
    for frame in (1, 3):
        for kind in ('photograph', 'labels, wrong', 'depth, error'):
            assert f'{kind}, frame Scene01/clone/Camera_0/{frame:05}' in shown


def test_the_choice_of_frames():
    """Worst first, no frame twice, those without the score nowhere."""
    frames = [FrameScore(name, value, None) for name, value in zip(
        'abcde', (0.3, 0.1, None, 0.5, 0.2))]
    chosen = choose(frames, 'abs_rel', 'abs rel', 2, 5, falling=True)
    names = [[frame.id for frame in group['frames']] for group in chosen['groups']]
    assert names == [['d', 'a'], ['b', 'e']]
    assert choose(frames, 'miou', 'mean IoU', 2, 2, falling=False) is None


def test_a_limit_spreads_over_the_split():
    """The same few frames each time, from all of the recording."""
    ids = [str(index) for index in range(10)]
    assert evenly_spread(ids, 4) == ['0', '2', '5', '7']
    assert evenly_spread(ids, None) == evenly_spread(ids, 20) == ids
    with pytest.raises(ValueError, match='at least 1'):
        evenly_spread(ids, 0)


def test_colours_of_errors():
    """Too near is blue, too far red, right white; what is unknown stays the photograph."""
    grey = np.full((1, 5, 3), 100, np.uint8)
    painted = paint_error(np.array([[-0.5, 0, 2, 0.25, np.nan]]), grey)[0].astype(int)
    assert painted[0].tolist() == [33, 102, 172] and painted[2].tolist() == [178, 24, 43]
    assert painted[1].tolist() == [247, 247, 247] and painted[4].tolist() == [60, 60, 60]
    np.testing.assert_allclose(painted[3], (painted[1] + painted[2]) / 2, atol=1)
    wrong = paint_wrong(grey, np.array([[1, 0, 0, 0, 0]], bool), np.array([[1, 1, 0, 0, 0]], bool))
    assert wrong[0, 0, 0] > 180 and wrong[0, 1].tolist() == [100] * 3
    assert wrong[0, 2].tolist() == [35] * 3


def test_sparse_depth_stays_where_it_was():
    """Points keep their values when a map shrinks; dots cover their surroundings only."""
    depth = np.full((40, 80), np.nan, np.float32)
    depth[10, 20], depth[11, 21], depth[39, 79] = 7, 5, 30
    small = shrink_depth(depth, (20, 40))
    assert small[5, 10] == 5 and small[19, 39] == 30 and np.isfinite(small).sum() == 2
    dots = thicken(small)
    assert (dots[4:7, 9:12] == 5).all() and np.isnan(dots[5, 20])
    dense = np.ones((4, 4), np.float32)
    dense[0, 0] = np.nan
    assert np.isnan(thicken(dense)[0, 0])


def test_mistakes_are_named(streets, tmp_path):
    """Negative numbers of frames are refused before anything is measured."""
    with pytest.raises(ValueError, match='worst and best'):
        write_html_report(None, DatasetOptions('vkitti2', streets), tmp_path / 'out',
                          EvaluationOptions(), worst=-1)
