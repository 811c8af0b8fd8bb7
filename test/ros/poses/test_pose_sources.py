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

"""Poses from topics, tf and files: interpolated, checked, and refused with a reason."""

from __future__ import annotations

from importlib.util import find_spec
import sys
from types import ModuleType

from geometry_msgs.msg import PoseStamped, TransformStamped
from map_bench import header
import numpy as np
import pytest
from rclpy.node import Node
from sync_perception.ros.io.map_messages import pose_message, transform_message
from sync_perception.ros.map.node import vertical_axis
from sync_perception.ros.parameters.mapping import MappingParameters
from sync_perception.ros.poses.pose_sources import matrix, ros_pose_source

SECOND = 10 ** 9
FORWARD = (-0.5, 0.5, -0.5, 0.5)
"""Rotation of a camera that looks ahead in the frame of a robot."""


@pytest.fixture
def source(ros):
    """Return the function that makes a source of poses; its refusals are collected."""
    node, made = Node('poses'), []

    def make(**values):
        refused = []
        parameters = MappingParameters(**values)
        made.append(ros_pose_source(
            node, parameters, parameters.map_frame, lambda: None, refused.append))
        made[-1].refused = refused
        return made[-1]
    yield make
    for each in made:
        each.close()
    node.destroy_node()


def pose_at(x: float) -> np.ndarray:
    """Return a pose at a place on the x axis."""
    return matrix(x, 0, 0, 0, 0, 0, 1)


def stamped(seconds: float, x: float, frame_id: str = 'odom') -> PoseStamped:
    """Return a pose on the x axis."""
    return PoseStamped(header=header(round(seconds * SECOND), frame_id),
                       pose=pose_message(pose_at(x)))


def test_poses_of_a_robot_become_those_of_its_camera(source):
    """They are interpolated, and moved by the static transform of the camera."""
    poses = source(poses_source='pose', poses_camera='1 0 0.5 -0.5 0.5 -0.5 0.5')
    for seconds, x in ((1.0, 0.0), (1.2, 2.0)):
        poses._receive(stamped(seconds, x))
    located = poses.locate(header(round(1.1 * SECOND)))
    np.testing.assert_allclose(located.world_T_camera, matrix(2.0, 0, 0.5, *FORWARD), atol=1e-9)
    assert poses.frame == 'odom' and poses.refused == []
    assert 'older' in poses.locate(header(2 * SECOND)).reason


def test_odometry_of_another_frame_asks_for_the_transform(source):
    """Poses of the base are not taken for those of the camera."""
    odometry = pytest.importorskip('nav_msgs.msg').Odometry
    poses = source(poses_source='odometry')
    message = odometry(header=header(SECOND, 'odom'), child_frame_id='base_link')
    message.pose.pose = pose_message(pose_at(0))
    poses._receive(message)
    assert 'poses.camera' in poses.locate(header(SECOND)).reason
    assert poses.locate(header(SECOND, 'base_link')).world_T_camera is not None


def test_poses_that_cannot_be_right_are_refused(source):
    """Another world, a quaternion of zeros, NaN and a stamp that was there already."""
    poses = source(poses_source='pose', map_frame='map')
    poses._receive(stamped(1, 0, 'map'))
    broken = stamped(2, 0, 'map')
    broken.pose.orientation.w = 0.0
    for message in (stamped(2, 0, 'odom'), broken, stamped(2, np.nan, 'map'),
                    stamped(1, 0, 'map')):
        poses._receive(message)
    assert [getattr(error, 'reason', '') for error in poses.refused] == [
        'pose frame', 'pose values', 'pose values', '']
    assert len(poses.trajectory) == 1


def test_only_the_frame_across_a_jump_is_left_out(source):
    """It stays left out when it is asked for again, and the next one is used."""
    poses = source(poses_source='pose')
    for index, x in enumerate((0, 0.1, 500, 500.1, 500.2)):
        poses._receive(stamped(1 + index / 10, x))
    found = [bool(poses.locate(header(SECOND + index * SECOND // 10)).reason)
             for index in (0, 1, 2, 2, 3, 4)]
    assert found == [False, False, True, True, False, False]


def test_poses_of_a_file_and_their_vertical_axis(source, tmp_path):
    """A trajectory whose y points down, as KITTI's, has the vertical axis -y."""
    file = tmp_path / 'poses.txt'
    file.write_text('1.0 0 0 0 0 0 0 1\n1.1 0 0 1 0 0 0 1\n')
    values = {'poses_source': 'file', 'poses_file': str(file)}
    poses = source(**values)
    located = poses.locate(header(round(1.05 * SECOND)))
    np.testing.assert_allclose(located.world_T_camera[:3, 3], [0, 0, 0.5])
    assert not poses.may_come and poses.frame == 'map'
    assert vertical_axis(MappingParameters(**values)) == (0, -1, 0)
    assert vertical_axis(MappingParameters()) == (0, 0, 1)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        source(poses_source='file', poses_file='/nowhere')


class StandInBuffer:
    """Stands in for the buffer of tf2_ros: one transform, of one time and camera."""

    def lookup_transform(self, target: str, frame_id: str, time) -> TransformStamped:
        """Return the transform at 1 s, and raise at all other times."""
        if time.nanoseconds != SECOND:
            raise LookupError('would require extrapolation into the future')
        assert (target, frame_id) == ('map', 'cam')
        return transform_message(matrix(1, 2, 3, *FORWARD), header(SECOND, target), frame_id)


@pytest.mark.skipif(find_spec('tf2_ros') is not None, reason='tf2_ros is installed')
def test_transforms_are_poses(source, monkeypatch):
    """The transform from the map to the camera is the pose; its error is the reason."""
    module = ModuleType('tf2_ros')
    module.Buffer, module.TransformException = StandInBuffer, LookupError
    module.TransformListener = lambda buffer, node: type(
        'Listener', (), {'unregister': lambda self: None})()
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    poses = source(poses_source='tf')
    np.testing.assert_allclose(
        poses.locate(header(SECOND)).world_T_camera, matrix(1, 2, 3, *FORWARD), atol=1e-9)
    assert 'extrapolation' in poses.locate(header(2 * SECOND)).reason
