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


"""What the demo makes of messages, against messages that the node's own functions made."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from sync_perception.labels import LabelSpace
from sync_perception.ros.node.outputs import label_space_json, OUTPUTS
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.tools.topic_watcher import (
    Album,
    IMAGE,
    KEPT_IMAGES,
    read_bundle,
    read_label_space,
    stamp_of,
    Watcher,
    write_pictures,
)
from sync_perception.types import Frame, Prediction

STAMP = 1_317_042_147_587_000_009
SIZE = (24, 40)


def header() -> Header:
    """Give a header with a stamp that needs both of its parts."""
    made = Header(frame_id='camera_optical_frame')
    made.stamp.sec, made.stamp.nanosec = divmod(STAMP, 10 ** 9)
    return made


@pytest.fixture
def packet() -> FramePacket:
    """One frame with random pixels, a ramp of depth with a hole, and three classes."""
    rng = np.random.default_rng(7)
    K = np.array([[30.0, 0, 19.5], [0, 30.0, 11.5], [0, 0, 1]])
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    depth = np.linspace(3, 30, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    depth[0, 0] = np.nan
    labels = rng.integers(0, 3, SIZE, np.uint8)
    confidence = np.full(SIZE, 0.5, np.float32)
    return FramePacket(
        Image(header=header()),
        frame=Frame(image, K, STAMP, 'camera_optical_frame'),
        prediction=Prediction(depth=depth, labels=labels, confidence=confidence),
        labels=LabelSpace.load('driving'), parameters=PerceptionParameters())


def camera_image(packet: FramePacket) -> Image:
    """Make the image message that the frame came from."""
    pixels = packet.frame.image
    return Image(header=packet.header, height=SIZE[0], width=SIZE[1], encoding='rgb8',
                 step=3 * SIZE[1], data=pixels.tobytes())


@pytest.mark.parametrize('kind', [Image, CameraInfo, PointCloud2])
def test_stamp_of_serialised_messages(kind):
    """The stamp is read out of the bytes that rclpy itself writes."""
    assert stamp_of(serialize_message(kind(header=header()))) == STAMP


def test_stamp_of_big_endian_messages():
    """The first bytes say the byte order; 0x00000001 seconds and 2 nanoseconds."""
    assert stamp_of(bytes([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2])) == 1_000_000_002


def test_label_space_comes_back_whole():
    """What the node publishes is enough to paint labels as the node does."""
    space = LabelSpace.load('driving')
    read = read_label_space(label_space_json(space, PerceptionParameters()))
    assert read.names == space.names
    assert np.array_equal(read.colors, space.colors)
    assert np.array_equal(read.dynamic, space.dynamic)
    assert np.array_equal(read.infinite, space.infinite)


def test_bundle_comes_back_whole(packet):
    """Messages turn back into the packets that they were made of."""
    bundle = {output.topic: output.build(packet) for output in OUTPUTS}
    frame, prediction = read_bundle({**bundle, IMAGE: camera_image(packet)})
    assert np.array_equal(frame.image, packet.frame.image)
    assert np.array_equal(frame.K, packet.frame.K)
    assert np.array_equal(prediction.depth, packet.prediction.depth, equal_nan=True)
    assert np.array_equal(prediction.labels, packet.prediction.labels)


def test_album_spreads_over_the_drive():
    """Of 12 answered images, 3 are kept: the first of every third."""
    album = Album(expected=12, size=3)
    for stamp in range(12):
        album.add(IMAGE, stamp, b'image')
        for output in OUTPUTS:
            album.add(output.topic, stamp, b'answer')
    assert sorted(album.frames) == [0, 4, 8]
    assert len(album.complete()) == 3
    assert album.complete()[0][IMAGE] == b'image'


def test_album_leaves_out_what_is_incomplete():
    """A frame of which a message got lost makes no picture, nor one whose image is unknown."""
    album = Album(expected=1, size=1)
    album.add(OUTPUTS[0].topic, 99, b'answer')
    album.add(IMAGE, 1, b'image')
    for output in OUTPUTS:
        if output.topic != 'sync/points':
            album.add(output.topic, 1, b'answer')
    assert list(album.frames) == [1]
    assert album.complete() == []


def test_album_forgets_old_images():
    """Images that nobody answered do not pile up."""
    album = Album(expected=1000, size=1)
    for stamp in range(3 * KEPT_IMAGES):
        album.add(IMAGE, stamp, b'image')
    assert list(album.latest) == list(range(2 * KEPT_IMAGES, 3 * KEPT_IMAGES))


def test_watcher_sees_counts_and_draws(ros, packet, tmp_path):
    """Over DDS: everything published is counted, and pictures come out of it."""
    watcher = Watcher()
    watcher.begin(expected=1, pictures=1)
    watcher.label_space = packet.labels
    sender = ros.create_node('sender')
    messages = {IMAGE: camera_image(packet),
                **{output.topic: output.build(packet) for output in OUTPUTS}}
    try:
        publishers = {topic: sender.create_publisher(type(message), topic, 5)
                      for topic, message in messages.items()}
        for topic, publisher in publishers.items():
            while not publisher.get_subscription_count():
                watcher.spin(0.02)
            watcher.spin(0.1)
            publisher.publish(messages[topic])
            while not watcher.progress.topics[topic].times:
                watcher.spin(0.02)
        names = write_pictures(watcher, tmp_path)
    finally:
        watcher.close()
        sender.destroy_node()
    assert watcher.progress.summary()['frames'] == {
        'in': 1, 'out': 1, 'dropped': 0, 'unanswered': 0}
    assert names == ['panel_00.png', 'cloud_00.png']
    for name in names:
        assert cv2.imread(str(tmp_path / name)).std() > 0
