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

"""The page that explains the code to newcomers names files that exist."""

from __future__ import annotations

from pathlib import Path
import re

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'how_it_works.md').read_text(encoding='utf-8')
FOLDERS = ('sync_perception', 'config', 'launch', 'test', 'benchmarks', 'docs')
NAMED = sorted(set(re.findall(rf'`((?:{"|".join(FOLDERS)})/[\w./]*)`', PAGE)))
CHANGES = ('a data set', 'a loss', 'an objective', 'a backbone', 'a backend', 'an output topic',
           'a consumer', 'a parameter', 'an encoding', 'a metric')


@pytest.mark.parametrize('path', NAMED)
def test_named_files_exist(path):
    """Every file and folder that the page names is there."""
    found = ROOT / path
    assert found.is_dir() if path.endswith('/') else found.is_file()


@pytest.mark.parametrize('change', CHANGES)
def test_common_changes_name_their_files(change):
    """The row of each common change names at least one file to touch."""
    rows = [row for row in PAGE.splitlines() if row.startswith(f'| {change} |')]
    assert len(rows) == 1
    touched = rows[0].split('|')[2]
    assert any(f'`{path}`' in touched for path in NAMED)


@pytest.mark.parametrize('layer', re.findall(r'^\| `(\w+)/` \|', PAGE, re.MULTILINE))
def test_layers_exist(layer):
    """Every layer of the table is a folder of the package."""
    assert (ROOT / 'sync_perception' / layer / '__init__.py').is_file()
