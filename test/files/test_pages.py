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

"""The part of a page that is generated, between what is written by hand."""

from __future__ import annotations

import pytest
from sync_perception.files.pages import replace_part, split_page

PAGE = '# Title\n\n<!-- times: begin -->\nold\n<!-- times: end -->\nBy hand.\n'


@pytest.fixture
def page(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(PAGE)
    return path


def test_only_the_named_part_is_replaced(page):
    page.write_text(PAGE + '<!-- costs: begin -->\nkept\n<!-- costs: end -->\n')
    replace_part(page, 'times', ['new', 'lines'])
    assert page.read_text() == (
        '# Title\n\n<!-- times: begin -->\nnew\nlines\n<!-- times: end -->\nBy hand.\n'
        '<!-- costs: begin -->\nkept\n<!-- costs: end -->\n')
    assert list(page.parent.iterdir()) == [page]


def test_replacing_twice_changes_nothing_more(page):
    replace_part(page, 'times', ['new'])
    once = page.read_text()
    replace_part(page, 'times', ['new'])
    assert page.read_text() == once
    assert split_page(page, 'times') == ('# Title\n\n', '\nBy hand.\n')


@pytest.mark.parametrize('text', [
    '', '<!-- times: begin -->\n', '<!-- times: end -->\n<!-- times: begin -->'])
def test_a_page_without_the_markers_is_left_alone(page, text):
    page.write_text(text)
    with pytest.raises(ValueError, match='page.md:'):
        replace_part(page, 'times', ['new'])
    assert page.read_text() == text
