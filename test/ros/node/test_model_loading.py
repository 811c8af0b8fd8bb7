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

"""Models are loaded beside the executor: the node answers, and serves the old model, meanwhile."""

from __future__ import annotations

from threading import Event

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from node_bench import Bench, KnownPredictor, PATIENCE, RELIABLE
import pytest
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

CHANGE_STATE, SET_PARAMETERS = '/perception/change_state', '/perception/set_parameters'
CONFIGURE = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))


class SlowLoader:
    """Loads the model of the empty name at once, every other when it is let go."""

    def __init__(self):
        self.go, self.begun = Event(), Event()
        self.loaded: list[str] = []

    def __call__(self, parameters) -> KnownPredictor:
        """Load, or fail as a missing folder does."""
        self.begun.set()
        if parameters.model:
            assert self.go.wait(PATIENCE)
        if parameters.model == 'absent':
            raise FileNotFoundError('no config.json in absent')
        self.loaded.append(parameters.model)
        return KnownPredictor()


@pytest.fixture
def loader():
    """Return a slow loader that is let go after the test."""
    made = SlowLoader()
    yield made
    made.go.set()


def listen_to_diagnostics(bench: Bench) -> dict[str, DiagnosticStatus]:
    """Return the latest status of each name, filled as they come."""
    latest = {}
    bench.others.create_subscription(
        DiagnosticArray, '/diagnostics',
        lambda array: latest.update({status.name: status for status in array.status}), RELIABLE)
    return latest


def set_model(bench: Bench, name: str):
    """Set the parameter by the service and return the answer's future."""
    request = SetParameters.Request(
        parameters=[Parameter('model', value=name).to_parameter_msg()])
    return bench.ask(SetParameters, SET_PARAMETERS, request)


def frames_come(bench: Bench, first: int) -> None:
    """Send two frames and wait for their depth."""
    before = len(bench.received['depth'])
    for stamp in (first, first + 1):
        bench.send_info(stamp)
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: len(bench.received['depth']) > before + stamp - first)


def test_the_node_answers_while_its_first_model_is_loaded(bench, loader):
    bench.start(load=loader, autostart=False, model='slow')
    latest = listen_to_diagnostics(bench)
    answer = bench.ask(ChangeState, CHANGE_STATE, CONFIGURE)
    bench.wait(loader.begun.is_set)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    bench.wait(lambda: 'loading slow on auto' in getattr(
        latest.get('perception: model'), 'message', ''))
    assert not bench.call(ChangeState, CHANGE_STATE, CONFIGURE).success  # one at a time
    assert not answer.done()
    loader.go.set()
    bench.wait(answer.done)
    assert answer.result().success and bench.state() == State.PRIMARY_STATE_INACTIVE
    assert loader.loaded == ['slow']
    bench.wait(lambda: 'loading' not in latest['perception: model'].message)


def test_parameters_set_while_the_model_is_loaded_count(bench, loader):
    bench.start(load=loader, autostart=False, model='slow')
    answer = bench.ask(ChangeState, CHANGE_STATE, CONFIGURE)
    bench.wait(loader.begun.is_set)
    request = SetParameters.Request(parameters=[
        Parameter('device', value='cpu').to_parameter_msg(),
        Parameter('points.stride', value=2).to_parameter_msg()])
    assert all(result.successful for result in bench.call(
        SetParameters, SET_PARAMETERS, request).results)
    loader.go.set()
    bench.wait(answer.done)
    assert answer.result().success
    assert loader.loaded == ['slow', 'slow']  # the first was for another device
    assert bench.node.parameters.values.points_stride == 2


def test_the_old_model_answers_while_another_is_loaded(bench, loader):
    bench.start(load=loader, listen=('depth',))
    old = bench.node.pipeline.predictor
    answer = set_model(bench, 'slow')
    loader.begun.clear()
    frames_come(bench, 1)
    refused = set_model(bench, 'other')
    bench.wait(refused.done)
    assert 'slow' in refused.result().results[0].reason
    frames_come(bench, 3)
    assert not answer.done() and bench.node.pipeline.predictor is old
    loader.go.set()
    bench.wait(answer.done)
    assert answer.result().results[0].successful
    assert bench.node.pipeline.predictor is not old
    frames_come(bench, 5)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(bench, loader):
    bench.start(load=loader, listen=('depth',))
    loader.go.set()
    answer = set_model(bench, 'absent')
    bench.wait(answer.done)
    assert "'absent'" in answer.result().results[0].reason
    assert bench.node.get_parameter('model').value == ''
    frames_come(bench, 1)


def test_the_present_model_is_not_loaded_again(bench, loader):
    bench.start(load=loader, model='', cameras=['front'])
    names = [name for name, spec in bench.node.parameters.specs.items()
             if not spec.metadata['read_only']]
    dump = [bench.node.get_parameter(name).to_parameter_msg() for name in names]
    answer = bench.call(SetParameters, SET_PARAMETERS, SetParameters.Request(parameters=dump))
    assert all(result.successful for result in answer.results)
    assert loader.loaded == [''] and bench.node.parameters.waiting == {}


@pytest.mark.parametrize('swap', [False, True])
def test_a_model_that_takes_too_long_cannot_be_loaded(bench, loader, swap):
    bench.start(load=loader, load_timeout=1.0, model='' if swap else 'slow')
    if swap:
        answer = set_model(bench, 'slow')
        bench.wait(answer.done)
        reason = answer.result().results[0].reason
    else:
        assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
        reason = bench.node.problem
    assert 'load_timeout' in reason and 'slow' in reason
    loader.go.set()
    answer = set_model(bench, 'other')
    bench.wait(answer.done)
    assert answer.result().results[0].successful
    if not swap:
        assert bench.transition(Transition.TRANSITION_CONFIGURE)


def test_a_shutdown_while_a_model_is_loaded_wins(bench, loader):
    bench.start(load=loader, autostart=False, model='slow')
    answer = bench.ask(ChangeState, CHANGE_STATE, CONFIGURE)
    bench.wait(loader.begun.is_set)
    assert bench.transition(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    loader.go.set()
    bench.wait(answer.done)
    assert not answer.result().success and bench.state() == State.PRIMARY_STATE_FINALIZED


def test_the_description_says_that_a_model_acts_at_once(bench, loader):
    bench.start(load=loader, autostart=False)
    said = {name: bench.node.describe_parameter(name).additional_constraints
            for name in ('model', 'device', 'points.stride')}
    assert 'at once' in said['model'] and 'at once' in said['points.stride']
    assert 'configures' in said['device']
    assert bench.node.get_parameter('model').get_parameter_value().type == (
        ParameterType.PARAMETER_STRING)
