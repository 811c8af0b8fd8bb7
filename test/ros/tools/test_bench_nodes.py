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

"""The nodes that the perception node is measured beside do what they are said to do."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from sync_perception.labels import LabelSpace
from sync_perception.ros.io.conversions import decode, image_message
from sync_perception.ros.tools.bench_camera import bench_images
from sync_perception.ros.tools.bench_nodes import (
    by_tobytes,
    conventional_cloud,
    conventional_conversions,
    ConventionalNode,
    CopyNode,
)
from sync_perception.runtime.pointcloud import point_cloud
from sync_perception.types import Frame, Prediction

SIZE = (20, 30)


class FakePredictor:
    """Predicts depth from red and labels from green."""

    def predict(self, frame: Frame, outputs: frozenset) -> Prediction:
        """Predict the requested outputs."""
        assert outputs == {'depth', 'labels', 'confidence'}
        red, green = frame.image[..., 0], frame.image[..., 1]
        return Prediction(
            depth=np.where(red < 200, red / np.float32(4), np.nan).astype(np.float32),
            labels=green % 20, confidence=np.full(frame.size, 0.75, np.float32))


@pytest.fixture
def image() -> np.ndarray:
    """Return RGB noise."""
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def header() -> Header:
    """Return a header that is easy to recognise."""
    made = Header(frame_id='cam')
    made.stamp.sec, made.stamp.nanosec = 12, 345
    return made


def test_the_copy_is_the_image(graph, image):
    add, wait = graph
    add(CopyNode())
    other = add(Node('other'))
    copies = []
    other.create_subscription(Image, 'sync/copy', copies.append, 1)
    publisher = other.create_publisher(Image, 'image', 1)
    wait(lambda: publisher.get_subscription_count() and other.count_publishers('sync/copy'))
    sent = image_message(image, header(), 'rgb8')
    publisher.publish(sent)
    wait(lambda: copies)
    assert copies == [sent]


def test_the_conventional_node_gives_what_the_perception_node_gives(graph, image):
    add, wait = graph
    add(ConventionalNode(lambda parameters: FakePredictor()))
    other = add(Node('other'))
    got: dict[str, list] = {}
    for topic, kind in (('depth', Image), ('semantics', Image), ('semantics/confidence', Image),
                        ('points', PointCloud2)):
        other.create_subscription(kind, f'sync/{topic}', got.setdefault(topic, []).append, 1)
    info = bench_images(SIZE)[1]
    info.header = header()
    publishers = [other.create_publisher(CameraInfo, 'camera_info', 1),
                  other.create_publisher(Image, 'image', 1)]
    wait(lambda: all(publisher.get_subscription_count() for publisher in publishers)
         and other.count_publishers('sync/points'))
    publishers[0].publish(info)
    publishers[1].publish(image_message(image[..., ::-1], header(), 'bgr8'))
    wait(lambda: all(got.values()))
    frame = Frame(image, np.reshape(info.k, (3, 3)))
    prediction = FakePredictor().predict(frame, frozenset({'depth', 'labels', 'confidence'}))
    for topic, values in (('depth', prediction.depth), ('semantics', prediction.labels),
                          ('semantics/confidence', prediction.confidence)):
        message, = got[topic]
        assert message.header == header()
        np.testing.assert_array_equal(
            np.frombuffer(message.data, values.dtype).reshape(SIZE), values)
    assert got['points'][0].header == header()


def test_the_conventional_cloud_is_the_same_cloud(image):
    info = bench_images(SIZE)[1]
    frame = Frame(image, np.reshape(info.k, (3, 3)))
    prediction = FakePredictor().predict(frame, frozenset({'depth', 'labels', 'confidence'}))
    message = conventional_cloud(frame, prediction, header())
    ours = point_cloud(frame, prediction, LabelSpace.load('driving'))
    assert (message.height, message.width) == SIZE
    assert len(message.data) == message.row_step * message.height
    for each in message.fields:
        theirs = np.ndarray(
            SIZE, ours.dtype[each.name], message.data, each.offset,
            (message.row_step, message.point_step))
        np.testing.assert_allclose(theirs, ours[each.name], rtol=1e-5)


def test_the_conventional_conversions_carry_the_same_pixels(image):
    read, write, way = conventional_conversions()
    assert way
    message = image_message(image[..., ::-1], header(), 'bgr8')
    np.testing.assert_array_equal(read(message), decode(message))
    depth = np.random.default_rng(0).random(SIZE, np.float32)
    assert write(depth, '32FC1', header()) == image_message(depth, header(), '32FC1')
    assert by_tobytes(depth, '32FC1', header()) == image_message(depth, header(), '32FC1')
