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
Arguments of the launch files, derived from the nodes' parameters and validated at the start.

A launch file reads all its arguments with `read_arguments` before it starts anything. This module
does not import the launch system.
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
# arguments of launch itself
OF_LAUNCH = ('launch-prefix', 'launch-prefix-filter', 'sigterm_timeout', 'sigkill_timeout',
             'emulate_tty')


class Unexpected(ValueError):
    """An invalid argument; the message states what was expected."""


@dataclass(frozen=True)
class Argument:
    """
    Argument of a launch file.

    :param default: default text, or a launch substitution.
    :param description: description for the user.
    :param read: function that converts the text to a value, or raises Unexpected.
    :param parameter: name of the node's parameter that it sets, or empty.
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
    Return a launch argument for each parameter of a node.

    :param kind: dataclass of the parameters; its field names become the argument names.
    :param leave_out: fields without an argument.
    :param optional: whether the default is the empty text, which is read as None, instead of the
        parameter's default.
    :param readers: by field, functions that replace the reader from the definition.
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
            notes.append('Separated by commas.')
        default = spec.default
        if optional:
            notes.append('Empty for the value in params_file.')
            default, read = '', unless_empty(read)
        elif type_ is bool:
            default = str(default).lower()
        arguments[spec.name] = Argument(str(default), ' '.join(notes), read, metadata['name'])
    return arguments


def read_arguments(arguments: Mapping[str, Argument], texts: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the values of all arguments.

    :return: values by argument name.
    :raises ValueError: if a text is invalid; the message names the argument and what was expected.
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
    """Return the values of the arguments that set a parameter, by parameter name."""
    return {argument.parameter: values[name] for name, argument in arguments.items()
            if argument.parameter and values[name] is not None}


def check_names(command: Sequence[str], launch_file: str | Path, known: Iterable[str]) -> None:
    """
    Check the names of the arguments on the command line, since launch ignores unknown ones.

    :param command: command line of this process. If it starts another launch file that includes
        this one, the arguments belong to that file and are not checked.
    :raises ValueError: if an argument is unknown; the message names it and the most similar known
        one.
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
    """Return a parameter's value from text, checked against the parameter's range."""
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
    """Return true or false from text in any case."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, bool):
        raise Unexpected('true or false')
    return value


def unless_empty(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader that returns None for empty text."""
    return lambda text: read(text) if text else None


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader that accepts the given words."""
    def read(text: str) -> str:
        if text not in choices:
            raise Unexpected(f'one of {", ".join(choices)}')
        return text
    return read


def word_or_file(*choices: str) -> Callable[[str], str]:
    """Return a reader that accepts the given words and paths of existing files."""
    def read(text: str) -> str:
        if text in choices:
            return text
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            words = f'{", ".join(choices)} or ' if choices else ''
            raise Unexpected(f'{words}the path of a file that exists')
        return str(path)
    return read


def topic(text: str) -> str:
    """Return the name of a topic, checked."""
    try:
        validate_topic_name(text)
    except InvalidTopicNameException as error:
        raise Unexpected(f'the name of a topic ({_first_line(error)})') from error
    return text


def namespace(text: str) -> str:
    """Return a namespace, which may be empty or relative, checked."""
    try:
        validate_namespace(text if text.startswith('/') else f'/{text}')
    except InvalidNamespaceException as error:
        raise Unexpected(f'a namespace ({_first_line(error)})') from error
    return text


def log_level(text: str) -> str:
    """Return a log level, for all loggers or as LOGGER:=LEVEL, checked."""
    if text.rpartition(':=')[2].lower() not in LOG_LEVELS:
        raise Unexpected(f'one of {", ".join(LOG_LEVELS)}, or LOGGER:=LEVEL')
    return text


def existing_path(text: str) -> str:
    """Return the absolute path of an existing file or folder."""
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise Unexpected('a path that exists')
    return str(path)


def parameters_file(text: str) -> str | None:
    """Return the path of a YAML file of parameters; None for empty text or `none`."""
    if text in ('', NONE):
        return None
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise Unexpected(f'a YAML file, or {NONE}')
    context = Context()
    try:
        # the node's own parser
        context.init(['--ros-args', '--params-file', str(path)], initialize_logging=False)
    except RuntimeError as error:  # rclpy's RCLError
        reason = _first_line(error).partition('Error: ')[2].partition(', at /')[0]
        raise Unexpected(f'a YAML file of parameters ({reason})') from error
    context.try_shutdown()
    return str(path)


def model(text: str) -> str:
    """Return the name of a model; a path must exist, other names are checked by the node."""
    local = ('/' in text or Path(text).suffix) and '+' not in text and not is_hub_id(text)
    return existing_path(text) if local else text


def words(text: str) -> list[str]:
    """Split a command line like a shell."""
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
