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

"""The comparison with other networks, at a small size: who is timed, and what is written."""

from __future__ import annotations

import json

import pytest
from sync_perception.runtime.benchmark import peers
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.peers import bench_peers, EAGER, NETWORK, PEERS, WHOLE
from sync_perception.runtime.predictor_options import PredictorOptions

OWN = {WHOLE, NETWORK, EAGER}
SMALL = BenchFrames(2, (64, 96))


def options(model):
    """Return options that run a model on the CPU by torch."""
    return PredictorOptions(model, 'cpu', 'torch')


def test_all_are_timed_and_the_page_gets_ratios(small_model, tmp_path, capsys):
    pytest.importorskip('transformers')
    page = tmp_path / 'page.md'
    page.write_text('Before\n<!-- bench peers: begin -->\nold\n<!-- bench peers: end -->\nAfter\n')
    report = bench_peers(options(small_model), SMALL, tmp_path / 'peers.json', page)
    assert json.loads((tmp_path / 'peers.json').read_text()) == report
    assert report['milliseconds'].keys() == OWN | PEERS.keys()
    assert report['left_out'] == [] and report['network_size'] == [64, 96]
    text = page.read_text()
    assert text.startswith('Before') and text.endswith('After\n') and 'old' not in text
    own = report['milliseconds'][WHOLE]['p50']
    for name, marks in report['milliseconds'].items():
        assert f'| {name} | {marks["p50"] / own:.2f} |' in text
    assert report['machine']['processor'] in text and 'load' in text
    assert 'SegFormer-B0' in capsys.readouterr().out


def test_without_transformers_what_is_left_out_is_named(small_model, monkeypatch, capsys):
    monkeypatch.setattr(peers, 'find_spec', lambda name: None)
    report = bench_peers(options(small_model), SMALL)
    assert len(report['left_out']) == 2
    assert report['milliseconds'].keys() == OWN | (PEERS.keys() - set(report['left_out']))
    assert 'sync_perception[transformers]' in ' '.join(capsys.readouterr().out.split())


def test_a_page_without_markers_is_refused_before_anything_is_timed(small_model, tmp_path):
    (tmp_path / 'page.md').write_text('nothing')
    with pytest.raises(ValueError, match='bench peers'):
        bench_peers(options(small_model), SMALL, page=tmp_path / 'page.md')
