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

"""The benchmark of couplings on a small network."""

from __future__ import annotations

import json
from pathlib import Path
import runpy
import sys

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / 'benchmarks' / 'couplings.py'


def test_each_direction_is_switched_off_by_itself(small_model, tmp_path, monkeypatch):
    pytest.importorskip('open3d', reason='the street world needs Open3D')
    out, page = tmp_path / 'couplings.json', tmp_path / 'page.md'
    page.write_text('<!-- couplings: begin -->\n<!-- couplings: end -->\n')
    monkeypatch.setattr(sys, 'argv', [
        str(SCRIPT), '--model', str(small_model), '--data', 'synthetic=', '--limit', '1',
        '--regions', 'synthetic', '--json', str(out), '--page', str(page)])
    runpy.run_path(str(SCRIPT), run_name='__main__')
    results = {state: scores['synthetic']
               for state, scores in json.loads(out.read_text())['results'].items()}
    regions = {state: scores.pop('regions') for state, scores in results.items()}
    on = results['both on']
    assert f'| both on | {on["miou"]:.4f} |' in page.read_text()
    assert set(on) == {'miou', 'abs_rel', 'delta1'}
    assert results['depth to semantics off']['abs_rel'] == on['abs_rel']
    assert results['semantics to depth off']['miou'] == on['miou']
    assert results['both off'] == {
        'miou': results['depth to semantics off']['miou'],
        'abs_rel': results['semantics to depth off']['abs_rel'],
        'delta1': results['semantics to depth off']['delta1']}
    assert regions['both on'].keys() == regions['both off'].keys() >= {'road', 'up to 3 px'}
    assert set(regions['both on']['up to 3 px']) == {'pixel_accuracy', 'abs_rel'}


def test_errors_are_counted_by_their_distance_from_borders():
    """Two classes side by side: a wrong column beside the border, a wrong one far from it."""
    border_distance = runpy.run_path(str(SCRIPT))['border_distance']
    labels = np.zeros((4, 40), np.uint8)
    labels[:, 20:] = 1
    distance = border_distance(labels)
    assert distance[2, 19] == distance[2, 20] == 1
    assert distance[2, 0] == pytest.approx(20, abs=0.1)
    assert np.isinf(border_distance(np.zeros((4, 4), np.uint8))).all()


def test_data_without_a_root_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT), '--data', 'camvid'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name='__main__')
    assert ended.value.code == 2 and "'camvid'" in capsys.readouterr().err
