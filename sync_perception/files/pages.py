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

"""Documentation pages with a generated part between two markers; the rest is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sync_perception.files.whole_files import write_text


def markers(name: str) -> tuple[str, str]:
    """Return the two marker lines around a generated part."""
    return f'<!-- {name}: begin -->', f'<!-- {name}: end -->'


def split_page(path: str | Path, name: str) -> tuple[str, str]:
    """
    Return the text before and after the generated part of a page.

    :param name: name of the part.
    :raises ValueError: if the page lacks the markers.
    """
    begin, end = markers(name)
    before, begun, rest = Path(path).read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f'{path}: expected {begin} and {end} around the generated part')
    return before, after


def replace_part(path: str | Path, name: str, lines: Sequence[str]) -> None:
    """
    Replace the generated part of a page atomically.

    :param lines: the new part, without its markers.
    :raises ValueError: if the page lacks the markers.
    """
    path = Path(path)
    before, after = split_page(path, name)
    begin, end = markers(name)
    write_text(path, '\n'.join([before + begin, *lines, end + after]), shared=True)
