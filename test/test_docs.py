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

"""The pages of documentation: their length, their links, and their generated parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re

import pytest
from sync_perception.files.pages import markers
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
PLANS = [path for path in sorted((ROOT / 'config' / 'train').glob('*.yaml'))
         if 'page' in yaml.safe_load(path.read_text(encoding='utf-8'))]
LINK = re.compile(r'\]\(([^()\s]+)\)')
FENCE = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    """Return a file's path within the repository."""
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub('', page.read_text(encoding='utf-8'))
    headings = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def local_links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the files that a page links to, and the anchors there."""
    for target in LINK.findall(FENCE.sub('', page.read_text(encoding='utf-8'))):
        if not target.startswith(('http://', 'https://')):
            file, _, anchor = target.partition('#')
            yield file, anchor


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_pages_are_short(page):
    """A page has at most 250 lines."""
    assert len(page.read_text(encoding='utf-8').splitlines()) <= 250


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_lead_somewhere(page):
    """Every linked file exists and has the linked heading."""
    for file, anchor in local_links(page):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), file
        if anchor:
            assert anchor in anchors(target), f'{file}#{anchor}'


def test_index_lists_every_page():
    """The index links to each page beside it, and the README to the index."""
    linked = {file for file, _ in local_links(ROOT / 'docs' / 'index.md')}
    assert linked >= {path.name for path in PAGES if path.parent == ROOT / 'docs'} - {'index.md'}
    assert 'docs/index.md' in {file for file, _ in local_links(ROOT / 'README.md')}


@pytest.mark.parametrize('plan', PLANS, ids=name)
def test_pages_hold_the_parts_that_studies_write(plan):
    """The page that a study names has the markers of its part, in order."""
    settings = yaml.safe_load(plan.read_text(encoding='utf-8'))
    lines = (ROOT / settings['page']).read_text(encoding='utf-8').splitlines()
    begin, end = markers(settings.get('part', 'ablation'))
    assert lines.count(begin) == lines.count(end) == 1
    assert lines.index(begin) < lines.index(end)
