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


"""The node's parameters: typed, described, with ranges; declared and watched in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
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
              low: float | None = None, high: float | None = None, live: bool = False,
              read_only: bool = False):
    """
    Describe one parameter.

    :param name: its name in ROS, with dots.
    :param default: its value where nothing is set; its type is the parameter's.
    :param description: what it does, with its unit.
    :param choices: the strings it may be; any, if empty.
    :param low: its smallest value.
    :param high: its largest value.
    :param live: a change takes effect with the next frame; otherwise it is read when the node
        configures, and cannot be changed until the node is cleaned up.
    :param read_only: it can only be set when the node starts.
    """
    return field(default=default, metadata={
        'name': name, 'description': description, 'choices': choices, 'low': low, 'high': high,
        'live': live, 'read_only': read_only})


@dataclass(frozen=True)
class PerceptionParameters:
    """What users can set on the perception node."""

    autostart: bool = parameter(
        'autostart', True, 'Configure and activate at start, without waiting for a lifecycle '
        'manager to ask for it.', read_only=True)
    model: str = parameter(
        'model', '', 'Folder of the model (config.json and model.safetensors), hub id, exported '
        '.onnx or .pt2 file, or two pretrained models as DEPTH+SEGMENTATION; empty for the one '
        'that comes with the package.')
    device: str = parameter(
        'device', 'auto', 'Where the network runs: auto (a GPU if there is one), cpu, cuda or '
        'cuda:N.')
    half: bool = parameter(
        'half', False, 'Run the network in the 16-bit format of the device, where it has one.')
    max_depth: float = parameter(
        'max_depth', 0.0, 'Metres beyond which depth is invalid (NaN); 0 for the range that the '
        'model was trained for.', low=0.0, high=1000.0)
    image_transport: str = parameter(
        'image_transport', 'raw', 'How the camera sends its images: raw (topic image) or '
        'compressed (topic image/compressed).', choices=('raw', 'compressed'))
    depth_encoding: str = parameter(
        'depth.encoding', '32FC1', 'Encoding of the depth image: 32FC1 (metres, NaN invalid) or '
        '16UC1 (millimetres, 0 invalid).', choices=('32FC1', '16UC1'), live=True)
    semantics_encoding: str = parameter(
        'semantics.encoding', 'mono8', 'Encoding of the label image: mono8 (255 void) or 16SC1 '
        '(-1 void).', choices=('mono8', '16SC1'))
    points_stride: int = parameter(
        'points.stride', 1, 'Every how many pixels, in both directions, there is a point in the '
        'cloud.', low=1, high=64, live=True)
    points_organized: bool = parameter(
        'points.organized', True, 'Publish the cloud as a grid of points like the image, with '
        'NaN where depth is invalid; otherwise as a list of the valid points.', live=True)
    points_color: str = parameter(
        'points.color', 'camera', "What colours the cloud's points: camera or label.",
        choices=('camera', 'label'), live=True)


@dataclass(frozen=True)
class ReplayParameters:
    """What users can set on the replay node."""

    source: str = parameter(
        'source', 'synthetic', 'What is replayed: kitti (a raw drive), images (a folder), video '
        '(a file) or synthetic (the street world).',
        choices=('kitti', 'images', 'video', 'synthetic'), read_only=True)
    path: str = parameter(
        'path', '', 'The drive, the folder of images or the video file.', read_only=True)
    camera_info: str = parameter(
        'camera_info', '', 'YAML file with the calibration of images and video, as '
        'camera_calibration writes it.', read_only=True)
    camera: int = parameter(
        'camera', 2, 'Which camera of a KITTI drive: 0 and 1 grey, 2 and 3 colour.', low=0,
        high=3, read_only=True)
    seed: int = parameter(
        'seed', 0, 'Which street of the synthetic world.', low=0, high=2 ** 31 - 1,
        read_only=True)
    rate: float = parameter(
        'rate', 10.0, 'Frames a second.', low=0.01, high=1000.0, read_only=True)
    start: int = parameter(
        'start', 0, 'Frames skipped at the beginning.', low=0, high=2 ** 31 - 1, read_only=True)
    count: int = parameter(
        'count', 0, 'Frames published in one pass; 0 for all that there are.', low=0,
        high=2 ** 31 - 1, read_only=True)
    loop: bool = parameter(
        'loop', False, 'Begin again after the last frame, with stamps that go on; otherwise the '
        'node exits.', read_only=True)
    stamps: str = parameter(
        'stamps', 'original', 'Stamps of the messages: original (as recorded) or now.',
        choices=('original', 'now'), read_only=True)
    clock: bool = parameter(
        'clock', False, "Publish the frames' stamps on /clock, for nodes with use_sim_time.",
        read_only=True)
    frame_id: str = parameter(
        'frame_id', 'camera_optical_frame', "Name of the camera's optical frame.",
        read_only=True)
    wait_for_subscriber: bool = parameter(
        'wait_for_subscriber', True, 'Publish the first frame only when somebody listens to the '
        'image and to camera_info.', read_only=True)
    lockstep: bool = parameter(
        'lockstep', False, "Publish a frame only when the node's answer to the one before (on "
        'sync/camera_info) has come, so that none is dropped, however slow the node is.',
        read_only=True)
    lockstep_timeout: float = parameter(
        'lockstep_timeout', 30.0, 'Seconds after which lockstep no longer waits for an answer.',
        low=0.1, high=3600.0, read_only=True)


Values = TypeVar('Values')


class ParameterServer(Generic[Values]):
    """
    Declares the parameters on a node and keeps their values.

    A value that cannot be accepted at start (wrong type, out of range, no such choice) does not
    stop the node: it is put into `problems`, which keeps the node from being configured until a
    good value is set.

    :param node: the node; its parameter overrides are applied.
    :param kind: the dataclass of the parameters.
    """

    def __init__(self, node: Node, kind: type[Values]):
        self.node = node
        self.kinds = get_type_hints(kind)
        self.values = kind()
        self.problems: dict[str, str] = {}
        self.locked = False
        # rclpy offers no public way to see what was set but never declared
        self.overrides: dict[str, Parameter] = getattr(node, '_parameter_overrides', {})
        self.specs = {spec.metadata['name']: spec for spec in fields(kind)}
        for name in self.specs:
            self._declare(name)
        node.add_on_set_parameters_callback(self._on_set)
        self.unknown = sorted(
            name for name in self.overrides
            if not node.has_parameter(name) and not name.startswith('qos_overrides.'))

    def _declare(self, name: str) -> None:
        spec, kind = self.specs[name], self.kinds[self.specs[name].name]
        descriptor = _descriptor(spec, kind)
        override = self.overrides.get(name)
        if kind is float and override is not None and isinstance(override.value, int):
            # who writes rate:=5 means 5.0
            self.overrides[name] = Parameter(name, value=float(override.value))
        try:
            value = self.node.declare_parameter(name, spec.default, descriptor).value
            problem = _mismatch(spec, value)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            value, problem = spec.default, str(error)
            self.node.declare_parameter(name, value, descriptor, ignore_override=True)
        if problem:
            self.problems[name] = problem
        else:
            self._keep(spec, value)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        known = [(self.specs[change.name], change.value) for change in changes
                 if change.name in self.specs]
        for spec, value in known:
            problem = _mismatch(spec, value)
            if not problem and self.locked and not spec.metadata['live']:
                problem = (f'{spec.metadata["name"]} is read when the node configures: '
                           'deactivate it and clean it up first')
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        for spec, value in known:
            self.problems.pop(spec.metadata['name'], None)
            self._keep(spec, value)
        return SetParametersResult(successful=True)

    def _keep(self, spec, value: Any) -> None:
        kept = {each.name: getattr(self.values, each.name) for each in self.specs.values()}
        self.values = type(self.values)(**{**kept, spec.name: value})


def _mismatch(spec, value: Any) -> str:
    """Say why a value cannot be accepted; rclpy itself has checked its type and range."""
    choices = spec.metadata['choices']
    if choices and value not in choices:
        return f'{spec.metadata["name"]}: got {value!r}, expected one of {", ".join(choices)}'
    return ''


def _descriptor(spec, kind: type) -> ParameterDescriptor:
    metadata = spec.metadata
    descriptor = ParameterDescriptor(
        name=metadata['name'], description=metadata['description'],
        read_only=metadata['read_only'])
    if metadata['choices']:
        descriptor.additional_constraints = f'one of {", ".join(metadata["choices"])}'
    if kind is int and metadata['low'] is not None:
        descriptor.integer_range = [
            IntegerRange(from_value=metadata['low'], to_value=metadata['high'], step=1)]
    if kind is float and metadata['low'] is not None:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=metadata['low'], to_value=metadata['high'])]
    return descriptor
