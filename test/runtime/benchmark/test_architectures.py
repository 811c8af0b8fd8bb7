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


"""The list of architectures as people and programs read it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from sync_perception import cli
from sync_perception.files.pages import markers, split_page
from sync_perception.models.catalogue.ready_made import CATALOGUE, find_architecture
from sync_perception.models.catalogue.stored_costs import Cost
from sync_perception.runtime.benchmark import architectures
from sync_perception.runtime.benchmark import network_timing as timing
from sync_perception.runtime.benchmark.architectures import list_architectures, PART, Row
from sync_perception.runtime.benchmark.network_timing import Times
from typer.testing import CliRunner
import yaml

BEGIN, END = markers(PART)
PAGE = f'# Architectures\n\n{BEGIN}\nold\n{END}\n\nThe end.\n'


def test_a_named_architecture_is_counted_and_its_recipe_printed(capsys):
    """The recipe alone goes to the standard output, so that it can be piped into a file."""
    list_architectures(['refinenet-kitti6', 'mobile-unet-depth'], timed=False)
    printed = capsys.readouterr()
    first, second = printed.out.split('# mobile-unet-depth: ')
    assert yaml.safe_load(first)['model']['label_space'] == 'kitti6'
    assert yaml.safe_load(second.partition('\n')[2])['model']['arguments']['semantics'] is None
    assert '2.99' in printed.err


def test_times_reach_the_file_and_the_page(tmp_path, monkeypatch, capsys):
    """Whatever stood between the markers is replaced, and nothing else."""
    monkeypatch.setattr(timing, 'SECONDS', 0.01)
    page, report = tmp_path / 'page.md', tmp_path / 'results' / 'report.json'
    page.write_text(PAGE)
    list_architectures(
        ['mobile-unet-depth'], timed=True, device='cpu', json_file=report, markdown=page)
    content = json.loads(report.read_text())
    row, = content['rows']
    assert row['name'] == 'mobile-unet-depth'
    assert row['tasks'] == ['depth']
    assert content['machine']['processor'] in page.read_text()
    times = row['milliseconds']['480x640']
    assert times['eager'] > 0 and row['milliseconds']['192x640']['eager'] > 0
    before, after = split_page(page, PART)
    assert (before, after) == ('# Architectures\n\n', '\n\nThe end.\n')
    cells = [cell.strip() for cell in page.read_text().splitlines()[-4].strip('|').split('|')]
    assert cells[:3] == ['`mobile-unet-depth`', find_architecture('mobile-unet-depth').summary,
                         'depth']
    assert cells[-1] == f'{times["eager"]:.0f} / {times["predictor"]:.0f}'
    assert 'old' not in page.read_text()


def test_a_page_without_markers_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    """The message says which markers are expected."""
    monkeypatch.setattr(architectures, 'measure_row', pytest.fail)
    (tmp_path / 'page.md').write_text('# A page\n')
    with pytest.raises(ValueError, match='expected <!-- architectures: begin -->'):
        list_architectures(markdown=tmp_path / 'page.md')


def test_without_transformers_its_architectures_are_listed_as_such(monkeypatch, capsys):
    """The row says what is missing instead of figures."""
    monkeypatch.setattr(architectures, 'find_spec', lambda name: None)
    row = architectures.measure_row('unet-on-swin-tiny', find_architecture('unet-on-swin-tiny'),
                                    None, False)
    assert row.cost is not None  # stored
    monkeypatch.setattr(architectures, 'stored_costs', dict)
    row = architectures.measure_row('unet-on-swin-tiny', find_architecture('unet-on-swin-tiny'),
                                    None, False)
    assert row.cells()[1] == architectures.EXTRA
    assert 'parameters' not in row.to_dict()
    assert architectures.measure_row('refinenet', find_architecture('refinenet'), None,
                                     False).cost is not None


def test_cells_round_to_what_is_known():
    """Millions, GFLOPs, and eager beside the predictor; a dash for what was not timed."""
    cost = Cost(1_234_567, {(192, 640): 2_345_000_000, (480, 640): 10 ** 12}, ('depth', 'labels'))
    times = {(192, 640): Times(12.3, 9.8, 'openvino float32', 5),
             (480, 640): Times(12345.6, None, None, 1)}
    assert Row('a', 'b', cost, times).cells() == [
        'a', 'depth, labels', '1.23', '2.3', '1000.0', '12 / 10', '12346 / -']


def test_the_list_is_there_without_torch():
    """Importing torch would take most of the time of the verb."""
    code = ('import sys\nfrom sync_perception.cli import app\n'
            "app(['models'], standalone_mode=False)\nprint('torch' in sys.modules)")
    printed = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert printed.endswith('False\n')
    assert 'refinenet' in printed and '2.9' in printed


def test_the_verb_lists_and_refuses(capsys):
    """An unknown name is the user's mistake."""
    result = CliRunner().invoke(cli.app, ['models', 'mobile-unet-labels'])
    assert result.exit_code == 0
    assert 'mobile_unet' in result.output
    result = CliRunner().invoke(cli.app, ['models', 'mobile'])
    assert isinstance(result.exception, ValueError)
    assert all(name in str(result.exception) for name in CATALOGUE)
