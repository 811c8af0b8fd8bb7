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

"""Poses of a camera that a bag holds itself: in tf, or on a topic of odometry or poses."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sync_perception.mapping.trajectory import Trajectory
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.rosbag2 import Bag
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.poses.pose_sources import checked_matrix
from sync_perception.types import MalformedInput

TF = 'tf'
"""Name of the poses in tf, as an argument of a user."""
TRANSFORMS, ODOMETRY, POSE = (
    'tf2_msgs/msg/TFMessage', 'nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped')
STATIC = '/tf_static'


class BagPoses(NamedTuple):
    """
    Trajectory of a camera, and where it comes from.

    :param trajectory: world_T_camera of the optical frame.
    :param origin: description for the user.
    """

    trajectory: Trajectory
    origin: str


class Transforms:
    """
    Transforms of a bag, by the frame that they give the pose of.

    :ivar parents: parent of each frame.
    :ivar fixed: parent_T_child of frames that do not move.
    :ivar moving: stamps and parent_T_child of frames that move.
    """

    def __init__(self, bag: Bag):
        self.parents: dict[str, str] = {}
        self.fixed: dict[str, np.ndarray] = {}
        self.moving: dict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
        topics = [topic for topic, kind in bag.topics.items() if kind == TRANSFORMS]
        for topic, message in read(bag, topics):
            for each in message.transforms:
                child = each.child_frame_id.lstrip('/')
                self.parents[child] = each.header.frame_id.lstrip('/')
                place, turn = each.transform.translation, each.transform.rotation
                pose = checked_matrix(place, turn, f'the transform of {child!r:.80} on {topic}')
                if topic.endswith(STATIC):
                    self.fixed[child] = pose
                else:
                    self.moving[child].append((stamp_nanoseconds(each.header), pose))
        for poses in self.moving.values():
            poses.sort(key=lambda entry: entry[0])

    def chain(self, frame: str) -> list[str]:
        """Return a frame and its ancestors but the last one, which has no parent."""
        found: list[str] = []
        while frame in self.parents and frame not in found:
            found.append(frame)
            frame = self.parents[frame]
        return found

    def trajectory(self, frame: str) -> BagPoses | None:
        """Return the poses of a frame in the frame that has no parent; None if it never moves."""
        chain = self.chain(frame)
        moving = [child for child in chain if child in self.moving]
        if not moving:
            return None
        fastest = max(moving, key=lambda child: len(self.moving[child]))
        trajectory = Trajectory()
        for stamp, _ in self.moving[fastest]:
            if not trajectory.stamps or stamp > trajectory.stamps[-1]:
                pose = np.eye(4)
                for child in chain:
                    pose = self._at(child, stamp) @ pose
                trajectory.append(stamp, pose)
        return BagPoses(trajectory, f'tf, from {self.parents[chain[-1]]} to {frame}')

    def fixed_between(self, frame: str, camera: str) -> np.ndarray | None:
        """Return frame_T_camera if the two are fixed to each other; else None."""
        poses = {frame: np.eye(4)}
        at, pose = frame, np.eye(4)
        for child in self.chain(frame):
            if child not in self.fixed:
                break
            at, pose = self.parents[child], pose @ np.linalg.inv(self.fixed[child])
            poses[at] = pose  # frame_T_at
        at, pose = camera, np.eye(4)
        while at not in poses:
            if at not in self.fixed:
                return None
            pose, at = self.fixed[at] @ pose, self.parents[at]
        return poses[at] @ pose

    def _at(self, child: str, stamp: int) -> np.ndarray:
        """Return the latest parent_T_child at a time, or the first one."""
        if child not in self.moving:
            return self.fixed[child]
        poses = self.moving[child]
        return poses[max(bisect_right(poses, stamp, key=lambda entry: entry[0]) - 1, 0)][1]


def bag_poses(bag: Bag, camera: str, source: str = '') -> BagPoses | None:
    """
    Return the poses of a camera that a bag holds.

    :param camera: frame_id of the images.
    :param source: `tf`, or a topic of odometry or poses; by default tf if it moves the camera, and
        otherwise the only topic of odometry.
    :return: None if nothing is named and there is nothing to choose.
    :raises ValueError: if the bag does not have the named poses, or the choice is ambiguous.
    """
    transforms = Transforms(bag)
    if source in ('', TF):
        found = transforms.trajectory(camera)
        if found is not None:
            return found
        if source:
            raise ValueError(
                f'poses: {bag.path} has no transforms that move the frame {camera!r:.80} of the '
                f'images; its topics: {bag.listing()}')
    topics = [topic for topic, kind in bag.topics.items()
              if kind == ODOMETRY and bag.counts[topic]]
    if source:
        if bag.topics.get(source) not in (ODOMETRY, POSE):
            raise ValueError(f'poses: {bag.path} has no poses on {source}, expected tf or one of: '
                             f'{bag.listing((ODOMETRY, POSE))}')
        topics = [source]
    if len(topics) > 1:
        raise ValueError(f'poses: {bag.path} has several topics of odometry, name one of: '
                         f'{", ".join(topics)}')
    return topic_poses(bag, topics[0], camera, transforms) if topics else None


def topic_poses(bag: Bag, topic: str, camera: str, transforms: Transforms) -> BagPoses:
    """
    Return the poses on a topic, moved to the camera by the bag's static transforms.

    :raises ValueError: if the camera is not fixed to the frame whose poses they are.
    """
    trajectory = Trajectory()
    body_T_camera = {camera: np.eye(4), '': np.eye(4)}
    for _, message in read(bag, [topic]):
        body = getattr(message, 'child_frame_id', '').lstrip('/')
        if body not in body_T_camera:
            fixed = transforms.fixed_between(body, camera)
            if fixed is None:
                raise ValueError(
                    f'poses: {topic} has the poses of {body!r:.80}, and the bag has no static '
                    f'transform from it to the frame {camera!r:.80} of the images')
            body_T_camera[body] = fixed
        pose = message.pose if bag.topics[topic] == POSE else message.pose.pose
        stamp = stamp_nanoseconds(message.header)
        if not trajectory.stamps or stamp > trajectory.stamps[-1]:
            trajectory.append(stamp, checked_matrix(
                pose.position, pose.orientation, f'a pose on {topic}') @ body_T_camera[body])
    return BagPoses(trajectory, topic)


def read(bag: Bag, topics: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield topic and message; the packages of the types need not be installed."""
    if not topics:
        return
    store = rosbag2.typestore(bag)
    for record in bag.records(topics):
        try:
            message = store.deserialize_cdr(record.data, record.connection.msgtype)
        except Exception as error:  # each malformed message has its own
            raise MalformedInput(
                'pose message', f'a message on {record.topic} cannot be read: '
                f'{rosbag2.describe_error(error)}') from error
        yield record.topic, message
