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
The parameter files and the parameter tables of the documentation, generated from the definitions.

`make parameters` writes them. A test fails if they differ from the definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
import textwrap
from typing import Any

from sync_perception.files.pages import replace_part
from sync_perception.files.whole_files import write_text
from sync_perception.ros.parameters import launch_options
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.launch_arguments import Argument
from sync_perception.ros.parameters.mapping import MappingParameters
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.parameters.server import takes_effect
import yaml

TABLES = {
    'perception parameters': ('docs/node.md', PerceptionParameters),
    'replay parameters': ('docs/bags.md', ReplayParameters),
    'mapping parameters': ('docs/mapping_node.md', MappingParameters),
}
"""Page and dataclass of the parameters, by name of the generated part."""
LAUNCH_PAGE = 'docs/launch.md'
LAUNCH_TABLES = {
    'camera arguments': launch_options.CAMERA, 'replay arguments': launch_options.REPLAY,
    'mapping arguments': launch_options.MAPPING}
"""Arguments of a launch file, by name of the generated part."""
WIDTH = 99
LICENCE_LINES = 13
"""Number of licence lines at the top of this file, which are copied to the parameter file."""
COPY = (
    'with their defaults. Copy this file, change what you need, and pass it to the launch file '
    '({argument}:=...) or to the node (--ros-args --params-file ...).')
PARAMETER_FILES = {
    'config/perception.yaml': (PerceptionParameters, (
        f'Parameters of the perception node, {COPY.format(argument="params_file")} A parameter '
        'that is set here takes precedence over the preset of the consumer, so leave it out to '
        'use the preset.')),
    'config/mapping.yaml': (MappingParameters, (
        f'Parameters of the mapping node, {COPY.format(argument="mapping_file")}')),
}
"""Dataclass of the parameters and introduction, by path of the file."""
QOS_OVERRIDES = """\
    # History, depth, reliability and durability of every topic, by its full name. For instance:
    # qos_overrides:
    #   /image:
    #     subscription:
    #       reliability: reliable
"""


def parameter_file(path: str) -> str:
    """Return the text of one of the `PARAMETER_FILES`."""
    kind, introduction = PARAMETER_FILES[path]
    licence = Path(__file__).read_text(encoding='utf-8').splitlines()[:LICENCE_LINES]
    lines = [*licence, '', *comment(introduction), '/**:', '  ros__parameters:']
    groups: dict[str, list[Field]] = {}
    for spec in fields(kind):
        groups.setdefault(spec.metadata['name'].partition('.')[0], []).append(spec)
    for group, specs in groups.items():
        lines += file_entries(group, specs)
        lines.append('')
    return '\n'.join(lines) + '\n' + QOS_OVERRIDES


def file_entries(group: str, specs: Sequence[Field]) -> Iterator[str]:
    """
    Yield the lines of the parameters that share the first part of their name.

    Parameters that are set by a consumer's preset are commented out.
    """
    nested = '.' in specs[0].metadata['name']
    indent = '      ' if nested else '    '
    if nested:
        yield f'    {group}:' if any(not decided(spec) for spec in specs) else f'    # {group}:'
    for spec in specs:
        metadata = spec.metadata
        notes = [metadata['description'], *limits(spec), f'Takes effect {takes_effect(metadata)}.']
        if decided(spec):
            notes.append('The preset of the consumer applies unless it is set here.')
        yield from comment(' '.join(notes), indent)
        key = metadata['name'].rpartition('.')[2]
        yield f'{indent}{"# " if decided(spec) else ""}{key}: {yaml_value(spec.default)}'


def parameter_table(kind: type) -> list[str]:
    """
    Return the lines of a Markdown table of parameters.

    :param kind: the dataclass of the parameters.
    """
    live = not all(spec.metadata['read_only'] for spec in fields(kind))
    effect, line = (' takes effect |', '---|') if live else ('', '')
    rows = [f'| parameter | default |{effect} description |', f'|---|---|{line}---|']
    for spec in fields(kind):
        metadata = spec.metadata
        notes = [metadata['description'], *limits(spec)]
        if kind is PerceptionParameters and decided(spec):
            notes.append('The preset of `consumer` applies unless it is set.')
        if metadata['see']:
            notes.append(f'See [{metadata["see"].partition("#")[0] or "below"}]'
                         f'({metadata["see"]}).')
        effect = f' {takes_effect(metadata)} |' if live else ''
        rows.append(f'| `{metadata["name"]}` | `{yaml_value(spec.default)}` |{effect} '
                    f'{" ".join(notes)} |')
    return rows


def launch_table(arguments: Mapping[str, Argument]) -> list[str]:
    """Return the lines of a Markdown table of launch arguments."""
    rows = ['| argument | default | description |', '|---|---|---|']
    for name, argument in arguments.items():
        default = f'`{argument.default}`' if argument.default else ''
        rows.append(f'| `{name}` | {default} | {argument.description} |')
    return rows


def limits(spec: Field) -> Iterator[str]:
    """Yield a sentence on the range or the choices of a parameter, if it has any."""
    metadata = spec.metadata
    if metadata['low'] is not None:
        yield f'Range: {plain_number(metadata["low"])} to {plain_number(metadata["high"])}.'
    if metadata['choices']:
        yield f'One of {", ".join(metadata["choices"])}.'


def decided(spec: Field) -> bool:
    """Return whether a consumer's preset sets this parameter of the perception node."""
    return any(spec.metadata['name'] in consumer.parameters for consumer in CONSUMERS.values())


def comment(text: str, indent: str = '') -> list[str]:
    """Return the lines of a comment."""
    mark = f'{indent}# '
    return textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=mark,
                         break_long_words=False, break_on_hyphens=False)


def plain_number(value: float) -> str:
    """Return a number as text, without a zero fraction."""
    return str(int(value) if value == int(value) else value)


def yaml_value(value: Any) -> str:
    """Return a parameter's value as YAML."""
    listed = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump([listed], default_flow_style=True).strip()[1:-1]


def write(root: Path) -> None:
    """
    Write the parameter files and the tables.

    :param root: root of the source tree.
    """
    for path in PARAMETER_FILES:
        write_text(root / path, parameter_file(path), shared=True)
    for name, (page, kind) in TABLES.items():
        replace_part(root / page, name, ['', *parameter_table(kind), ''])
    for name, arguments in LAUNCH_TABLES.items():
        replace_part(root / LAUNCH_PAGE, name, ['', *launch_table(arguments), ''])


if __name__ == '__main__':
    write(Path())
