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


"""Parameters of the perception node from names and values, without a node."""

from __future__ import annotations

from dataclasses import fields, replace
import math
from typing import Any, get_type_hints

from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.perception import PerceptionParameters


def make_parameters(values: dict[str, Any]) -> PerceptionParameters:
    """
    Return the node's parameters from names and values; others get the consumer's preset.

    :param values: values by name in ROS, such as `points.stride`.
    :raises ValueError: if a parameter is unknown, or a value is invalid.
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
    """Return a value converted to a parameter's type; raise ValueError if it is invalid."""
    if kind is float and type(value) is int:
        value = float(value)
    expected = expected_value(spec, kind, value)
    if expected:
        raise ValueError(f'{spec.metadata["name"]}: got {value!r}, expected {expected}')
    return value


def expected_value(spec: Any, kind: Any, value: Any) -> str:
    """Return what was expected if a value is invalid for a parameter; otherwise ''."""
    metadata = spec.metadata
    if kind in (bool, int, float, str) and type(value) is not kind:
        return kind.__name__
    if metadata['choices'] and value not in metadata['choices']:
        return f'one of {", ".join(metadata["choices"])}'
    low, high = metadata['low'], metadata['high']
    if low is not None and not (math.isfinite(value) and low <= value <= high):
        return f'{low} to {high}'
    return metadata['check'](value) if metadata['check'] else ''
