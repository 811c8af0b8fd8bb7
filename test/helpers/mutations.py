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


"""Malformed descriptions, made systematically of right ones: for tests and longer trials."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

VALUES: dict[str, Any] = {
    'null': None, 'true': True, 'a text': 'x', 'an empty text': '', 'minus one': -1, 'zero': 0,
    'a fraction': 0.5, 'many': 100_000, 'huge': 10 ** 30, 'NaN': float('nan'),
    'infinite': float('inf'), 'an empty list': [], 'lists in lists': [[[[]]]],
    'an empty mapping': {}, 'a mapping': {'x': {'y': []}}, 'a long text': 'x' * 10_000}
"""What stands in place of a value."""

DEEP = 100_000
FILES: dict[str, bytes] = {
    'empty': b'', 'a null byte': b'\0', 'binary': bytes(range(256)) * 4, 'a number': b'5',
    'a list': b'[]', 'null': b'null', 'a text': b'"x"', 'a brace': b'{',
    'deep lists': b'[' * DEEP + b']' * DEEP,
    'deep mappings': b'{"a":' * DEEP + b'1' + b'}' * DEEP,
    'many digits': b'{"input_pixels": ' + b'9' * 5000 + b'}',
    'UTF-16': '{"a": 1}'.encode('utf-16')}
"""What stands in place of a whole file."""


def places(tree: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where the values of a description stand; of a list, the first and the last."""
    yield place
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from places(value, (*place, name))
    elif isinstance(tree, list):
        for index in sorted({0, len(tree) - 1} if tree else ()):
            yield from places(tree[index], (*place, index))


def changed(tree: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return a description with another value at a place."""
    if not place:
        return value
    tree = deepcopy(tree)
    parent = tree
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = value
    return tree


def without(tree: Any, place: tuple[str | int, ...]) -> Any:
    """Return a description without what stands at a place."""
    tree = deepcopy(tree)
    parent = tree
    for step in place[:-1]:
        parent = parent[step]
    del parent[place[-1]]
    return tree


def mutations(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield descriptions that differ from a right one in one place, and what differs."""
    for place in places(tree):
        words = '.'.join(map(str, place)) or 'all'
        for name, value in VALUES.items():
            yield f'{words}: {name}', changed(tree, place, value)
        if place:
            yield f'{words}: missing', without(tree, place)
        here = tree
        for step in place:
            here = here[step]
        if isinstance(here, dict):
            yield f'{words}: unknown key', changed(tree, (*place, 'unknown_key'), 1)
