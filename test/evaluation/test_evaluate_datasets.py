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

"""What a data set brings to its evaluation: crop, range, arguments, and samples that are bad."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from sync_perception.datasets import DatasetOptions
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions, print_evaluation
from sync_perception.evaluation.metrics import CROPS, DepthMetrics
from sync_perception.evaluation.sample_evaluation import Evaluation
import torch


@pytest.fixture
def nyu(tmp_path):
    """Write an image whose depth is 3 m within Eigen's crop, else 6 m, and 12 m in a corner."""
    cv2.imwrite(str(tmp_path / '000001.png'), np.zeros((480, 640, 3), np.uint8))
    depth = np.full((480, 640), 6 * 5000, np.uint16)
    depth[45:471, 41:601] = 3 * 5000
    depth[100:110, 100:110] = 12 * 5000
    cv2.imwrite(str(tmp_path / 'depth_gt_000001.png'), depth)
    return tmp_path


def test_rooms_are_scored_in_eigens_crop_up_to_ten_metres(nyu, small_model):
    """By hand: the model's depth at the pixels whose truth is 3 m, and at no other."""
    seen = []
    keep = DepthMetrics.update

    def listen(self, prediction, truth, crop=None):
        seen.append((prediction, crop))
        keep(self, prediction, truth, crop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DepthMetrics, 'update', listen)
        result = evaluate(
            small_model, DatasetOptions('nyuv2', nyu), EvaluationOptions(device='cpu'))
    prediction, crop = seen[0]
    assert crop == (slice(45, 471), slice(41, 601))
    inside = prediction[45:471, 41:601].clip(1e-3, 10)
    scored = np.ones_like(inside, bool)
    scored[55:65, 59:69] = False
    assert result['abs_rel'] == pytest.approx(np.abs(inside[scored] - 3).mean() / 3, rel=1e-4)
    assert 'truth < 10.0 m' in result['protocol']['depth']
    assert 'eigen crop on 1 of 1 frames' in result['protocol']['depth']


def test_a_range_can_be_named(nyu, small_model):
    result = evaluate(
        small_model, DatasetOptions('nyuv2', nyu), EvaluationOptions(device='cpu', max_depth=80.0))
    assert 'truth < 80.0 m' in result['protocol']['depth']


def test_eigens_crop_is_that_of_whole_images():
    rows, columns = CROPS['eigen']((480, 640))
    assert (rows.stop - rows.start, columns.stop - columns.start) == (426, 560)
    with pytest.raises(ValueError, match='640x480.*561x427'):
        CROPS['eigen']((427, 561))


@pytest.fixture
def spoilt(tmp_path):
    """Write three frames of CamVid, the second without labels, the third cut off."""
    for folder in ('train', 'trainannot'):
        (tmp_path / folder).mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'train/{index}.png'), np.zeros((40, 60, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'trainannot/{index}.png'), np.zeros((40, 60), np.uint8))
    (tmp_path / 'trainannot/1.png').unlink()
    path = tmp_path / 'train/2.png'
    path.write_bytes(path.read_bytes()[:-20])
    return tmp_path


def test_bad_samples_stop_the_evaluation_or_are_listed(spoilt, small_model, caplog, capsys):
    with pytest.raises(FileNotFoundError, match='trainannot/1.png'):
        evaluate(small_model, DatasetOptions('camvid', spoilt), EvaluationOptions(device='cpu'))
    result = evaluate(
        small_model, DatasetOptions('camvid', spoilt),
        EvaluationOptions(device='cpu', skip_bad=True))
    assert list(result['skipped']) == ['train/1', 'train/2']
    assert 'truncated' in result['skipped']['train/2']
    assert result['protocol']['labelled_frames'] == 1
    assert [record.getMessage().split(':')[0] for record in caplog.records] == [
        'skipped camvid', 'skipped camvid']
    print_evaluation(result, spoilt / 'result.json')
    assert 'skipped frames' in capsys.readouterr().out
    assert json.loads((spoilt / 'result.json').read_text())['skipped'] == result['skipped']


def test_an_error_of_the_model_is_never_skipped(spoilt, small_model, monkeypatch):
    def fail(self, sample, crop=None):
        raise ValueError('a bug')
    monkeypatch.setattr(Evaluation, 'add', fail)
    with pytest.raises(ValueError, match='a bug'):
        evaluate(
            small_model, DatasetOptions('camvid', spoilt),
            EvaluationOptions(device='cpu', skip_bad=True))


def test_streets_are_measured_without_a_folder(small_model):
    """Depth, labels and normals come with every rendered frame."""
    torch.manual_seed(0)
    result = evaluate(
        small_model, DatasetOptions('synthetic', None, 'val', {'length': 2, 'size': [48, 96]}),
        EvaluationOptions(device='cpu'))
    assert result['frames'] == 2
    assert result['protocol']['depth_frames'] == result['protocol']['labelled_frames'] == 2
    assert 'no crop on 2 of 2 frames' in result['protocol']['depth']
    with pytest.raises(ValueError, match="'synthetic'.*'count'"):
        evaluate(
            small_model, DatasetOptions('synthetic', None, arguments={'count': 2}),
            EvaluationOptions(device='cpu'))
