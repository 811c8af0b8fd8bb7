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

"""Checks of values from files; errors name the key, the expected and the actual value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
import inspect
import math
from numbers import Integral, Real
from reprlib import Repr
import types
from typing import Any, get_args, get_origin, get_type_hints, Literal, NoReturn, Union

Check = Callable[[Any, str], None]
"""Function of a value and its key that raises ValueError if the value is invalid."""

SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 60
SHORT.maxlevel = 3
TYPE_NAMES = {
    bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text',
    dict: 'a mapping', list: 'a list', type(None): 'nothing'}


def shown(value: Any) -> str:
    """Return the repr of a value for a message, shortened if it is long."""
    try:
        return SHORT.repr(value)
    except ValueError:
        return 'a number of more than 4000 digits'


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; torch appends its C++ stack."""
    return str(error).strip().partition('\n')[0] or type(error).__name__


def refuse(key: str, expected: str, value: Any) -> NoReturn:
    """Raise a ValueError that names a key, its value and the expected value."""
    raise ValueError(f'{key}: expected {expected}, got {shown(value)}')


def number(low: float, high: float) -> Check:
    """Return a check that accepts finite numbers from low to high."""
    def check(value: Any, key: str) -> None:
        right = isinstance(value, Real) and not isinstance(value, bool)
        if not right or not low <= value <= high:
            refuse(key, f'a number from {low:g} to {high:g}', value)
    return check


def whole(low: int, high: int) -> Check:
    """Return a check that accepts whole numbers from low to high."""
    def check(value: Any, key: str) -> None:
        right = isinstance(value, Integral) and not isinstance(value, bool)
        if not right or not low <= value <= high:
            refuse(key, f'a whole number from {low} to {high}', value)
    return check


def several(
        entry: Check, *lengths: int, order: Callable[[Any, Any], bool] | None = None) -> Check:
    """
    Return a check that accepts lists of valid entries.

    :param entry: check of each entry.
    :param lengths: valid lengths of the list; any length if none is given.
    :param order: relation required between consecutive entries, such as `operator.lt`.
    """
    def check(value: Any, key: str) -> None:
        if not isinstance(value, (list, tuple)) or lengths and len(value) not in lengths:
            count = f' of {" or ".join(map(str, lengths))} entries' if lengths else ''
            refuse(key, f'a list{count}', value)
        for index, item in enumerate(value):
            entry(item, f'{key}[{index}]')
        if order is not None and not all(map(order, value, value[1:])):
            refuse(key, 'rising numbers', value)
    return check


def text(choices: Collection[str] = ()) -> Check:
    """Return a check that accepts non-empty text, or only the choices if there are any."""
    def check(value: Any, key: str) -> None:
        if not isinstance(value, str) or not value or choices and value not in choices:
            refuse(key, f'one of {", ".join(choices)}' if choices else 'text', value)
    return check


def flag(value: Any, key: str) -> None:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        refuse(key, TYPE_NAMES[bool], value)


def mapping(value: Any, key: str) -> None:
    """Check that a value is a mapping whose keys are text."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        refuse(key, 'a mapping of names to values', value)


def optional(check_value: Check) -> Check:
    """Return a check that accepts None and everything that another check accepts."""
    def check(value: Any, key: str) -> None:
        if value is not None:
            check_value(value, key)
    return check


def check_arguments(
        builder: Callable[..., Any], arguments: Any, key: str, given: int = 0) -> None:
    """
    Check the names and types of arguments against a builder's signature.

    Annotations other than those of plain values accept every value.

    :param builder: a function or class.
    :param arguments: arguments by name, from a file.
    :param key: key of the arguments in the file, for error messages.
    :param given: number of positional arguments that the caller adds.
    :raises ValueError: if an argument is unknown, missing or of the wrong type.
    """
    mapping(arguments, key)
    signature = inspect.signature(builder)
    hints = get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    known = dict(list(signature.parameters.items())[given:])
    if any(entry.kind is entry.VAR_KEYWORD for entry in known.values()):
        known = {name: entry for name, entry in known.items() if entry.kind is not (
            entry.VAR_KEYWORD)}
    else:
        for name in arguments:
            if name not in known:
                raise ValueError(f'{key}: unknown {name!r}, expected some of {", ".join(known)}')
    for name, entry in known.items():
        if name not in arguments and entry.default is entry.empty:
            raise ValueError(f'{key}: {name!r} is missing')
        if name in arguments and not has_type(arguments[name], hints.get(name, Any)):
            refuse(f'{key}.{name}', describe_type(hints[name]), arguments[name])


def has_type(value: Any, hint: Any) -> bool:
    """Return whether a value from a file has a type; a whole number is also a float."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(has_type(value, option) for option in inner)
    if origin is Literal:
        return value in inner
    if hint in (int, float):
        right = isinstance(value, Integral if hint is int else Real)
        finite = isinstance(value, Integral) or not right or math.isfinite(value)
        return right and finite and not isinstance(value, bool)
    if origin is dict or hint is dict:
        return isinstance(value, dict) and all(isinstance(name, str) for name in value)
    if origin is tuple or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        entry = inner[0] if inner else Any
        counted = origin is tuple and inner and inner[-1] is not ...
        return (isinstance(value, (list, tuple)) and (not counted or len(value) == len(inner))
                and all(has_type(item, entry) for item in value))
    if hint in (bool, str, type(None), None):
        return isinstance(value, type(None) if hint is None else hint)
    return True


def describe_type(hint: Any) -> str:
    """Return the description of a type for error messages."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return ' or '.join(describe_type(option) for option in inner)
    if origin is Literal:
        return f'one of {", ".join(map(str, inner))}'
    if origin is tuple or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        count = f' of {len(inner)}' if origin is tuple and inner[-1] is not ... else ''
        return f'a list{count}, each {describe_type(inner[0])}' if inner else 'a list'
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return TYPE_NAMES[dict]
    return TYPE_NAMES.get(hint, getattr(hint, '__name__', str(hint)))
