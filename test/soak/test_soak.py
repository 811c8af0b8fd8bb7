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

"""The soak's runner and its table; each part is tried a few times."""

from __future__ import annotations

from pathlib import Path
import sys

from parts import MODULES
import pytest
from reliability import on_page, PAGE, read, RESULTS, table
import soak
from trial import growth, Usage

pytest.importorskip('rclpy')  # most parts need it


def test_the_page_shows_what_the_results_say():
    page = PAGE.read_text()
    [path] = [path for path in RESULTS.glob('reliability_*.json') if path.name in page]
    assert on_page(page) == table(read(path))


def test_every_part_has_its_program():
    assert list(MODULES) == list(soak.PARTS)
    for name, module in MODULES.items():
        source = Path(soak.__file__).with_name(f'{module}.py').read_text()
        assert 'SOAK = {' in source, name


def pretend(monkeypatch, **codes: str) -> None:
    """Replace the parts by code, with the file of the outcome as its only argument."""
    monkeypatch.setattr(soak, 'command', lambda name, count, path: [
        sys.executable, '-c', codes[name], str(path)])


GOOD = ('import json, sys; json.dump(dict(count=3, wrong=[], result="as it was", numbers={}), '
        'open(sys.argv[1], "w"))')


@pytest.mark.parametrize('bad', [
    'raise SystemExit("no room")', 'import os; os.abort()',
    GOOD.replace('[]', '["one | two"]')], ids=['error', 'crash', 'finding'])
def test_a_part_that_fails_makes_the_status_1_and_the_others_run(
        bad, monkeypatch, tmp_path, capsys):
    pretend(monkeypatch, fuzz=bad, swaps=GOOD)
    path = tmp_path / 'results' / 'reliability.json'
    assert soak.main(['--only', 'fuzz', 'swaps', '--jobs', '1', '--json', str(path)]) == 1
    rows = read(path)['rows']
    assert rows['fuzz']['wrong'] and rows['swaps']['count'] == 3
    cells = [[cell.strip() for cell in line.strip('|').split('|')]
             for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[0], row[3]) for row in cells] == [('`fuzz`', 'no'), ('`swaps`', 'yes')]
    assert all(len(row) == 5 for row in cells)


def test_a_part_that_is_repeated_replaces_its_row(monkeypatch, tmp_path, capsys):
    path = tmp_path / 'reliability.json'
    pretend(monkeypatch, fuzz='raise SystemExit(1)', swaps=GOOD)
    soak.main(['--only', 'fuzz', 'swaps', '--json', str(path)])
    pretend(monkeypatch, fuzz=GOOD)
    assert soak.main(['--only', 'fuzz', '--json', str(path)]) == 0
    assert list(read(path)['rows']) == ['fuzz', 'swaps']
    printed = capsys.readouterr().out
    assert soak.main(['--print', '--json', str(path)]) == 0
    assert printed.endswith(capsys.readouterr().out)
    assert 'machine' in read(path)


def test_what_stays_is_judged():
    before = Usage(500.0, 20, 25)
    assert growth(before, Usage(510.0, 20, 26))[0] == []
    wrong, _ = growth(before, Usage(600.0, 60, 25))
    assert len(wrong) == 2 and '20%' in wrong[0] and '40' in wrong[1]


def test_a_part_holds():
    row = soak.run_part('fuzz', 400)
    assert row['wrong'] == [] and row['count'] == 400


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize('name', ['models', 'frames', 'bags', 'training', 'signals'])
def test_a_long_part_holds(name):
    row = soak.run_part(name, 4)
    assert row['wrong'] == [] and row['count'] == 4
