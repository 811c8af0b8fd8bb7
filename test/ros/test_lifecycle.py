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

from lifecycle_msgs.msg import State, Transition
from node_bench import Bench
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy


@pytest.fixture
def bench(ros):
    """Return a bench that is cleared away after the test."""
    made = Bench()
    yield made
    made.close()


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
