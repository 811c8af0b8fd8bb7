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


"""Real KITTI frames through the real node: two processes over DDS, and this one listening."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
import signal
import time

import cv2
from lifecycle_msgs.srv import GetState
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from sync_perception.labels import LabelSpace
from sync_perception.resources import default_model_folder
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.tools.processes import ChildProcess

pytestmark = pytest.mark.timeout(600)

PATIENCE = 240.0  # seconds: loading torch and a model on a busy machine
DRIVE = Path('kitti', '2011_09_26', '2011_09_26_drive_0000_sync')
FIRST, COUNT = 25, 10  # the drive's first image has the number 25
BEGIN = 1317042147_500000000  # 2011-09-26 13:02:27.5 UTC, the first line of timestamps.txt
STAMPS = [BEGIN + index * 100_000_000 for index in range(COUNT)]
# what other replays send may still arrive while the ten are played
OTHER_FRAMES = ['start:=20', 'count:=1', 'loop:=true']
OTHERS_BEGIN = BEGIN + 20 * 100_000_000
HEIGHT, WIDTH = 375, 1242
FOCAL, CENTRE = 721.5377, (609.5593, 172.854)  # P_rect_02
TOPICS = {
    'depth': Image, 'semantics': Image, 'semantics/confidence': Image, 'semantics/color': Image,
    'overlay': Image, 'points': PointCloud2, 'camera_info': CameraInfo}
SPACE = LabelSpace.load('driving')
# reliable all the way, with room for all that a slow consumer has not taken yet
EVERY_MESSAGE_ARRIVES = [
    'qos_overrides./image.subscription.reliability:=reliable',
    'qos_overrides./camera_info.subscription.reliability:=reliable',
    *(f'qos_overrides./sync/{topic}.publisher.depth:={2 * COUNT}' for topic in TOPICS)]


def ros_arguments(*parameters: str) -> list[str]:
    """Write parameters as a node's command line."""
    return ['--ros-args', *(word for parameter in parameters for word in ('-p', parameter))]


class Bundle(dict):
    """The messages of one frame by topic."""

    def __repr__(self) -> str:
        """Name the topics; the messages hold millions of numbers."""
        return f'Bundle({", ".join(self)})'


class Consumer:
    """Collects everything that the node publishes, by stamp and topic."""

    def __init__(self):
        self.node = rclpy.create_node('consumer')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.bundles: dict[int, Bundle] = defaultdict(Bundle)
        self.messages = 0
        profile = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in TOPICS.items():
            self.node.create_subscription(
                kind, f'sync/{topic}', lambda message, topic=topic: self.keep(topic, message),
                profile)

    def keep(self, topic: str, message) -> None:
        """Remember a message."""
        self.messages += 1
        self.bundles[stamp_nanoseconds(message.header)][topic] = message

    def wait(self, condition, what: str) -> None:
        """Receive until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f'waited in vain for {what}; {self.summary()}'
            self.executor.spin_once(0.1)

    def summary(self) -> str:
        """Say what came, for the message of a failure."""
        came = [(stamp, sorted(set(TOPICS) - set(bundle))) for stamp, bundle in
                sorted(self.bundles.items())]
        return f'{self.messages} messages; by stamp, what is missing: {came}'

    def close(self) -> None:
        """Stop listening."""
        self.executor.shutdown()
        self.node.destroy_node()


class System:
    """The perception node as a process, and a consumer; replays come and go."""

    def __init__(self, model: Path, drive: Path, logs: Path):
        self.drive, self.logs = drive, logs
        self.consumer = Consumer()
        self.perception = ChildProcess(
            'perception', 'sync_perception.ros.node.perception_node',
            ros_arguments(f'model:={model}', 'device:=cpu', *EVERY_MESSAGE_ARRIVES),
            logs / 'perception.log')
        self.warm_up()

    def replay(self, name: str, *parameters: str) -> ChildProcess:
        """Start a replay of the drive."""
        return ChildProcess(
            name, 'sync_perception.ros.replay.replay_node',
            ros_arguments('source:=kitti', f'path:={self.drive}', *parameters),
            self.logs / f'{name}.log')

    def warm_up(self) -> None:
        """Send other frames until one is answered on all topics: then all sides are connected."""
        with self.replay('warm_up', *OTHER_FRAMES, 'rate:=1.0', 'lockstep:=true'):
            self.consumer.wait(
                lambda: any(len(bundle) == len(TOPICS)
                            for bundle in self.consumer.bundles.values()),
                f'a first bundle:\n{self.perception.last_lines()}')

    def play(self) -> dict[int, Bundle]:
        """Replay ten frames and return what came of them, by stamp."""
        self.consumer.bundles.clear()
        replay = self.replay(
            'ten', f'count:={COUNT}', 'lockstep:=true', f'lockstep_timeout:={PATIENCE}')
        with replay:
            self.consumer.wait(lambda: replay.exit_code is not None, 'the end of the replay')
        assert replay.exit_code == 0, replay.last_lines()
        self.consumer.wait(
            lambda: all(len(self.consumer.bundles[stamp]) == len(TOPICS) for stamp in STAMPS),
            'ten whole bundles')
        return {stamp: bundle for stamp, bundle in sorted(self.consumer.bundles.items())
                if stamp < OTHERS_BEGIN}

    def state(self) -> str:
        """Ask the node for its lifecycle state."""
        client = self.consumer.node.create_client(GetState, 'perception/get_state')
        answer = client.call_async(GetState.Request())
        self.consumer.wait(answer.done, 'the state')
        return answer.result().current_state.label

    def close(self) -> None:
        """End the node and the consumer."""
        self.perception.stop()
        self.consumer.close()


def has_default_model() -> bool:
    """Say whether the package comes with a trained model."""
    return (default_model_folder() / 'model.safetensors').is_file()


@pytest.fixture(scope='module')
def model(small_model) -> Path:
    """Return the default model's folder, or where there is none an untrained one's."""
    return default_model_folder() if has_default_model() else small_model


@pytest.fixture(scope='module')
def system(ros_environment, data_root, model, tmp_path_factory):
    """Start the node once for all tests."""
    rclpy.init()
    started = System(model, data_root / DRIVE, tmp_path_factory.mktemp('logs'))
    yield started
    started.close()
    rclpy.try_shutdown()


@pytest.fixture(scope='module')
def played(system) -> dict[int, Bundle]:
    """Return what came of ten frames, by stamp."""
    return system.play()


@pytest.fixture(scope='module')
def bundles(played) -> list[Bundle]:
    """Return the bundles in their order."""
    return list(played.values())


def array_of(image: Image) -> np.ndarray:
    """Read an image of the node by its encoding."""
    dtype, channels = {
        '32FC1': ('<f4', 1), 'mono8': (np.uint8, 1), 'rgb8': (np.uint8, 3)}[image.encoding]
    array = np.frombuffer(image.data, dtype)
    return array.reshape(HEIGHT, WIDTH, channels).squeeze()


def photograph(data_root: Path, index: int) -> np.ndarray:
    """Read the drive's image at a position from its file, as RGB."""
    folder = data_root / DRIVE / 'image_02' / 'data'
    path, = folder.glob(f'{FIRST + index:010d}.*')
    return cv2.imread(str(path))[..., ::-1]


def test_ten_frames_give_ten_bundles_with_the_recorded_stamps(played):
    assert list(played) == STAMPS
    for stamp, bundle in played.items():
        assert set(bundle) == set(TOPICS)
        for message in bundle.values():
            assert stamp_nanoseconds(message.header) == stamp
            assert message.header.frame_id == 'camera_optical_frame'


def test_every_message_has_the_size_and_the_encoding_of_the_contract(bundles):
    expected = {'depth': ('32FC1', 4), 'semantics': ('mono8', 1),
                'semantics/confidence': ('32FC1', 4), 'semantics/color': ('rgb8', 3),
                'overlay': ('rgb8', 3)}
    for bundle in bundles:
        for topic, (encoding, pixel) in expected.items():
            image = bundle[topic]
            assert (image.height, image.width, image.encoding) == (HEIGHT, WIDTH, encoding)
            assert image.step == WIDTH * pixel
            assert len(image.data) == HEIGHT * WIDTH * pixel
        info = bundle['camera_info']
        assert (info.height, info.width) == (HEIGHT, WIDTH)
        np.testing.assert_allclose(
            info.k.reshape(3, 3),
            [[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]])


def test_values_are_in_their_ranges_and_belong_together(bundles):
    for bundle in bundles:
        depth, labels = array_of(bundle['depth']), array_of(bundle['semantics'])
        confidence = array_of(bundle['semantics/confidence'])
        valid = np.isfinite(depth)
        assert (depth[valid] > 0).all() and not np.isinf(depth).any()
        assert not valid[labels == SPACE.index('sky')].any()
        assert set(np.unique(labels)) <= {*range(len(SPACE)), 255}
        assert (confidence > 1 / len(SPACE)).all() and (confidence <= 1).all()
        np.testing.assert_array_equal(
            array_of(bundle['semantics/color']), SPACE.palette[labels])


def test_the_cloud_is_the_backprojected_depth_with_colour_and_label(bundles, data_root):
    for index, bundle in enumerate(bundles):
        cloud = bundle['points']
        assert (cloud.height, cloud.width, cloud.point_step) == (HEIGHT, WIDTH, 32)
        assert [(field.name, field.offset) for field in cloud.fields] == [
            ('x', 0), ('y', 4), ('z', 8), ('rgb', 16), ('label', 20), ('confidence', 24)]
        raw = np.frombuffer(cloud.data, np.uint8).reshape(HEIGHT, WIDTH, 32)
        x, y, z = (raw[..., at:at + 4].copy().view('<f4')[..., 0] for at in (0, 4, 8))
        np.testing.assert_array_equal(z, array_of(bundle['depth']))
        v, u = np.mgrid[:HEIGHT, :WIDTH]
        np.testing.assert_allclose(x, (u - CENTRE[0]) / FOCAL * z, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(y, (v - CENTRE[1]) / FOCAL * z, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(raw[..., 18:15:-1], photograph(data_root, index))
        np.testing.assert_array_equal(raw[..., 20], array_of(bundle['semantics']))


def test_the_road_before_the_car_is_where_the_road_is(bundles, data_root):
    assert has_default_model(), 'the package comes without its trained model'
    truth = data_root / DRIVE / 'proj_depth' / 'groundtruth' / 'image_02'
    for index, bundle in enumerate(bundles):
        # The camera is 1.65 m above the road: 1.65 f / (v - cy) is 7.6 m at row 330, 5.9 m at the
        # bottom. The car ahead covers up to half of the window.
        window = np.s_[330:, 420:800]
        depth, labels = array_of(bundle['depth'])[window], array_of(bundle['semantics'])[window]
        road = labels == SPACE.index('road')
        assert road.mean() > 0.4
        assert 5 < np.median(depth[road]) < 8
        scan = cv2.imread(
            str(truth / f'{FIRST + index:010d}.png'), cv2.IMREAD_UNCHANGED)[window] / 256
        seen = (scan > 0) & road & np.isfinite(depth)
        assert seen.sum() > 100
        assert np.median(np.abs(depth[seen] - scan[seen]) / scan[seen]) < 0.15


def test_the_node_survives_the_death_of_the_camera(system, bundles):
    system.consumer.bundles.clear()
    before = system.consumer.messages
    with system.replay('killed', *OTHER_FRAMES, 'rate:=20.0') as camera:
        system.consumer.wait(
            lambda: system.consumer.messages > before + len(TOPICS), 'bundles of a fast camera')
        camera.process.send_signal(signal.SIGKILL)
        camera.process.wait(10)
    assert system.state() == 'active'
    assert list(system.play()) == STAMPS
    assert system.perception.exit_code is None


def test_the_node_ends_cleanly_when_it_is_interrupted(system, bundles):
    system.perception.process.send_signal(signal.SIGINT)
    system.consumer.wait(lambda: system.perception.exit_code is not None, 'the end of the node')
    assert system.perception.exit_code == 0, system.perception.last_lines()
