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


"""A bench for the perception node: a camera, consumers, and a model whose answers are known."""

from __future__ import annotations

from threading import Event, Thread

from conditions import PATIENCE, wait_until
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
import numpy as np
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from sync_perception.labels import LabelSpace
from sync_perception.ros.health.counters import Counters
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.node import PerceptionNode
from sync_perception.types import Prediction

SIZE = (24, 32)
K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
TOPICS = {
    'depth': Image, 'semantics': Image, 'semantics/confidence': Image, 'semantics/color': Image,
    'overlay': Image, 'dynamic_mask': Image, 'points': PointCloud2, 'camera_info': CameraInfo}
EXTRA_TOPICS = {'depth/uncertainty': Image, 'normals': Image, 'image_rect': Image}
RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


class KnownPredictor:
    """
    Predicts what can be read off the image: depth from red, labels from green.

    It notes what it was asked for; `hold` makes it wait, `fail` makes it raise.
    """

    available = frozenset({'depth', 'labels', 'confidence'})
    reduced = relative = ''
    max_depth = 80.0
    takes_batches = True

    def __init__(self):
        self.labels = LabelSpace.load('driving')
        self.asked: list[frozenset] = []
        self.batches: list[int] = []
        self.warmed: list[tuple[int, int]] = []
        self.fail: Exception | None = None
        self.go, self.busy = Event(), Event()
        self.go_warm, self.warming = Event(), Event()
        self.go.set()
        self.go_warm.set()

    def describe(self) -> dict:
        """Say what runs."""
        return {'model': 'known', 'device': 'cpu'}

    def memory(self) -> dict:
        """Say that it needs none."""
        return {}

    def warm_up(self, size) -> bool:
        """Note the size."""
        self.warmed.append(size)
        self.warming.set()
        assert self.go_warm.wait(PATIENCE)
        return True

    def predict_batch(self, frames, outputs) -> list[Prediction]:
        """Predict what is asked for of each frame, and nothing else."""
        self.batches.append(len(frames))
        self.asked += [frozenset(each) for each in outputs]
        self.busy.set()
        assert self.go.wait(PATIENCE)
        if self.fail is not None:
            raise self.fail
        return [self.read(frame, each) for frame, each in zip(frames, outputs)]

    def focal_problem(self, frame) -> str:
        """Complain about wide lenses."""
        return '' if frame.K[0, 0] >= 20 else f'a focal length of {frame.K[0, 0]:g} pixels'

    @staticmethod
    def read(frame, outputs) -> Prediction:
        """Read depth from red and labels from green."""
        red, green = frame.image[..., 0], frame.image[..., 1]
        maps = {'depth': np.where(red < 250, red / np.float32(4), np.nan).astype(np.float32),
                'labels': np.ascontiguousarray(green),
                'confidence': np.full(frame.size, 0.75, np.float32),
                'uncertainty': np.full(frame.size, 0.5, np.float32),
                'normals': np.full((*frame.size, 3), (0, -0.6, -0.8), np.float32)}
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
        self.spin(self.node)
        self.spin(self.others)
        self.wait(self.executors[0].create_task(self.node.autostart).done)
        if [camera.name for camera in self.node.cameras if camera.inputs] == ['']:
            self.wait(lambda: self.image_publisher.get_subscription_count()
                      or self.node.parameters.values.image_transport == 'compressed')
            self.wait(self.info_publisher.get_subscription_count)
        for camera in self.node.cameras:
            for output, publisher in camera.outputs:
                if camera.topic(output.topic).replace('sync/', '') in listen:
                    self.wait(publisher.get_subscription_count)
        return self

    @property
    def camera(self) -> Camera:
        """Return the node's first camera."""
        return self.node.cameras[0]

    @property
    def counters(self) -> Counters:
        """Of the first camera."""
        return self.camera.counters

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
            {**TOPICS, **EXTRA_TOPICS}[topic], f'sync/{topic}', messages.append, RELIABLE)

    def wait(self, condition) -> None:
        """Wait until a condition holds that other threads bring about."""
        wait_until(condition, lambda: [camera.counters for camera in self.node.cameras])

    def header(self, stamp: int, frame_id: str = 'cam') -> Header:
        """Return a header of this stamp."""
        stamped = Header(frame_id=frame_id)
        stamped.stamp.sec, stamped.stamp.nanosec = divmod(stamp, 10 ** 9)
        return stamped

    def send_info(self, stamp: int, size: tuple[int, int] = SIZE, frame_id: str = 'cam') -> None:
        """Publish a calibration."""
        info = pinhole_camera_info(K, size)
        info.header = self.header(stamp, frame_id)
        self.info_publisher.publish(info)

    def send_image(self, stamp: int, image: np.ndarray | None = None, **spoiled) -> None:
        """Publish an image, some of its fields spoiled."""
        image = picture() if image is None else image
        message = image_message(image, self.header(stamp), 'rgb8')
        for name, value in spoiled.items():
            setattr(message, name, value)
        self.image_publisher.publish(message)

    def call(self, kind, service: str, request):
        """Call one of the node's services and return its answer."""
        answer = self.ask(kind, service, request)
        self.wait(answer.done)
        return answer.result()

    def ask(self, kind, service: str, request):
        """Call a service and return its future; a client that does not find it is made anew."""
        for _ in range(4):
            client = self.others.create_client(kind, service)
            if client.wait_for_service(PATIENCE / 4):
                break
            self.others.destroy_client(client)
        else:
            raise AssertionError(f'{service} was not found in {PATIENCE} s')
        return client.call_async(request)

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
            self.predictor.go_warm.set()
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
