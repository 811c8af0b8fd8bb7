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


"""The node as others meet it: over topics, services and parameters, with a model that is known."""

from __future__ import annotations

import json
from threading import Event, Thread

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header, String
from sync_perception.labels import LabelSpace
from sync_perception.ros.conversions import image_message, stamp_nanoseconds
from sync_perception.ros.node import PerceptionNode
from sync_perception.ros.sources import pinhole
from sync_perception.types import Prediction

PATIENCE = 20.0
SIZE = (24, 32)
K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
TOPICS = {
    'depth': Image, 'semantics': Image, 'semantics/confidence': Image, 'semantics/color': Image,
    'overlay': Image, 'points': PointCloud2, 'camera_info': CameraInfo}
RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


class KnownPredictor:
    """
    Predicts what can be read off the image: depth from red, labels from green.

    It notes what it was asked for; `hold` makes it wait, `fail` makes it raise.
    """

    available = frozenset({'depth', 'labels', 'confidence'})

    def __init__(self):
        self.labels = LabelSpace.load('driving')
        self.asked: list[frozenset] = []
        self.fail: Exception | None = None
        self.go, self.busy = Event(), Event()
        self.go.set()

    def describe(self) -> dict:
        """Say what runs."""
        return {'model': 'known', 'device': 'cpu'}

    def predict(self, frame, outputs) -> Prediction:
        """Predict what is asked for, and nothing else."""
        self.asked.append(frozenset(outputs))
        self.busy.set()
        assert self.go.wait(PATIENCE)
        if self.fail is not None:
            raise self.fail
        red, green = frame.image[..., 0], frame.image[..., 1]
        maps = {'depth': np.where(red < 250, red / np.float32(4), np.nan).astype(np.float32),
                'labels': np.ascontiguousarray(green),
                'confidence': np.full(frame.size, 0.75, np.float32)}
        return Prediction(**{name: maps[name] for name in outputs})


class Bench:
    """The node under test, and another node that plays the camera and the consumers."""

    def __init__(self):
        self.predictor = KnownPredictor()
        self.received: dict[str, list] = {}
        self.arrived = Event()
        self.node: PerceptionNode | None = None
        self.others = Node('others')
        self.info_publisher = self.others.create_publisher(CameraInfo, 'camera_info', RELIABLE)
        self.image_publisher = self.others.create_publisher(Image, 'image', RELIABLE)
        self.executors, self.threads = [], []

    def start(self, listen: tuple[str, ...] = (), load=None, **overrides) -> Bench:
        """Start the node with these parameters, and listen to these of its topics."""
        values = [Parameter(name.replace('__', '.'), value=value)
                  for name, value in overrides.items()]
        self.node = PerceptionNode(
            load_predictor=load or (lambda parameters: self.predictor),
            parameter_overrides=values)
        for topic in listen:
            self.listen(topic)
        self.node.autostart()
        self.spin(self.node)
        self.spin(self.others)
        if self.node.inputs:
            self.wait(lambda: self.image_publisher.get_subscription_count()
                      or self.node.parameters.values.image_transport == 'compressed')
            self.wait(self.info_publisher.get_subscription_count)
        for output, publisher in self.node.outputs:
            if output.topic.removeprefix('sync/') in listen:
                self.wait(publisher.get_subscription_count)
        return self

    def spin(self, node: Node) -> None:
        """Serve a node on a thread."""
        own_executor = SingleThreadedExecutor()
        own_executor.add_node(node)
        thread = Thread(target=own_executor.spin, daemon=True)
        thread.start()
        self.executors.append(own_executor)
        self.threads.append(thread)

    def listen(self, topic: str) -> None:
        """Subscribe to one of the node's topics."""
        messages = self.received[topic] = []
        self.others.create_subscription(
            TOPICS[topic], f'sync/{topic}', messages.append, RELIABLE)

    def wait(self, condition) -> None:
        """Wait until a condition holds that other threads bring about."""
        ticker = Event()
        for _ in range(int(PATIENCE / 0.01)):
            if condition():
                return
            ticker.wait(0.01)
        raise AssertionError(f'it never happened; {self.node.counters}')

    def header(self, stamp: int, frame_id: str = 'cam') -> Header:
        """Return a header of this stamp."""
        stamped = Header(frame_id=frame_id)
        stamped.stamp.sec, stamped.stamp.nanosec = divmod(stamp, 10 ** 9)
        return stamped

    def send_info(self, stamp: int, size: tuple[int, int] = SIZE) -> None:
        """Publish a calibration."""
        info = pinhole(K, size)
        info.header = self.header(stamp)
        self.info_publisher.publish(info)

    def send_image(self, stamp: int, image: np.ndarray | None = None, **spoiled) -> None:
        """Publish an image, some of its fields spoiled."""
        image = picture() if image is None else image
        message = image_message(image, self.header(stamp), 'rgb8')
        for name, value in spoiled.items():
            setattr(message, name, value)
        self.image_publisher.publish(message)

    def call(self, kind, service: str, request):
        """Call one of the node's services."""
        client = self.others.create_client(kind, service)
        assert client.wait_for_service(PATIENCE)
        answer = client.call_async(request)
        self.wait(answer.done)
        return answer.result()

    def state(self) -> int:
        """Ask the node for its lifecycle state."""
        return self.call(GetState, '/perception/get_state', GetState.Request()).current_state.id

    def transition(self, transition: int) -> bool:
        """Ask the node for a transition."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, '/perception/change_state', request).success

    def close(self) -> None:
        """End everything."""
        for own_executor in self.executors:
            own_executor.shutdown()
        for thread in self.threads:
            thread.join(PATIENCE)
        if self.node is not None:
            self.predictor.go.set()
            self.node.close()
            self.node.destroy_node()
        self.others.destroy_node()


def picture() -> np.ndarray:
    """Return an image whose red is four times the depth and whose green is the label."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0] = np.arange(SIZE[1]) * 4
    image[:4, :, 0] = 255
    image[..., 1] = (np.arange(SIZE[0]) % 20)[:, None]
    image[-1, :, 1] = 255
    return image


@pytest.fixture
def bench(ros):
    """Return a bench that is cleared away after the test."""
    made = Bench()
    yield made
    made.close()


def test_a_frame_becomes_a_bundle_under_its_own_header(bench):
    bench.start(listen=tuple(TOPICS))
    bench.send_info(1_000_000_007)
    bench.send_image(1_000_000_007)
    bench.wait(lambda: all(bench.received.values()))
    bundle = {topic: messages[0] for topic, messages in bench.received.items()}
    for message in bundle.values():
        assert stamp_nanoseconds(message.header) == 1_000_000_007
        assert message.header.frame_id == 'cam'
        assert (message.height, message.width) == SIZE
    assert {topic: message.encoding for topic, message in bundle.items()
            if isinstance(message, Image)} == {
        'depth': '32FC1', 'semantics': 'mono8', 'semantics/confidence': '32FC1',
        'semantics/color': 'rgb8', 'overlay': 'rgb8'}
    depth = np.frombuffer(bundle['depth'].data, '<f4').reshape(SIZE)
    np.testing.assert_array_equal(depth[5], np.arange(32))
    assert np.isnan(depth[:4]).all()
    labels = np.frombuffer(bundle['semantics'].data, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(labels, picture()[..., 1])
    assert set(np.frombuffer(bundle['semantics/confidence'].data, '<f4')) == {0.75}
    color = np.frombuffer(bundle['semantics/color'].data, np.uint8).reshape(*SIZE, 3)
    np.testing.assert_array_equal(color[0, 0], [128, 64, 128])  # road, as Cityscapes paints it
    np.testing.assert_array_equal(color[-1, 0], [0, 0, 0])
    points = np.frombuffer(bundle['points'].data, '<f4').reshape(*SIZE, 8)
    np.testing.assert_allclose(  # pixel (20, 10): z = 20, x = z (u - cx) / fx
        points[10, 20, :3], [20 * 4.5 / 30, 20 * -1.5 / 30, 20], rtol=1e-6)
    assert np.isnan(points[0, :, :3]).all() and points[10, 20, 6] == 0.75
    np.testing.assert_array_equal(bundle['camera_info'].k.reshape(3, 3), K)


@pytest.mark.parametrize('topics, needs', [
    (('depth',), {'depth'}),
    (('semantics',), {'labels'}),
    (('overlay', 'depth'), {'labels', 'depth'}),
    (('points',), {'depth', 'labels', 'confidence'}),
])
def test_only_what_somebody_subscribes_to_is_computed(bench, topics, needs):
    bench.start(listen=topics)
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    assert bench.predictor.asked == [frozenset(needs)]


def test_nothing_is_computed_for_nobody(bench):
    bench.start()
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.node.counters.unwanted == 1)
    assert bench.predictor.asked == []


def test_camera_info_alone_costs_no_prediction(bench):
    bench.start(listen=('camera_info',))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.received['camera_info'])
    assert bench.predictor.asked == []


def test_the_newest_frame_wins_and_every_drop_is_counted(bench):
    bench.start(listen=('depth',))
    bench.predictor.go.clear()
    bench.send_info(1)
    bench.wait(lambda: bench.node.camera_infos.remembered)
    bench.send_image(1)
    assert bench.predictor.busy.wait(PATIENCE)
    for stamp in (2, 3, 4):
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: bench.node.counters.received == stamp)
    bench.predictor.go.set()
    bench.wait(lambda: len(bench.received['depth']) == 2)
    assert [stamp_nanoseconds(message.header) for message in bench.received['depth']] == [1, 4]
    counters = bench.node.counters
    bench.wait(lambda: counters.published == 2)
    assert (counters.received, counters.dropped) == (4, 2)
    assert len(counters.durations) == 2 and max(counters.durations) < PATIENCE


def test_the_first_image_waits_for_its_camera_info(bench):
    bench.start(listen=('depth',))
    bench.send_image(5)
    bench.wait(lambda: 'no camera_info' in bench.node.last_logged)
    bench.send_info(5)
    bench.wait(lambda: bench.received['depth'])
    assert bench.node.counters.received == bench.node.counters.published == 1


def test_malformed_input_is_refused_counted_and_survived(bench):
    bench.start(listen=('depth',))
    bench.send_info(1)
    bench.wait(lambda: bench.node.camera_infos.remembered)
    refused = bench.node.counters.refused
    bench.send_image(2, step=1)
    bench.wait(lambda: refused['step'] == 1)
    bench.send_image(3, encoding='surprise')
    bench.wait(lambda: refused['encoding'] == 1)
    bench.send_image(4, np.zeros((9, 9, 3), np.uint8))
    bench.wait(lambda: refused['camera_info size'] == 1)
    bench.send_image(5, height=0)
    bench.wait(lambda: sum(refused.values()) == 4)
    assert bench.received['depth'] == []
    bench.send_image(6)
    bench.wait(lambda: bench.received['depth'])
    assert stamp_nanoseconds(bench.received['depth'][0].header) == 6


@pytest.mark.parametrize('trouble, counter', [
    (RuntimeError('out of memory'), lambda counters: counters.failed),
    (MemoryError(), lambda counters: counters.failed),
    (ValueError('too small'), lambda counters: counters.refused['model input']),
])
def test_a_frame_that_fails_does_not_end_the_node(bench, trouble, counter):
    bench.start(listen=('depth',))
    bench.predictor.fail = trouble
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: counter(bench.node.counters) == 1)
    bench.predictor.fail = None
    bench.send_image(2)
    bench.wait(lambda: bench.received['depth'])


def test_label_space_is_told_to_those_who_come_late(bench):
    bench.start(semantics__encoding='16SC1')
    told = []
    bench.others.create_subscription(String, 'sync/label_space', told.append, LATCHED)
    bench.wait(lambda: told)
    space = json.loads(told[0].data)
    assert (space['name'], space['void'], len(space['classes'])) == ('driving', -1, 20)
    assert space['classes'][0] == {
        'id': 0, 'name': 'road', 'color': [128, 64, 128], 'dynamic': False, 'infinite': False}
    assert [each['id'] for each in space['classes'] if each['infinite']] == [10]


def test_encodings_and_points_follow_the_parameters(bench):
    bench.start(listen=('depth', 'semantics', 'points'), depth__encoding='16UC1',
                semantics__encoding='16SC1', points__stride=4, points__organized=False,
                points__color='label')
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    depth, semantics, points = (messages[0] for messages in bench.received.values())
    assert (depth.encoding, semantics.encoding) == ('16UC1', '16SC1')
    assert np.frombuffer(depth.data, '<u2').reshape(SIZE)[5, 7] == 7000
    assert np.frombuffer(semantics.data, '<i2').reshape(SIZE)[-1, 0] == -1
    assert (points.height, points.width, points.is_dense) == (1, 5 * 8, True)
    colors = np.frombuffer(points.data, '<u4').reshape(-1, 8)[:, 4:6]
    palette = LabelSpace.load('driving').palette.astype(int)
    for packed, label in colors[:, :2]:
        red, green, blue = palette[label]
        assert packed == red << 16 | green << 8 | blue


def test_live_parameters_take_effect_with_the_next_frame(bench):
    bench.start(listen=('points',))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: len(bench.received['points']) == 1)
    answer = bench.node.set_parameters([Parameter('points.stride', value=8)])[0]
    assert answer.successful
    bench.send_image(2)
    bench.wait(lambda: len(bench.received['points']) == 2)
    assert (bench.received['points'][1].height, bench.received['points'][1].width) == (3, 4)
    refused = bench.node.set_parameters([Parameter('device', value='cpu')])[0]
    assert not refused.successful


def test_compressed_images_come_in_beside_the_raw_topic(bench):
    import cv2
    publisher = bench.others.create_publisher(CompressedImage, 'image/compressed', RELIABLE)
    bench.start(listen=('semantics',), image_transport='compressed')
    bench.wait(publisher.get_subscription_count)
    data = cv2.imencode('.png', picture()[..., ::-1])[1].tobytes()
    bench.send_info(3)
    publisher.publish(CompressedImage(header=bench.header(3), format='png', data=data))
    bench.wait(lambda: bench.received['semantics'])
    labels = np.frombuffer(bench.received['semantics'][0].data, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(labels, picture()[..., 1])


def test_the_lifecycle_goes_all_the_way_round(bench):
    bench.start(autostart=False)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert bench.node.inputs == [] and bench.node.outputs == []
    for _ in range(2):
        assert bench.transition(Transition.TRANSITION_CONFIGURE)
        assert bench.transition(Transition.TRANSITION_ACTIVATE)
        assert bench.state() == State.PRIMARY_STATE_ACTIVE
        assert bench.transition(Transition.TRANSITION_DEACTIVATE)
        assert bench.node.inputs == [] and bench.node.worker is None
        assert bench.transition(Transition.TRANSITION_CLEANUP)
        assert bench.node.predictor is None and bench.node.outputs == []
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
        bench.wait(lambda: bench.node.camera_infos.remembered)
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
    topics = [output.topic for output, _ in bench.node.outputs]
    assert topics == ['sync/depth', 'sync/camera_info']


def test_quality_of_service_can_be_overridden(bench):
    bench.start(**{'qos_overrides./sync/depth.publisher.reliability': 'best_effort',
                   'qos_overrides./image.subscription.reliability': 'reliable'})
    profiles = {output.topic: publisher.qos_profile for output, publisher in bench.node.outputs}
    assert profiles['sync/depth'].reliability == ReliabilityPolicy.BEST_EFFORT
    assert profiles['sync/points'].reliability == ReliabilityPolicy.RELIABLE
    assert profiles['sync/camera_info'].durability == DurabilityPolicy.TRANSIENT_LOCAL
    info, image = bench.node.inputs
    assert image.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
