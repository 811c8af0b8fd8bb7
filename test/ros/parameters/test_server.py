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


"""Parameters are declared with their descriptions; what cannot be accepted is said."""

from __future__ import annotations

from dataclasses import fields

import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.node import Node
from rclpy.parameter import Parameter
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.parameters.server import ParameterServer


@pytest.fixture
def serve(ros):
    """Return a function that makes a parameter server with overrides."""
    nodes = []

    def make(kind=PerceptionParameters, **overrides) -> ParameterServer:
        values = [Parameter(name.replace('__', '.'), value=value)
                  for name, value in overrides.items()]
        nodes.append(Node(f'parameters_{len(nodes)}', parameter_overrides=values))
        return ParameterServer(nodes[-1], kind)
    yield make
    for node in nodes:
        node.destroy_node()


def change(server: ParameterServer, name: str, value):
    """Set a parameter as the service does, and return the answer."""
    return server.node.set_parameters([Parameter(name, value=value)])[0]


@pytest.mark.parametrize('kind', [PerceptionParameters, ReplayParameters])
def test_every_parameter_is_declared_with_description_range_and_type(serve, kind):
    server = serve(kind)
    assert server.values == kind() and server.problems == {} and server.unknown == []
    for spec in fields(kind):
        name = spec.metadata['name']
        descriptor = server.node.describe_parameter(name)
        assert len(descriptor.description) > 10
        value = server.node.get_parameter(name).value
        assert (tuple(value) if isinstance(value, list) else value) == spec.default
        if descriptor.type == ParameterType.PARAMETER_INTEGER:
            assert len(descriptor.integer_range) == 1
        if descriptor.type == ParameterType.PARAMETER_DOUBLE:
            assert len(descriptor.floating_point_range) == 1
        if spec.metadata['choices']:
            assert spec.default in descriptor.additional_constraints


def test_overrides_are_read(serve):
    server = serve(device='cpu', half=True, points__stride=4, depth__encoding='16UC1')
    values = server.values
    assert (values.device, values.half, values.points_stride) == ('cpu', True, 4)
    assert values.depth_encoding == '16UC1'


def test_a_whole_number_will_do_for_a_decimal_one(serve):
    assert serve(max_depth=50).values.max_depth == 50.0


@pytest.mark.parametrize('overrides, message', [
    ({'points__stride': 0}, 'points.stride'),
    ({'points__stride': 'two'}, 'points.stride'),
    ({'max_depth': -1.0}, 'max_depth'),
    ({'points__color': 'pink'}, "'pink', expected one of camera, label"),
    ({'semantics__encoding': '32SC1'}, 'expected one of mono8, 16SC1'),
    ({'half': 3}, 'half'),
])
def test_a_bad_value_at_start_is_a_problem_until_a_good_one_comes(serve, overrides, message):
    server = serve(**overrides)
    (name, problem), = server.problems.items()
    assert message in problem
    good = PerceptionParameters()
    spec = server.specs[name]
    assert getattr(server.values, spec.name) == spec.default
    assert change(server, name, getattr(good, spec.name)).successful
    assert server.problems == {}


def test_a_name_that_nobody_declares_is_reported(serve):
    server = serve(points__strid=2, qos_overrides__image__depth=3)
    assert server.unknown == ['points.strid']


@pytest.mark.parametrize('name, value, reason', [
    ('points.stride', 65, 'range'),
    ('points.color', 'pink', 'expected one of'),
    ('points.organized', 1, 'type'),
    ('autostart', False, 'read-only'),
    ('model', '/nope\n[FATAL] forged', 'printable'),
    ('model', 'x' * 100_000, 'printable'),
    ('cameras', ['front', 'a\x1b[31m'], 'printable'),
])
def test_a_bad_change_is_refused_and_changes_nothing(serve, name, value, reason):
    server = serve()
    answer = change(server, name, value)
    assert not answer.successful and reason in answer.reason.lower()
    assert server.values == PerceptionParameters()


def test_what_is_read_at_configuration_waits_for_the_next_one(serve):
    server = serve()
    server.locked = True
    assert change(server, 'device', 'cpu').successful
    assert change(server, 'points.stride', 2).successful
    assert (server.values.points_stride, server.values.device) == (2, 'auto')
    server.unlock()
    assert (server.values.points_stride, server.values.device) == (2, 'cpu')


def test_a_hook_carries_out_a_change_or_refuses_it(serve):
    server, seen = serve(), []
    server.locked = True
    server.hooks['model'] = seen.append
    assert change(server, 'model', 'good').successful
    assert seen == ['good'] and server.values.model == 'good'

    def refuse(value):
        raise ValueError(f'no model {value}')
    server.hooks['model'] = refuse
    answer = change(server, 'model', 'bad')
    assert not answer.successful and answer.reason == 'no model bad'
    assert server.values.model == 'good' and server.node.get_parameter('model').value == 'good'


def test_a_preset_sets_what_the_user_left_alone(serve):
    server = serve(points__color='camera')
    server.preset({'points.color': 'label', 'semantics.encoding': '16SC1'})
    assert server.values.points_color == 'camera'
    assert server.node.get_parameter('semantics.encoding').value == '16SC1'
    change(server, 'depth.encoding', '16UC1')
    server.preset({'depth.encoding': '32FC1', 'confidence.encoding': 'mono8'})
    values = server.values
    assert (values.semantics_encoding, values.depth_encoding, values.confidence_encoding) == (
        'mono8', '16UC1', 'mono8')


def test_a_list_of_names_is_a_tuple(serve):
    assert serve().values.cameras == ('',)
    assert serve(cameras=['front', 'left']).values.cameras == ('front', 'left')
