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

"""Poses that a bag holds itself."""

from __future__ import annotations

from camera_bags import image, info, PERIOD, START
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sync_perception.cli import app
from sync_perception.mapping.offline.frame_sources import CameraArguments
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.bag_poses import bag_poses, ODOMETRY, POSE, TRANSFORMS
from sync_perception.ros.bags.frames import BagFrames
from sync_perception.ros.bags.rosbag2 import Bag
from sync_perception.ros.poses.pose_sources import matrix
from typer.testing import CliRunner

FRAMES = 5
MOUNT = (0.3, 0.0, 1.2, -0.5, 0.5, -0.5, 0.5)
"""Pose of the camera on the robot, which looks ahead."""


def world_T_camera(index: int) -> np.ndarray:
    """Return the camera's pose in the map, when the robot has driven so many steps of 0.1 m."""
    return matrix(10 + 0.1 * index, 0, 0, 0, 0, 0, 1) @ matrix(*MOUNT)


def write(folder, topics=('tf', 'odometry'), mounted=True):
    """Write a bag of a robot: images, tf of three levels, and odometry of its base."""
    store = rosbag2.typestore()
    types = store.types

    def header(stamp, frame):
        seconds, rest = divmod(stamp, 10 ** 9)
        return types['std_msgs/msg/Header'](
            stamp=types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=rest), frame_id=frame)

    def vector(kind, numbers):
        return types[f'geometry_msgs/msg/{kind}'](
            **dict(zip('xyzw', map(float, numbers))))

    def transforms(*entries):
        return types[TRANSFORMS](transforms=[types['geometry_msgs/msg/TransformStamped'](
            header=header(stamp, parent), child_frame_id=child,
            transform=types['geometry_msgs/msg/Transform'](
                translation=vector('Vector3', pose[:3]),
                rotation=vector('Quaternion', pose[3:])))
            for stamp, parent, child, pose in entries])

    def pose_of(x):
        return types['geometry_msgs/msg/Pose'](
            position=vector('Point', (x, 0, 0)), orientation=vector('Quaternion', (0, 0, 0, 1)))

    def odometry(stamp, x):
        zeros = np.zeros(36)
        still = types['geometry_msgs/msg/Twist'](
            linear=vector('Vector3', (0, 0, 0)), angular=vector('Vector3', (0, 0, 0)))
        return types[ODOMETRY](
            header=header(stamp, 'odom'), child_frame_id='base',
            pose=types['geometry_msgs/msg/PoseWithCovariance'](pose=pose_of(x), covariance=zeros),
            twist=types['geometry_msgs/msg/TwistWithCovariance'](twist=still, covariance=zeros))

    with rosbag2.BagWriter(folder, 'mcap') as bag:
        def topic(name, kind):
            return bag.add_topic(name, kind, rosbag2.qos(), store)

        images, infos = topic('/camera/image', rosbag2.IMAGE_TYPE), topic(
            '/camera/camera_info', rosbag2.CAMERA_INFO_TYPE)
        moving, static = topic('/tf', TRANSFORMS), topic('/tf_static', TRANSFORMS)
        poses = topic('/odom', ODOMETRY)
        topic('/pose', POSE)

        def put(connection, time, message):
            bag.write(connection, time, store.serialize_cdr(message, message.__msgtype__))

        if mounted:
            put(static, START, transforms((START, 'base', 'cam', MOUNT)))
        for index in range(FRAMES):
            time, x = START + index * PERIOD, 0.1 * index
            if 'tf' in topics:
                entries = [(time, 'odom', 'base', (x, 0, 0, 0, 0, 0, 1))]
                if index % 3 == 0:  # a localisation corrects more seldom
                    entries.append((time, 'map', 'odom', (10, 0, 0, 0, 0, 0, 1)))
                put(moving, time, transforms(*entries))
            if 'odometry' in topics:
                put(poses, time, odometry(time, x))
            bag.write(infos, time, serialize_message(info(index)))
            bag.write(images, time, serialize_message(image(index)))
    return folder


def test_transforms_are_the_first_choice(tmp_path):
    """The poses are those of the camera in the frame that has no parent."""
    source = BagFrames(write(tmp_path / 'bag'), CameraArguments())
    trajectory = source.trajectory()
    assert len(trajectory) == FRAMES and 'map' in source.title
    for index, (stamp, pose) in enumerate(trajectory):
        assert stamp == START + index * PERIOD
        np.testing.assert_allclose(pose, world_T_camera(index), atol=1e-9)


@pytest.mark.parametrize(('topics', 'name'), [(('odometry',), ''), (
    ('tf', 'odometry'), '/odom')])
def test_odometry_is_moved_to_the_camera(tmp_path, topics, name):
    """It is used where tf does not move the camera, or where it is named."""
    with Bag(write(tmp_path / 'bag', topics)) as bag:
        found = bag_poses(bag, 'cam', name)
    assert found.origin == '/odom'
    np.testing.assert_allclose(
        found.trajectory.poses[3], matrix(-10, 0, 0, 0, 0, 0, 1) @ world_T_camera(3), atol=1e-9)


@pytest.mark.parametrize(('arguments', 'name', 'named'), [
    ({'mounted': False, 'topics': ('odometry',)}, '', 'static'),
    ({'topics': ('odometry',)}, 'tf', 'transforms'), ({}, '/camera/image', '/odom')])
def test_poses_that_are_missing_are_named(tmp_path, arguments, name, named):
    """Each message says what the bag lacks, or what it has instead."""
    with Bag(write(tmp_path / 'bag', **arguments)) as bag, pytest.raises(ValueError, match=named):
        bag_poses(bag, 'cam', name)


def test_a_bag_without_poses_has_none(tmp_path):
    """The commands then ask for a file or odometry."""
    with Bag(write(tmp_path / 'bag', topics=())) as bag:
        assert bag_poses(bag, 'cam') is None


def test_the_commands_use_the_poses_of_the_bag(tmp_path, small_model):
    """`process-bag` fuses all frames, and `map` takes all of them."""
    bag = write(tmp_path / 'bag')
    ran = CliRunner().invoke(app, [
        'process-bag', str(bag), str(tmp_path / 'out'), '--model', str(small_model), '--temporal',
        'fuse', '--poses', 'tf'])
    assert ran.exit_code == 0, ran.output
    assert f'{FRAMES} frames were fused' in ran.output
    ran = CliRunner().invoke(app, [
        'map', str(bag), '--out', str(tmp_path / 'map'), '--model', str(small_model)])
    assert ran.exit_code == 0, ran.output
    assert f'{FRAMES} of {FRAMES} frames' in ' '.join(ran.output.split())
    ran = CliRunner().invoke(app, [
        'map', str(bag), '--out', str(tmp_path / 'second'), '--model', str(small_model),
        '--poses', '/nowhere'])
    assert ran.exit_code != 0 and '/nowhere' in f'{ran.output} {ran.exception}'
