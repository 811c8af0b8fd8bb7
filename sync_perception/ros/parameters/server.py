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
Typed parameters of a node with descriptions and ranges, declared and updated in one place.

Each parameter is defined once, as a field of a dataclass. The definition gives the declared
parameter, the launch argument (launch_arguments.py), the parameter file and the tables of the
documentation (documents.py). generate_parameter_library does the same from YAML, but requires a
ROS 2 installation, and this package must also build and run with ROS 2 from Python wheels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields, replace
from typing import Any, Generic, get_type_hints, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter


def parameter(name: str, default: Any, description: str, *, choices: tuple[str, ...] = (),
              low: float | None = None, high: float | None = None,
              check: Callable[[Any], str] | None = None, live: bool = False,
              hooked: bool = False, read_only: bool = False, see: str = ''):
    """
    Return the dataclass field that defines one parameter.

    :param name: name in ROS, with dots.
    :param default: default value; its type is that of the parameter. A tuple of strings is a list
        in ROS.
    :param description: description with the unit.
    :param choices: valid strings; empty for any string.
    :param low: smallest value.
    :param high: largest value.
    :param check: function that returns what was expected for an invalid value, otherwise ''.
    :param live: whether a change takes effect with the next frame; otherwise it takes effect when
        the node is configured again.
    :param hooked: whether a hook of the ParameterServer applies a change immediately.
    :param read_only: whether it can be set only when the node starts.
    :param see: link from the documentation's table to a page or section with details.
    """
    return field(default=default, metadata={
        'name': name, 'description': description, 'choices': choices, 'low': low, 'high': high,
        'check': check, 'live': live, 'hooked': hooked, 'read_only': read_only, 'see': see})


LONGEST_TEXT = 1000
"""Limit in characters of a text parameter."""


def takes_effect(metadata: Mapping[str, Any]) -> str:
    """
    Return when a change of a parameter takes effect.

    :param metadata: metadata of the parameter's field.
    """
    if metadata['read_only']:
        return 'only at start'
    return 'at once' if metadata['live'] or metadata['hooked'] else 'when the node configures'


Values = TypeVar('Values')


class ParameterServer(Generic[Values]):
    """
    Declaration of the parameters on a node, and storage of their values.

    An invalid value at the start (wrong type, out of range, unknown choice) does not stop the
    node. It is recorded in `problems`, and the node cannot be configured until a valid value is
    set.

    :param node: the node; its parameter overrides are applied.
    :param kind: dataclass of the parameters.
    :ivar values: current values.
    :ivar locked: whether parameters that are not live wait for `unlock` before they take effect.
    :ivar waiting: waiting values by name.
    :ivar hooks: functions by name that apply a change immediately, regardless of the lock. They
        receive a changed value, and raise ValueError to reject it.
    """

    def __init__(self, node: Node, kind: type[Values]):
        self.node = node
        self.kinds = get_type_hints(kind)
        self.values = kind()
        self.problems: dict[str, str] = {}
        self.locked = False
        self.waiting: dict[str, Any] = {}
        self.hooks: dict[str, Callable[[Any], None]] = {}
        # rclpy has no public access to overrides of undeclared parameters
        self.overrides: dict[str, Parameter] = getattr(node, '_parameter_overrides', {})
        self.specs = {spec.metadata['name']: spec for spec in fields(kind)}
        self.chosen = self.overrides.keys() & self.specs.keys()
        self.presetting = False
        for name in self.specs:
            self._declare(name)
        node.add_on_set_parameters_callback(self._on_set)
        self.unknown = sorted(
            name for name in self.overrides
            if not node.has_parameter(name) and not name.startswith('qos_overrides.'))

    def unlock(self) -> None:
        """Apply the waiting values; from now on values take effect immediately."""
        self.locked = False
        for name, value in self.waiting.items():
            self._keep(self.specs[name], value)
        self.waiting = {}

    def preset(self, values: dict[str, Any]) -> None:
        """
        Set the parameters that the user has not set; those not named get their defaults.

        :param values: values by name.
        :raises ValueError: if a value is invalid.
        """
        current = {name: getattr(self.values, spec.name) for name, spec in self.specs.items()}
        wanted = {name: values.get(name, self.specs[name].default)
                  for name in self.specs.keys() - self.chosen}
        changes = [Parameter(name, value=_in_ros(value)) for name, value in wanted.items()
                   if value != current[name]]
        self.presetting = True
        try:
            answers = self.node.set_parameters(changes)
        finally:
            self.presetting = False
        refused = [answer.reason for answer in answers if not answer.successful]
        if refused:
            raise ValueError('; '.join(refused))

    def _declare(self, name: str) -> None:
        spec, kind = self.specs[name], self.kinds[self.specs[name].name]
        descriptor = _descriptor(spec, kind)
        override = self.overrides.get(name)
        if kind is float and override is not None and isinstance(override.value, int):
            # rate:=5 is an integer in ROS, but means 5.0
            self.overrides[name] = Parameter(name, value=float(override.value))
        default = _in_ros(spec.default)
        try:
            value = self.node.declare_parameter(name, default, descriptor).value
            problem = _mismatch(spec, value)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            value, problem = default, str(error)
            self.node.declare_parameter(name, value, descriptor, ignore_override=True)
        if problem:
            self.problems[name] = problem
        else:
            self._keep(spec, value)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        known = [(self.specs[change.name], change.value) for change in changes
                 if change.name in self.specs]
        problems = [problem for spec, value in known if (problem := _mismatch(spec, value))]
        if problems:
            return SetParametersResult(successful=False, reason='; '.join(problems))
        try:
            for spec, value in known:
                hook = self.hooks.get(spec.metadata['name'])
                if hook is not None and value != getattr(self.values, spec.name):
                    hook(value)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for spec, value in known:
            self._take(spec, value)
        return SetParametersResult(successful=True)

    def _take(self, spec, value: Any) -> None:
        name = spec.metadata['name']
        self.problems.pop(name, None)
        if not self.presetting:
            self.chosen.add(name)
        if self.locked and not spec.metadata['live'] and name not in self.hooks:
            if _in_ros(getattr(self.values, spec.name)) == _in_ros(value):
                self.waiting.pop(name, None)
                return
            self.waiting[name] = value
            self.node.get_logger().info(f'{name} takes effect when the node configures again')
        else:
            self._keep(spec, value)

    def _keep(self, spec, value: Any) -> None:
        kept = tuple(value) if isinstance(value, list) else value
        self.values = replace(self.values, **{spec.name: kept})


def _in_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _mismatch(spec, value: Any) -> str:
    """Return why a value is invalid, or ''; rclpy itself has checked its type and range."""
    choices, check = spec.metadata['choices'], spec.metadata['check']
    expected = check(value) if check else ''
    texts = value if isinstance(value, (list, tuple)) else (value,)
    if not all(map(is_plain, texts)):
        expected = f'printable text of at most {LONGEST_TEXT} characters'
    if choices and value not in choices:
        expected = f'one of {", ".join(choices)}'
    return f'{spec.metadata["name"]}: got {value!r:.200}, expected {expected}' if expected else ''


def is_plain(value: Any) -> bool:
    """Return whether a value can be logged unchanged: no control characters, not too long."""
    return not isinstance(value, str) or value.isprintable() and len(value) <= LONGEST_TEXT


def _descriptor(spec, kind: type) -> ParameterDescriptor:
    metadata = spec.metadata
    descriptor = ParameterDescriptor(
        name=metadata['name'], description=metadata['description'],
        read_only=metadata['read_only'])
    constraints = [] if metadata['read_only'] else [f'takes effect {takes_effect(metadata)}']
    if metadata['choices']:
        constraints.insert(0, f'one of {", ".join(metadata["choices"])}')
    descriptor.additional_constraints = '; '.join(constraints)
    if kind is int and metadata['low'] is not None:
        descriptor.integer_range = [
            IntegerRange(from_value=metadata['low'], to_value=metadata['high'], step=1)]
    if kind is float and metadata['low'] is not None:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=metadata['low'], to_value=metadata['high'])]
    return descriptor
