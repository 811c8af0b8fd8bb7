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


"""The perception node's parameters where there is no node: from names and values, checked."""

from __future__ import annotations

from dataclasses import fields, replace
import math
from typing import Any, get_type_hints

from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.perception import PerceptionParameters


def make_parameters(values: dict[str, Any]) -> PerceptionParameters:
    """
    Make the node's parameters of names and values, with the consumer's where none is given.

    :param values: by name as in ROS, such as `points.stride`.
    :raises ValueError: if there is no such parameter, or the value cannot be accepted.
    """
    specs = {spec.metadata['name']: spec for spec in fields(PerceptionParameters)}
    kinds = get_type_hints(PerceptionParameters)
    unknown = sorted(values.keys() - specs.keys())
    if unknown:
        raise ValueError(f'there is no parameter {", ".join(unknown)}, expected some of '
                         f'{", ".join(specs)}')
    consumer = values.get('consumer', 'generic')
    preset = CONSUMERS[consumer].parameters if consumer in CONSUMERS else {}
    checked = {specs[name].name: checked_value(specs[name], kinds[specs[name].name], value)
               for name, value in {**preset, **values}.items()}
    return replace(PerceptionParameters(), **checked)


def checked_value(spec: Any, kind: Any, value: Any) -> Any:
    """Return a value of a parameter's type within its range, or raise ValueError."""
    if kind is float and type(value) is int:
        value = float(value)
    expected = expected_value(spec, kind, value)
    if expected:
        raise ValueError(f'{spec.metadata["name"]}: got {value!r}, expected {expected}')
    return value


def expected_value(spec: Any, kind: Any, value: Any) -> str:
    """Return what was expected if a parameter cannot have this value, otherwise ''."""
    metadata = spec.metadata
    if kind in (bool, int, float, str) and type(value) is not kind:
        return kind.__name__
    if metadata['choices'] and value not in metadata['choices']:
        return f'one of {", ".join(metadata["choices"])}'
    low, high = metadata['low'], metadata['high']
    if low is not None and not (math.isfinite(value) and low <= value <= high):
        return f'{low} to {high}'
    return metadata['check'](value) if metadata['check'] else ''
