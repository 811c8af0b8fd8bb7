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

"""Every service of the nodes, in real processes: no request that can be sent ends them."""

from __future__ import annotations

from collections.abc import Iterator
import copy
import importlib
import re
import signal
import time
from typing import Any

from camera_bags import SIZE, write_calibration
import cv2
from lifecycle_msgs.srv import ChangeState
import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sync_perception.ros.tools.processes import ChildProcess, NODE_MODULES

PATIENCE = 60.0
WRONG_TYPES = range(10, 256)
INTEGER = re.compile(r'(u?)int(8|16|32|64)')
TEXTS = ('', 'x', '..', '/\n%s%n', 'ä' * 3000)
KEPT_ALIVE = range(4, 9)  # transitions that an active node has, or that destroy it


def interface(name: str) -> Any:
    """Import a type by a name such as std_msgs/msg/String."""
    package, group, own = name.split('/')
    return getattr(importlib.import_module(f'{package}.{group}'), own)


def odd_values(kind: str) -> Iterator[Any]:
    """Give values of a field at the ends of its range; of a message, one field each."""
    if kind.startswith('sequence<'):
        yield []
        yield from ([value] for value in odd_values(kind[len('sequence<'):].rstrip('>')))
    elif found := INTEGER.fullmatch(kind):
        bits = int(found[2]) - (not found[1])
        yield from (0 if found[1] else -2 ** bits, 1, 10, 200, 2 ** bits - 1)
    elif kind in ('double', 'float'):
        yield from (float('nan'), float('inf'), -1e300 if kind == 'double' else -1e30)
    elif kind == 'boolean':
        yield from (False, True)
    elif kind in ('octet', 'byte'):
        yield from (b'\x00', b'\xff')
    elif kind.startswith('string'):
        yield from TEXTS
    else:
        yield from odd_messages(interface(kind.replace('/', '/msg/')))


def odd_messages(message_type: Any) -> Iterator[Any]:
    """Give messages that are odd in one field each."""
    yield message_type()
    for name, kind in message_type.get_fields_and_field_types().items():
        for value in odd_values(kind):
            message = message_type()
            try:
                setattr(message, name, value)
            except AssertionError:
                continue  # an int8 field does not take it
            yield message


class Caller:
    """Calls the services of one node."""

    def __init__(self, process: ChildProcess, name: str):
        self.process, self.name = process, name
        self.appear()

    def appear(self) -> None:
        """Enter the graph."""
        self.node = rclpy.create_node('caller')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.clients: dict[str, Any] = {}

    def services(self) -> dict[str, Any]:
        """Wait for the node's services and return their types by their names."""
        for _ in range(4):
            try:
                self.wait(lambda: len(self.listed()) >= 7, PATIENCE / 4)
                break
            except TimeoutError:
                self.close()  # on a busy machine DDS may miss a node: it is announced anew
                self.appear()
        time.sleep(0.5)  # services are announced one by one
        assert self.listed(), self.process.last_lines()
        return {name: interface(kinds[0]) for name, kinds in self.listed()}

    def listed(self) -> list[tuple[str, list[str]]]:
        """Return what the graph knows."""
        try:
            return self.node.get_service_names_and_types_by_node(self.name, '/')
        except rclpy.node.NodeNameNonExistentError:
            return []

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service and return its answer; every one must come."""
        client = self.clients.setdefault(name, self.node.create_client(kind, name))
        if not client.service_is_ready():
            self.wait(client.service_is_ready)
        future = client.call_async(request)
        self.wait(future.done)
        return future.result()

    def wait(self, condition, patience: float = PATIENCE) -> None:
        """Serve until a condition holds, as long as the process lives."""
        end = time.monotonic() + patience
        while not condition():
            assert self.process.exit_code is None, self.process.last_lines()
            if time.monotonic() > end:
                raise TimeoutError('it never happened:\n' + self.process.last_lines())
            self.executor.spin_once(0.1)

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(scope='module')
def ros_context(ros_environment):
    """Bring ROS up for the module."""
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(params=['perception', 'replay'])
def caller(request, ros_context, small_model, tmp_path):
    """Start a node as a process; at the end it must have lived, and end as it is asked to."""
    words = ['autostart:=true', f'model:={small_model}']
    if request.param == 'replay':
        cv2.imwrite(str(tmp_path / '0.png'), np.zeros((*SIZE, 3), np.uint8))
        write_calibration(tmp_path / 'camera.yaml')
        words = ['source:=images', f'path:={tmp_path}', f'camera_info:={tmp_path}/camera.yaml']
    process = ChildProcess(
        request.param, NODE_MODULES[request.param],
        ['--ros-args', *(word for each in words for word in ('-p', each))], tmp_path / 'log')
    made = Caller(process, request.param)
    yield made
    made.close()
    log = process.last_lines(1000)
    process.process.send_signal(signal.SIGINT)
    assert process.process.wait(PATIENCE) == 0, log
    assert 'Traceback' not in process.last_lines(1000)


def test_no_request_ends_a_node(caller):
    services = caller.services()
    assert {SetParameters, SetParametersAtomically} <= set(services.values())
    for name, kind in services.items():
        for odd in odd_messages(kind.Request):
            if kind is not ChangeState:
                caller.call(kind, name, odd)
        if kind is ChangeState:
            check_transitions(caller, name)
        if kind in (SetParameters, SetParametersAtomically):
            check_types(caller, kind, name)


def check_types(caller: Caller, kind: Any, name: str) -> None:
    """Set parameters of every type that there is not; the answers say so."""
    good = Parameter(name='use_sim_time', value=ParameterValue(type=1))
    for absent in ('', 'no_such_parameter'):
        request = kind.Request(parameters=[Parameter(name=absent, value=ParameterValue(type=1))])
        answer = caller.call(kind, name, request)
        [result] = answer.results if kind is SetParameters else [answer.result]
        assert not result.successful and repr(absent) in result.reason
    bad = [Parameter(name=each, value=ParameterValue(type=wrong))
           for wrong in WRONG_TYPES for each in ('use_sim_time', 'nothing')]
    if kind is SetParameters:
        results = caller.call(kind, name, kind.Request(parameters=[good, *bad, good])).results
        assert [result.successful for result in results] == [True] + [False] * len(bad) + [True]
        assert '10' in results[1].reason
        return
    for each in bad[::2]:
        result = caller.call(kind, name, kind.Request(parameters=[good, each])).result
        assert not result.successful and str(each.value.type) in result.reason
    assert caller.call(kind, name, kind.Request(parameters=[good])).result.successful


def check_transitions(caller: Caller, name: str) -> None:
    """Ask for every transition but those that an active node has; each is refused."""
    request = ChangeState.Request()
    for number in set(range(256)) - set(KEPT_ALIVE):
        request.transition.id = number
        assert not caller.call(ChangeState, name, request).success
    for label in TEXTS[1:]:
        wrong = copy.deepcopy(request)
        wrong.transition.label = label
        assert not caller.call(ChangeState, name, wrong).success
    forged = copy.deepcopy(request)
    forged.transition.label = 'x\n[FATAL] forged' + 'a' * 100_000
    assert not caller.call(ChangeState, name, forged).success
    log = caller.process.last_lines(1000)
    assert '\n[FATAL] forged' not in log and len(log) < 100_000
