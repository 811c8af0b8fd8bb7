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

"""Poses of the camera from topics, tf or a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import Pose, PoseStamped
import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header
from sync_perception.images.frame_times import SECOND
from sync_perception.mapping.pose_files import quaternion_to_matrix, read_trajectory
from sync_perception.mapping.trajectory import Located, PoseLimits, Trajectory
from sync_perception.ros.core import qos
from sync_perception.ros.core.optional_messages import Odometry
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.parameters.poses import pose_limits, PoseParameters, transform_numbers
from sync_perception.types import MalformedInput

RESTART_STEP = SECOND
"""Nanoseconds by which time must go back to count as a recording that starts again."""
KEPT = 5000
"""Poses that are kept of a topic: 10 s at 500 Hz."""


class PoseSource:
    """
    Poses that others give, by the stamp of a frame.

    :param limits: poses that are believed.
    :ivar frame: frame of the map; empty until the first pose arrives.
    :ivar trajectory: poses of the optical frame so far.
    """

    may_come = True
    """Whether a pose that is missing may still arrive."""

    def __init__(self, limits: PoseLimits, frame: str = ''):
        self.frame = frame
        self.trajectory = Trajectory(limits=limits, keep=KEPT)
        self.former: int | None = None
        self.answer = Located(None)

    def locate(self, header: Header) -> Located:
        """
        Return the pose of a frame, or why there is none; frames must come in order.

        The reason is also given if poses jump between the frame before and this one.
        """
        stamp = stamp_nanoseconds(header)
        if stamp == self.former:
            return self.answer
        located = self.at(header)
        if located.world_T_camera is None:
            return located
        reason = self._jump_since_former(stamp)
        self.former, self.answer = stamp, Located(None, reason) if reason else located
        return self.answer

    def at(self, header: Header) -> Located:
        """Return the pose at the stamp of a header, or why there is none."""
        return self.trajectory.at(stamp_nanoseconds(header))

    def restart(self, stamp: int) -> None:
        """Forget the poses of a recording that starts again at a stamp."""
        if self.trajectory.stamps and self.trajectory.stamps[-1] > stamp + RESTART_STEP:
            self.trajectory = Trajectory(limits=self.trajectory.limits, keep=KEPT)
        self.former = None

    def close(self) -> None:
        """Stop listening."""

    def _jump_since_former(self, stamp: int) -> str:
        stamps = self.trajectory.stamps
        if self.former is None:
            return ''
        first = max(bisect_right(stamps, self.former), 1)
        steps = range(first, min(bisect_right(stamps, stamp), len(stamps)))
        return next(filter(None, map(self.trajectory.jump, steps)), '')


class FilePoses(PoseSource):
    """Poses of a trajectory in a file."""

    may_come = False

    def __init__(self, values: PoseParameters, frame: str):
        super().__init__(pose_limits(values), frame or 'map')
        if not values.poses_file:
            raise ValueError('poses.file: got none, expected the file of the trajectory')
        self.trajectory = read_trajectory(
            values.poses_file, values.poses_rate, limits=pose_limits(values))

    def restart(self, stamp: int) -> None:
        """Keep the poses, which are those of the whole recording."""
        self.former = None


class TopicPoses(PoseSource):
    """
    Poses on a topic, of the camera or of a frame to which the camera is fixed.

    :param arrived: called when there is a new pose.
    :param refuse: called with the error of a pose that cannot be used.
    """

    def __init__(self, node: Node, values: PoseParameters, frame: str,
                 arrived: Callable[[], None], refuse: Callable[[ValueError], None]):
        super().__init__(pose_limits(values), frame)
        self.node, self.arrived, self.refuse = node, arrived, refuse
        self.named_frame, self.child_frame = frame, ''
        self.body_T_camera = matrix(*transform_numbers(values.poses_camera))
        self.has_transform = not np.allclose(self.body_T_camera, np.eye(4))
        kind = PoseStamped if values.poses_source == 'pose' else Odometry
        if kind is None:
            raise ValueError('poses.source: got odometry, but nav_msgs is not installed; expected '
                             'pose, tf, file or visual')
        self.subscription = node.create_subscription(
            kind, values.poses_source, self._receive, qos.camera_info_input(),
            qos_overriding_options=qos.overridable())

    def at(self, header: Header) -> Located:
        """Return the pose at the stamp of a header, or why there is none."""
        located = super().at(header)
        if located.world_T_camera is not None and self.child_frame and not self.has_transform and (
                self.child_frame != header.frame_id):
            return Located(None, (
                f'the poses are those of {self.child_frame!r:.80}, expected those of the optical '
                f'frame {header.frame_id!r:.80}: set poses.camera'))
        return located

    def close(self) -> None:
        """Stop listening."""
        self.node.destroy_subscription(self.subscription)

    def _receive(self, message: Any) -> None:
        try:
            self._add(message)
        except ValueError as error:
            self.refuse(error)
        else:
            self.arrived()

    def _add(self, message: Any) -> None:
        header = message.header
        if self.frame and header.frame_id != self.frame:
            raise MalformedInput(
                'pose frame', f'got a pose in the frame {header.frame_id!r:.80}, expected '
                f'{self.frame!r:.80} as {"the parameters say" if self.named_frame else "before"}')
        world_T_body = pose_matrix(message.pose if isinstance(message, PoseStamped)
                                   else message.pose.pose)
        stamp = stamp_nanoseconds(header)
        stamps = self.trajectory.stamps
        if stamps and stamp < stamps[-1] - RESTART_STEP:
            self.restart(stamp)
        self.trajectory.append(stamp, world_T_body @ self.body_T_camera)
        self.frame = header.frame_id
        self.child_frame = getattr(message, 'child_frame_id', '')


class TransformPoses(PoseSource):
    """Poses of tf."""

    def __init__(self, node: Node, values: PoseParameters, frame: str):
        super().__init__(pose_limits(values), frame or 'map')
        try:
            # optional: comes only with a full ROS 2 installation
            from tf2_ros import Buffer, TransformException, TransformListener
        except ImportError as error:
            raise ValueError(
                'poses.source: got tf, but the package tf2_ros is not installed; expected '
                'odometry, pose, file or visual') from error
        self.error, self.make_buffer = TransformException, Buffer
        self.buffer = Buffer()
        self.listener = TransformListener(self.buffer, node)

    def at(self, header: Header) -> Located:
        """Return the transform of a frame at its stamp, or why there is none."""
        try:
            found = self.buffer.lookup_transform(
                self.frame, header.frame_id, Time.from_msg(header.stamp)).transform
        except self.error as error:
            return Located(None, f'no transform from {header.frame_id} to {self.frame}: {error}')
        pose = Pose(orientation=found.rotation)
        place = found.translation
        pose.position.x, pose.position.y, pose.position.z = place.x, place.y, place.z
        stamp = stamp_nanoseconds(header)
        if not self.trajectory.stamps or stamp > self.trajectory.stamps[-1]:
            self.trajectory.append(stamp, pose_matrix(pose))
        return Located(pose_matrix(pose))

    def restart(self, stamp: int) -> None:
        """Forget the transforms."""
        super().restart(stamp)
        self.buffer.clear()

    def close(self) -> None:
        """Stop listening."""
        self.listener.unregister()


def ros_pose_source(node: Node, values: PoseParameters, frame: str, arrived: Callable[[], None],
                    refuse: Callable[[ValueError], None]) -> PoseSource | None:
    """
    Return the source of poses that the parameters name; None for visual odometry.

    :param frame: frame in which the poses are; empty for any that a topic names, and for map
        with tf or a file.
    :param arrived: called when there is a new pose.
    :param refuse: called with the error of a pose that cannot be used.
    :raises ValueError: if it cannot be had.
    """
    if values.poses_source == 'file':
        return FilePoses(values, frame)
    if values.poses_source == 'tf':
        return TransformPoses(node, values, frame)
    if values.poses_source in ('odometry', 'pose'):
        return TopicPoses(node, values, frame, arrived, refuse)
    return None


def pose_matrix(pose: Pose) -> np.ndarray:
    """
    Return a pose message as float64 (4, 4).

    :raises MalformedInput: as `checked_matrix`.
    """
    return checked_matrix(pose.position, pose.orientation, 'a pose')


def checked_matrix(place: Any, turn: Any, title: str) -> np.ndarray:
    """
    Return a position and a quaternion of a message as float64 (4, 4).

    :param title: what they belong to, for the error.
    :raises MalformedInput: if it is not finite, or its quaternion does not have the length 1.
    """
    numbers = (place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w)
    length = float(np.linalg.norm(numbers[3:]))
    if not np.isfinite(numbers).all() or abs(length - 1) > 0.01:
        raise MalformedInput(
            'pose values', f'got {title} with position {numbers[:3]} and quaternion '
            f'{numbers[3:]}, expected finite metres and a quaternion of length 1')
    return matrix(*numbers[:3], *(value / length for value in numbers[3:]))


def matrix(*numbers: float) -> np.ndarray:
    """Return the transform of x, y, z in metres and a unit quaternion x, y, z, w."""
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = quaternion_to_matrix(*numbers[3:]), numbers[:3]
    return result
