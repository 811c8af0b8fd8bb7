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

"""The results of a soak: a JSON file, and the table of docs/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
from pathlib import Path
import re
from typing import Any

from sync_perception.files.whole_files import write_json
from sync_perception.machine import processor_name
from sync_perception.resources import package_folder
from sync_perception.runtime.benchmark.reports import machine

ROOT = package_folder().parent
PAGE = ROOT / 'docs' / 'reliability.md'
RESULTS = ROOT / 'benchmarks' / 'results'
BEGIN, END = '<!-- make soak: begin -->', '<!-- make soak: end -->'
COMMON = ('intel', 'amd', 'arm', 'cpu', 'processor')  # words that name no machine
MOST_WRONG = 3  # lines of what did not hold, in a row of the table


def default_path() -> Path:
    """Return the file for the results of this machine."""
    words = re.findall(r'[a-z0-9]+', re.sub(r'\([^)]*\)|@.*', ' ', processor_name().lower()))
    name = '_'.join(word for word in words if word not in COMMON)
    return RESULTS / f'reliability_{name}_{os.cpu_count()}_cores.json'


def read(path: Path) -> dict[str, Any]:
    """Return the results of runs before, or none."""
    return json.loads(path.read_text()) if path.exists() else {'rows': {}}


def write(path: Path, rows: Mapping[str, Any], order: list[str]) -> dict[str, Any]:
    """
    Write results beside those of runs before: rows of the same name are replaced.

    :param order: the names of all rows.
    """
    known = {**read(path)['rows'], **rows}
    results = {'machine': machine(),
               'rows': {name: known[name] for name in order if name in known}}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, results)
    return results


def table(results: Mapping[str, Any]) -> str:
    """Return the table in Markdown."""
    lines = ['| | what was tried | how often | held | what was found |', '|---|---|---|---|---|']
    for name, row in results['rows'].items():
        shown = [*row['wrong'][:MOST_WRONG], row['result'] if not row['wrong'] else (
            f'{len(row["wrong"])} in all' if len(row['wrong']) > MOST_WRONG else '')]
        cell = '; '.join(' '.join(each.split()) for each in shown if each).replace('|', '/')
        lines.append(f'| `{name}` | {row["tried"]} | {row["count"]:,} | '
                     f'{"no" if row["wrong"] else "yes"} | {cell} |')
    return '\n'.join(lines)


def on_page(page: str) -> str:
    """Return what a page shows between the two markers."""
    return page.partition(BEGIN)[2].partition(END)[0].strip()
