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

"""The camera of the benchmarks: what it sends to whom, and what it reports about it."""

from __future__ import annotations

import json

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from sync_perception.kitti.drive import KittiDrive
from sync_perception.ros.core import qos
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.tools.bench_camera import bench_images, BenchCamera, SENT, TURN


def test_the_camera_sends_as_many_as_it_was_told_and_says_which(graph):
    add, wait = graph
    add(BenchCamera(parameter_overrides=[
        Parameter('subjects', value=['left', 'right']), Parameter('rate', value=100.0),
        Parameter('width', value=30), Parameter('height', value=20)]))
    other = add(Node('other'))
    images, infos, reports, wrong = [], [], [], []
    other.create_subscription(Image, 'left/image', images.append, 20)
    other.create_subscription(Image, 'right/image', wrong.append, 20)
    other.create_subscription(CameraInfo, 'left/camera_info', infos.append, 20)
    other.create_subscription(String, SENT, reports.append, qos.latched())
    orders = other.create_publisher(String, TURN, qos.latched())
    wait(lambda: all(other.count_publishers(topic) for topic in ('left/image', 'right/image')))
    wait(orders.get_subscription_count)
    orders.publish(String(data=json.dumps({'turn': 7, 'subjects': ['left'], 'frames': 3})))
    wait(lambda: reports and len(images) == len(infos) == 3)
    report = json.loads(reports[0].data)
    assert report['turn'] == 7
    assert report['stamps'] == [stamp_nanoseconds(each.header) for each in images]
    assert report['stamps'] == [stamp_nanoseconds(each.header) for each in infos]
    assert report['stamps'] == sorted(set(report['stamps']))
    assert (images[0].height, images[0].width, images[0].encoding) == (20, 30, 'bgr8')
    assert wrong == []


def test_several_cameras_send_with_one_stamp(graph):
    add, wait = graph
    add(BenchCamera(parameter_overrides=[
        Parameter('subjects', value=['left', 'right']), Parameter('rate', value=100.0),
        Parameter('width', value=30), Parameter('height', value=20)]))
    other = add(Node('other'))
    left, right = [], []
    other.create_subscription(Image, 'left/image', left.append, 20)
    other.create_subscription(Image, 'right/image', right.append, 20)
    orders = other.create_publisher(String, TURN, qos.latched())
    wait(lambda: all(other.count_publishers(topic) for topic in ('left/image', 'right/image')))
    wait(orders.get_subscription_count)
    orders.publish(String(data=json.dumps(
        {'turn': 1, 'subjects': ['left', 'right'], 'frames': 3})))
    wait(lambda: len(left) == len(right) == 3)
    assert [each.header for each in left] == [each.header for each in right]


def test_the_pictures_of_a_drive_have_its_calibration(data_root):
    [folder] = (data_root / 'kitti').glob('*/*_sync')
    drive = KittiDrive(folder)
    images, info = bench_images((20, 30), str(folder))
    assert len(images) == len(drive)
    np.testing.assert_array_equal(images[1], drive.image(1)[..., ::-1])
    assert (info.height, info.width) == drive.size
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), drive.K)
