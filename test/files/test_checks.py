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


"""Checks of values from files: what suits passes, what does not is named."""

from __future__ import annotations

from collections.abc import Sequence
import operator
from typing import Any, Literal

import pytest
from sync_perception.files.checks import (
    check_arguments,
    flag,
    mapping,
    number,
    optional,
    several,
    shown,
    text,
    whole,
)


@pytest.mark.parametrize(('check', 'value'), [
    (number(0, 1), 0), (number(0, 1), 0.5), (whole(1, 9), 9), (text(), 'a'),
    (text(('a', 'b')), 'b'), (flag, False), (mapping, {'a': 1}), (optional(whole(1, 9)), None),
    (several(whole(1, 9), 2), [1, 2]), (several(whole(1, 9), 0, 2), ()),
    (several(number(0, 9), 2, order=operator.lt), [1, 2]),
    (several(number(0, 9), 2, order=operator.le), [1, 1])])
def test_what_suits_passes(check, value):
    check(value, 'key')


@pytest.mark.parametrize(('check', 'value'), [
    (number(0, 1), 2), (number(0, 1), True), (number(0, 1), '1'), (number(0, 1), float('nan')),
    (number(0, 1), None), (number(0, 1), float('inf')), (number(0, 1), 10 ** 400),
    (whole(1, 9), 1.0), (whole(1, 9), True), (whole(1, 9), 10), (text(), ''), (text(), 5),
    (text(('a', 'b')), 'c'), (text(('a', 'b')), []), (flag, 1), (flag, None), (mapping, []),
    (mapping, {1: 2}), (optional(whole(1, 9)), 0), (several(whole(1, 9), 2), [1]),
    (several(whole(1, 9), 2), [1, 'x']), (several(whole(1, 9)), 5), (several(text()), 'abc'),
    (several(number(0, 9), 2, order=operator.lt), [1, 1]),
    (several(number(0, 9), 2, order=operator.le), [2, 1])])
def test_what_does_not_suit_is_refused_by_its_key(check, value):
    with pytest.raises(ValueError, match=r'^key(\[\d\])?: expected .*, got '):
        check(value, 'key')


def test_values_in_messages_are_short():
    """Whatever a file holds, its message stays one readable line."""
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for value in ('x' * 10 ** 6, list(range(10 ** 5)), deep, {'a': 'b' * 10 ** 5}, 10 ** 5000):
        assert len(shown(value)) < 200


def build(count: int, rate: float, names: Sequence[str] = (), size: tuple[int, int] = (1, 1),
          kind: Literal['a', 'b'] = 'a', extra: dict[str, Any] | None = None, free: Any = None
          ) -> None:
    """Stand for a network's constructor."""


@pytest.mark.parametrize('arguments', [
    {'rate': 1}, {'rate': 0.5, 'names': ['x'], 'size': [1, 2], 'kind': 'b'},
    {'rate': 1, 'extra': None, 'free': object()}, {'rate': 1, 'extra': {'a': 1}}])
def test_right_arguments_pass(arguments):
    check_arguments(build, arguments, 'arguments', given=1)


@pytest.mark.parametrize(('arguments', 'name'), [
    ({}, 'rate'), ({'rate': 'x'}, 'arguments.rate'), ({'rate': True}, 'arguments.rate'),
    ({'rate': float('nan')}, 'arguments.rate'), ({'rate': 1, 'names': 'x'}, 'arguments.names'),
    ({'rate': 1, 'names': [1]}, 'arguments.names'), ({'rate': 1, 'size': [1]}, 'arguments.size'),
    ({'rate': 1, 'kind': 'c'}, 'arguments.kind'), ({'rate': 1, 'extra': []}, 'arguments.extra'),
    ({'rate': 1, 'other': 1}, 'other'), ({'rate': 1, 'count': 1}, 'count'), ([], 'arguments'),
    (None, 'arguments')], ids=str)
def test_wrong_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        check_arguments(build, arguments, 'arguments', given=1)
