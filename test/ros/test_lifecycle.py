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


"""The node's lifecycle over services: all the way round, and what keeps it from going on."""

from __future__ import annotations

import gc
import json
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from node_bench import Bench, KnownPredictor, LATCHED, PATIENCE, RELIABLE
import psutil
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import SetBool
from sync_perception.labels import LabelSpace


def test_the_lifecycle_goes_all_the_way_round(bench):
    bench.start(autostart=False)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert bench.node.cameras == [] and bench.node.pipeline is None
    for _ in range(2):
        assert bench.transition(Transition.TRANSITION_CONFIGURE)
        assert bench.transition(Transition.TRANSITION_ACTIVATE)
        assert bench.state() == State.PRIMARY_STATE_ACTIVE
        assert bench.transition(Transition.TRANSITION_DEACTIVATE)
        assert bench.camera.inputs == [] and bench.node.worker is None
        assert bench.transition(Transition.TRANSITION_CLEANUP)
        assert bench.node.cameras == [] and bench.node.pipeline is None
    assert bench.transition(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert bench.state() == State.PRIMARY_STATE_FINALIZED


@pytest.mark.parametrize('number', [Transition.TRANSITION_CONFIGURE, 99])
def test_a_transition_that_is_not_there_is_refused_and_survived(bench, number):
    bench.start()
    assert not bench.transition(number)
    assert bench.state() == State.PRIMARY_STATE_ACTIVE


def test_a_destroyed_node_leaves_the_graph(bench):
    bench.start()
    services = ('/perception/get_state', '/perception/set_parameters', '/perception/enable')
    bench.wait(lambda: all(bench.others.count_services(name) == 1 for name in services))
    bench.executors[0].remove_node(bench.node)
    bench.node.close()
    bench.node.destroy_node()
    bench.wait(lambda: not any(bench.others.count_services(name) for name in services))


def test_frames_come_again_after_deactivation(bench):
    bench.start(listen=('depth',))
    for stamp in (1, 2):
        bench.wait(bench.image_publisher.get_subscription_count)
        bench.wait(bench.info_publisher.get_subscription_count)
        bench.send_info(stamp)
        bench.wait(lambda: bench.camera.camera_infos.remembered)
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: len(bench.received['depth']) == stamp)
        assert bench.transition(Transition.TRANSITION_DEACTIVATE)
        bench.wait(lambda: not bench.image_publisher.get_subscription_count())
        assert bench.transition(Transition.TRANSITION_ACTIVATE)
    assert bench.state() == State.PRIMARY_STATE_ACTIVE


def test_a_model_that_does_not_load_leaves_the_node_alive(bench):
    good = bench.predictor

    def load(parameters):
        if parameters.model == 'broken':
            raise FileNotFoundError('no config.json in broken')
        return good
    bench.start(load=load, model='broken')
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert not bench.transition(Transition.TRANSITION_CONFIGURE)
    assert bench.node.set_parameters([Parameter('model', value='')])[0].successful
    assert bench.transition(Transition.TRANSITION_CONFIGURE)
    assert bench.state() == State.PRIMARY_STATE_INACTIVE


def test_a_parameter_out_of_range_fails_the_configuration_not_the_node(bench):
    bench.start(points__stride=0)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert bench.node.set_parameters([Parameter('points.stride', value=2)])[0].successful
    assert bench.transition(Transition.TRANSITION_CONFIGURE)


def test_a_model_without_labels_offers_no_topic_of_labels(bench):
    bench.predictor.available = frozenset({'depth'})
    bench.start(listen=('depth',))
    topics = [output.topic for output, _ in bench.camera.outputs]
    assert topics == ['sync/depth', 'sync/points', 'sync/camera_info']


def test_quality_of_service_can_be_overridden(bench):
    bench.start(**{'qos_overrides./sync/depth.publisher.reliability': 'best_effort',
                   'qos_overrides./image.subscription.reliability': 'reliable'})
    profiles = {output.topic: publisher.qos_profile for output, publisher in bench.camera.outputs}
    assert profiles['sync/depth'].reliability == ReliabilityPolicy.BEST_EFFORT
    assert profiles['sync/points'].reliability == ReliabilityPolicy.RELIABLE
    assert profiles['sync/camera_info'].durability == DurabilityPolicy.TRANSIENT_LOCAL
    info, image = bench.camera.inputs
    assert image.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_a_consumer_sets_what_the_user_left_alone(bench):
    bench.start(consumer='hydra', depth__encoding='16UC1')
    values = bench.node.parameters.values
    assert (values.semantics_encoding, values.depth_encoding) == ('16SC1', '16UC1')
    assert bench.node.get_parameter('semantics.encoding').value == '16SC1'
    bench.node.set_parameters([Parameter('consumer', value='generic')])
    assert bench.node.parameters.values.semantics_encoding == '16SC1'  # until it configures again
    bench.node.trigger_deactivate()
    bench.node.trigger_cleanup()
    bench.node.trigger_configure()
    assert bench.node.parameters.values.semantics_encoding == 'mono8'


class Loader:
    """Loads models by their names, as folders would."""

    def __init__(self, good: KnownPredictor):
        self.models = {'': good, 'depth': KnownPredictor(), 'rooms': KnownPredictor()}
        self.models['depth'].available = frozenset({'depth', 'uncertainty'})
        self.models['rooms'].labels = LabelSpace.load('nyud40')

    def __call__(self, parameters):
        """Load one, or fail as a missing folder does."""
        if parameters.model not in self.models:
            raise FileNotFoundError(f'no config.json in {parameters.model}')
        return self.models[parameters.model]


def set_model(bench: Bench, name: str):
    """Set the parameter as the service does, and return the answer."""
    return bench.node.set_parameters([Parameter('model', value=name)])[0]


def test_a_model_is_swapped_while_the_node_is_active(bench):
    spaces = []
    bench.others.create_subscription(
        String, 'sync/label_space', lambda told: spaces.append(json.loads(told.data)['name']),
        LATCHED)
    bench.start(load=Loader(bench.predictor), listen=('depth',))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: len(bench.received['depth']) == 1)
    before = {output.topic: publisher for output, publisher in bench.camera.outputs}
    assert set_model(bench, 'depth').successful
    topics = {output.topic: publisher for output, publisher in bench.camera.outputs}
    assert topics.keys() == {
        'sync/depth', 'sync/depth/uncertainty', 'sync/points', 'sync/camera_info'}
    assert topics['sync/depth'] is before['sync/depth']  # its subscribers notice nothing
    bench.listen('depth/uncertainty')
    bench.wait(topics['sync/depth/uncertainty'].get_subscription_count)
    bench.send_image(2)
    bench.wait(lambda: len(bench.received['depth']) == 2 and bench.received['depth/uncertainty'])
    assert set_model(bench, 'rooms').successful
    bench.wait(lambda: spaces == ['driving', 'nyud40'])
    assert bench.node.parameters.values.model == 'rooms'
    assert bench.state() == State.PRIMARY_STATE_ACTIVE


def test_a_swap_that_fails_leaves_the_old_model_at_work(bench):
    bench.start(load=Loader(bench.predictor), listen=('depth',))
    answer = set_model(bench, '/nowhere')
    assert not answer.successful
    assert "cannot load '/nowhere', keeping the current model: FileNotFoundError" in answer.reason
    assert bench.node.get_parameter('model').value == ''
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.received['depth'])


def test_the_node_can_be_told_to_leave_images_alone(bench):
    bench.start(listen=('depth',))
    answer = bench.call(SetBool, '/perception/enable', SetBool.Request(data=False))
    assert answer.success and answer.message == 'images are ignored'
    bench.wait(lambda: not bench.image_publisher.get_subscription_count())
    assert bench.state() == State.PRIMARY_STATE_ACTIVE
    assert bench.call(SetBool, '/perception/enable', SetBool.Request(data=True)).success
    bench.wait(bench.image_publisher.get_subscription_count)
    bench.wait(bench.info_publisher.get_subscription_count)
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.received['depth'])


def test_a_camera_that_is_left_alone_stays_in_the_diagnostics(bench, capfd):
    latest = {}
    bench.others.create_subscription(
        DiagnosticArray, '/diagnostics',
        lambda array: latest.update({status.name: status for status in array.status}), RELIABLE)
    bench.start(cameras=['front', 'left'])
    names = [f'perception: camera {name}' for name in ('front', 'left')]
    bench.wait(lambda: latest.keys() >= set(names))
    bench.call(SetBool, '/perception/enable', SetBool.Request(data=False))
    latest.clear()
    bench.wait(lambda: latest.keys() >= set(names))
    for name in names:
        assert 'disabled' in latest[name].message
        assert latest[name].level == DiagnosticStatus.OK
    assert 'disabled' in capfd.readouterr().err
    bench.call(SetBool, '/perception/enable', SetBool.Request(data=True))
    bench.wait(lambda: not any('disabled' in latest[name].message for name in names))
    assert 'enabled' in capfd.readouterr().err


def test_what_the_node_does_at_its_start_is_logged(bench, capfd):
    bench.start(autostart=False)
    assert 'autostart' in capfd.readouterr().err
    assert bench.transition(Transition.TRANSITION_CONFIGURE)
    assert 'loading' in capfd.readouterr().err


def test_a_node_that_is_disabled_before_it_is_active_stays_so(bench):
    bench.start(autostart=False)
    answer = bench.call(SetBool, '/perception/enable', SetBool.Request(data=False))
    assert answer.message == 'images are ignored as soon as the node is active'
    assert bench.transition(Transition.TRANSITION_CONFIGURE)
    assert bench.transition(Transition.TRANSITION_ACTIVATE)
    assert bench.camera.inputs == []
    bench.call(SetBool, '/perception/enable', SetBool.Request(data=True))
    assert len(bench.camera.inputs) == 2


@pytest.mark.parametrize('stop', [
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN])
def test_a_long_frame_holds_up_no_transition(bench, stop):
    bench.start(listen=('depth',))
    bench.predictor.go.clear()
    bench.send_info(1)
    bench.send_image(1)
    assert bench.predictor.busy.wait(PATIENCE)
    counters, begun = bench.counters, time.monotonic()
    assert bench.transition(stop)
    assert time.monotonic() - begun < 2
    assert (counters.received, counters.dropped, counters.published) == (1, 1, 0)
    if stop == Transition.TRANSITION_DEACTIVATE:
        assert bench.transition(Transition.TRANSITION_ACTIVATE)
        bench.wait(bench.image_publisher.get_subscription_count)
        bench.wait(bench.info_publisher.get_subscription_count)
        bench.send_info(2)
        bench.send_image(2)
        bench.wait(lambda: bench.counters.received == 1)
        assert bench.predictor.batches == [1]  # one predictor serves one thread at a time
        bench.predictor.go.set()
        bench.wait(lambda: bench.received['depth'])
        assert [message.header.stamp.nanosec for message in bench.received['depth']] == [2]


def test_a_long_frame_does_not_hold_up_another_model(bench):
    bench.start(load=Loader(bench.predictor), listen=('depth',))
    bench.predictor.go.clear()
    bench.send_info(1)
    bench.send_image(1)
    assert bench.predictor.busy.wait(PATIENCE)
    begun = time.monotonic()
    assert set_model(bench, 'rooms').successful
    assert time.monotonic() - begun < 2
    bench.send_image(2)
    bench.wait(lambda: bench.received['depth'])
    assert bench.received['depth'][0].header.stamp.nanosec == 2


def test_a_hundred_cycles_leak_neither_memory_nor_threads(bench):
    bench.start(autostart=False)
    node, process = bench.node, psutil.Process()

    def cycle(times: int) -> int:
        for _ in range(times):
            node.trigger_configure()
            node.trigger_activate()
            node.trigger_deactivate()
            node.trigger_cleanup()
        gc.collect()
        return process.memory_info().rss
    before = cycle(30)  # the middleware's pools have grown by then
    threads = threading.active_count(), process.num_threads()
    after = cycle(100)
    now = threading.active_count(), process.num_threads()
    assert now[0] <= threads[0] and now[1] <= threads[1]
    assert after < 1.05 * before
