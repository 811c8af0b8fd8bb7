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

"""The parameter files and the tables in the documentation agree with the definitions."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from sync_perception.files.pages import markers, split_page
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.documents import (
    LAUNCH_PAGE,
    parameter_file,
    PARAMETER_FILES,
    TABLES,
    write,
)
from sync_perception.ros.parameters.without_node import make_parameters
import yaml

ROOT = Path(__file__).resolve().parents[3]


def texts(root: Path) -> dict[str, str]:
    """Return the files with generated parts, by their path in the source tree."""
    paths = [*PARAMETER_FILES, LAUNCH_PAGE, *(page for page, _ in TABLES.values())]
    return {path: (root / path).read_text(encoding='utf-8') for path in paths}


def test_written_files_are_up_to_date(tmp_path):
    """`make parameters` would change nothing."""
    for path, text in texts(ROOT).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding='utf-8')
    for path in PARAMETER_FILES:
        (tmp_path / path).unlink()
    write(tmp_path)
    assert texts(tmp_path) == texts(ROOT)


@pytest.mark.parametrize('name', TABLES)
def test_tables_name_every_parameter_once(name):
    """Each parameter has one row, with its default, range and choices."""
    page = (ROOT / TABLES[name][0]).read_text(encoding='utf-8')
    before, after = split_page(ROOT / TABLES[name][0], name)
    rows = page[len(before):len(page) - len(after)].splitlines()
    assert rows[0] == markers(name)[0]
    for spec in fields(TABLES[name][1]):
        row, = [row for row in rows if row.startswith(f"| `{spec.metadata['name']}` |")]
        assert all(choice in row for choice in spec.metadata['choices'])
        assert spec.metadata['low'] is None or 'Range:' in row


@pytest.mark.parametrize('consumer', CONSUMERS)
def test_the_parameter_file_leaves_the_consumer_its_choice(consumer):
    """With the file and a consumer, the node has the consumer's preset and else the defaults."""
    def flat(values: dict, prefix: str = '') -> dict:
        return {name: value for key, each in values.items() for name, value in (
            flat(each, f'{prefix}{key}.').items() if isinstance(each, dict)
            else [(prefix + key, tuple(each) if isinstance(each, list) else each)])}

    text = parameter_file('config/perception.yaml')
    written = flat(yaml.safe_load(text)['/**']['ros__parameters'])
    assert make_parameters({**written, 'consumer': consumer}) == make_parameters(
        {'consumer': consumer})
