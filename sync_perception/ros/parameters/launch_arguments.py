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


"""
The arguments of the launch files: made from the nodes' parameters, and checked at once.

A launch file reads all its arguments with `read_arguments` before it starts anything. This module
does without the launch system itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
import difflib
from functools import partial
from pathlib import Path
import shlex
from typing import Any, get_type_hints

from rclpy.context import Context
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name
from sync_perception.resources import is_hub_id, PACKAGE
from sync_perception.ros.parameters.without_node import expected_value
import yaml

LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
NONE = 'none'
# what launch itself takes as arguments
OF_LAUNCH = ('launch-prefix', 'launch-prefix-filter', 'sigterm_timeout', 'sigkill_timeout',
             'emulate_tty')


class Unexpected(ValueError):
    """An argument that cannot be accepted; the message says what was expected."""


@dataclass(frozen=True)
class Argument:
    """
    One argument of a launch file.

    :param default: its text, or a substitution of launch.
    :param description: what it does.
    :param read: turns the text into its value, and raises Unexpected if it cannot.
    :param parameter: name of the node's parameter that it sets; empty if it sets none.
    """

    default: Any
    description: str
    read: Callable[[str], Any] = str
    parameter: str = ''


def parameter_arguments(kind: type, *, leave_out: Iterable[str] = (),
                        optional: bool = False,
                        readers: Mapping[str, Callable[[str], Any]] | None = None
                        ) -> dict[str, Argument]:
    """
    Make an argument of each parameter of a node.

    :param kind: the dataclass of the parameters; the names of its fields are those of the
        arguments.
    :param leave_out: fields that are no arguments.
    :param optional: the default of the arguments is the empty text, which is read as None;
        otherwise it is that of the parameter.
    :param readers: by field, what reads the text instead of what the definition says.
    """
    kinds, arguments = get_type_hints(kind), {}
    for spec in fields(kind):
        if spec.name in leave_out:
            continue
        metadata, type_ = spec.metadata, kinds[spec.name]
        read = (readers or {}).get(spec.name, partial(read_parameter, spec, type_))
        notes = [metadata['description']]
        if metadata['low'] is not None:
            notes.append(f'{metadata["low"]} to {metadata["high"]}.')
        if metadata['choices']:
            notes.append(f'One of {", ".join(metadata["choices"])}.')
        if type_ is bool:
            notes.append('true or false.')
        if type_ not in (bool, int, float, str):
            notes.append('Commas between them.')
        default = spec.default
        if optional:
            notes.append('Empty: as in params_file.')
            default, read = '', unless_empty(read)
        elif type_ is bool:
            default = str(default).lower()
        arguments[spec.name] = Argument(str(default), ' '.join(notes), read, metadata['name'])
    return arguments


def read_arguments(arguments: Mapping[str, Argument], texts: Mapping[str, str]) -> dict[str, Any]:
    """
    Read the texts of all arguments.

    :return: the values by the argument's name.
    :raises ValueError: naming the argument, what was got and what was expected.
    """
    values = {}
    for name, argument in arguments.items():
        try:
            values[name] = argument.read(texts[name])
        except Unexpected as error:
            raise ValueError(f'{name}: got {texts[name]!r}, expected {error}') from error
    return values


def parameter_values(arguments: Mapping[str, Argument], values: Mapping[str, Any]
                     ) -> dict[str, Any]:
    """Return the values of those arguments that set a parameter, by the parameter's name."""
    return {argument.parameter: values[name] for name, argument in arguments.items()
            if argument.parameter and values[name] is not None}


def check_names(command: Sequence[str], launch_file: str | Path, known: Iterable[str]) -> None:
    """
    Refuse arguments that the launch file does not have: launch itself ignores them.

    :param command: the command line of this process. If it starts another launch file, which
        includes this one, its arguments are those of the other.
    :raises ValueError: naming the first unknown argument, and the known one that is most like it.
    """
    if not _starts(command, Path(launch_file)):
        return
    known = sorted(known)
    for name in (text.partition(':=')[0] for text in command if ':=' in text):
        if name not in known and name not in OF_LAUNCH:
            like = difflib.get_close_matches(name, known, n=1)
            hint = f'expected {like[0]}' if like else 'see --show-args'
            raise ValueError(f'there is no argument {name}: {hint}')


def read_parameter(spec: Any, kind: Any, text: str) -> Any:
    """Read a parameter's value and compare it with the parameter's range."""
    if kind is bool:
        return boolean(text)
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError as error:
            whole = 'a whole number' if kind is int else 'a number'
            raise Unexpected(whole) from error
    elif kind is str:
        value = text
    else:
        value = tuple(name.strip() for name in text.split(','))
    expected = expected_value(spec, kind, value)
    if expected:
        raise Unexpected(expected)
    return value


def boolean(text: str) -> bool:
    """Read true or false, capitals or not."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, bool):
        raise Unexpected('true or false')
    return value


def unless_empty(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the function that reads a text, where the empty one is None."""
    return lambda text: read(text) if text else None


def one_of(*choices: str) -> Callable[[str], str]:
    """Return the function that takes one of these words."""
    def read(text: str) -> str:
        if text not in choices:
            raise Unexpected(f'one of {", ".join(choices)}')
        return text
    return read


def word_or_file(*choices: str) -> Callable[[str], str]:
    """Return the function that takes one of these words, or the path of a file that is there."""
    def read(text: str) -> str:
        if text in choices:
            return text
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            raise Unexpected(f'{", ".join(choices)} or the path of a file that exists')
        return str(path)
    return read


def topic(text: str) -> str:
    """Take the name of a topic."""
    try:
        validate_topic_name(text)
    except InvalidTopicNameException as error:
        raise Unexpected(f'the name of a topic ({_first_line(error)})') from error
    return text


def namespace(text: str) -> str:
    """Take a namespace, which may be empty or relative."""
    try:
        validate_namespace(text if text.startswith('/') else f'/{text}')
    except InvalidNamespaceException as error:
        raise Unexpected(f'a namespace ({_first_line(error)})') from error
    return text


def log_level(text: str) -> str:
    """Take a level, for all loggers or as LOGGER:=LEVEL."""
    if text.rpartition(':=')[2].lower() not in LOG_LEVELS:
        raise Unexpected(f'one of {", ".join(LOG_LEVELS)}, or LOGGER:=LEVEL')
    return text


def existing_path(text: str) -> str:
    """Take the path of a file or a folder that is there; return it absolute."""
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise Unexpected('a path that exists')
    return str(path)


def parameters_file(text: str) -> str | None:
    """Take a YAML file of parameters; empty or the word `none` is None."""
    if text in ('', NONE):
        return None
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise Unexpected(f'a YAML file, or {NONE}')
    context = Context()
    try:
        # the parser that the node itself uses
        context.init(['--ros-args', '--params-file', str(path)], initialize_logging=False)
    except RuntimeError as error:  # rclpy's RCLError
        reason = _first_line(error).partition('Error: ')[2].partition(', at /')[0]
        raise Unexpected(f'a YAML file of parameters ({reason})') from error
    context.try_shutdown()
    return str(path)


def model(text: str) -> str:
    """Take the name of a model; a path must exist, a short name is left to the node."""
    local = ('/' in text or Path(text).suffix) and '+' not in text and not is_hub_id(text)
    return existing_path(text) if local else text


def words(text: str) -> list[str]:
    """Split a command line as a shell does."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Unexpected(f'words as in a shell: {error}') from error


def _starts(command: Sequence[str], launch_file: Path) -> bool:
    return any(
        (before, word) == (PACKAGE, launch_file.name)
        or Path(word).is_file() and Path(word).samefile(launch_file)
        for before, word in zip(command, command[1:]))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(':')
