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


"""Camera trajectory: poses by time, interpolated, with the reason where there is no pose."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
import math
from typing import NamedTuple

import cv2
import numpy as np
from sync_perception.images.frame_times import SECOND


@dataclass(frozen=True)
class PoseLimits:
    """
    Limits within which poses are plausible.

    :param gap: longest time between two poses over which a pose is interpolated, seconds.
    :param speed: greatest speed of the camera between two poses, m/s.
    :param turn_rate: greatest rate of rotation between two poses, rad/s.
    :raises ValueError: if a limit is not positive.
    """

    gap: float = 0.5
    speed: float = 60.0
    turn_rate: float = 2 * math.pi

    def __post_init__(self):
        """Validate the limits."""
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f'{name}: expected a positive limit of poses, got {value}')


class Located(NamedTuple):
    """
    Pose at a time.

    :param world_T_camera: float64 (4, 4), metres; None if there is none.
    :param reason: why there is no pose; empty if there is one.
    """

    world_T_camera: np.ndarray | None
    reason: str = ''


class Trajectory:
    """
    Poses of one camera, `world_T_camera` of its optical frame (x right, y down, z forward).

    Poses may be appended while the trajectory is in use, for example by a node.

    :param stamps: times in nanoseconds, strictly ascending.
    :param poses: float64 (4, 4) each, metres.
    :param limits: which poses are plausible.
    :param keep: number of poses to keep; older ones are forgotten. None keeps all.
    :raises ValueError: if the counts differ, or the times do not ascend.
    """

    def __init__(
            self, stamps: Iterable[int] = (), poses: Iterable[np.ndarray] = (),
            limits: PoseLimits | None = None, keep: int | None = None):
        self.limits, self.keep = limits or PoseLimits(), keep
        self.stamps: list[int] = []
        self.poses: list[np.ndarray] = []
        stamps, poses = list(stamps), list(poses)
        if len(stamps) != len(poses):
            raise ValueError(f'got {len(poses)} poses at {len(stamps)} times, expected one each')
        for stamp, pose in zip(stamps, poses):
            self.append(stamp, pose)

    def __len__(self) -> int:
        """Return the number of poses."""
        return len(self.stamps)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield time and pose of each entry."""
        return zip(self.stamps, self.poses)

    def append(self, stamp: int, world_T_camera: np.ndarray) -> None:
        """
        Add a pose that is later than all others.

        :param stamp: nanoseconds.
        :param world_T_camera: float64 (4, 4), metres; its rotation is made exactly orthogonal.
        :raises ValueError: if the time is not later than the last one.
        """
        if self.stamps and stamp <= self.stamps[-1]:
            raise ValueError(
                f'the pose at {stamp} ns follows one at {self.stamps[-1]} ns: expected ascending '
                'times')
        self.stamps.append(int(stamp))
        self.poses.append(orthogonal(world_T_camera))
        if self.keep is not None and len(self.stamps) > self.keep:
            del self.stamps[0], self.poses[0]

    def at(self, stamp: int) -> Located:
        """
        Return the pose at a time, interpolated between its neighbours, or why there is none.

        :param stamp: nanoseconds.
        """
        after = bisect_left(self.stamps, stamp)
        if after < len(self.stamps) and self.stamps[after] == stamp:
            return Located(self.poses[after])
        if not self.stamps:
            return Located(None, 'there are no poses')
        if after == 0:
            return Located(None, f'the first pose is {late(stamp, self.stamps[0])} later')
        if after == len(self.stamps):
            return Located(None, f'the last pose is {late(self.stamps[-1], stamp)} older')
        start, end = self.stamps[after - 1:after + 1]
        if end - start > self.limits.gap * SECOND:
            return Located(None, f'the poses around it are {late(start, end)} apart')
        reason = self.jump(after)
        if reason:
            return Located(None, reason)
        return Located(interpolate_pose(
            self.poses[after - 1], self.poses[after], (stamp - start) / (end - start)))

    def motion(self, earlier: int, later: int) -> Located:
        """
        Return the camera's motion between two times, or why it is not known.

        :param earlier: nanoseconds.
        :param later: nanoseconds.
        :return: `later_T_earlier` in the place of the pose. There is none if a pose is missing, or
            if the poses jump in between.
        """
        before, now = self.at(earlier), self.at(later)
        reason = before.reason or now.reason or next(filter(None, (
            self.jump(index) for index in range(
                bisect_left(self.stamps, earlier) + 1, bisect_left(self.stamps, later) + 1)
            if index < len(self.stamps))), '')
        if reason:
            return Located(None, reason)
        return Located(np.linalg.inv(now.world_T_camera) @ before.world_T_camera)

    def jump(self, index: int) -> str:
        """Return why the step to a pose from the one before is not plausible; empty if it is."""
        seconds = (self.stamps[index] - self.stamps[index - 1]) / SECOND
        before, after = self.poses[index - 1], self.poses[index]
        moved = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
        turned = angle(before[:3, :3].T @ after[:3, :3])
        if moved > self.limits.speed * seconds:
            return (f'the poses jump by {moved:.2f} m in {seconds:.3f} s, at most '
                    f'{self.limits.speed:g} m/s are plausible')
        if turned > self.limits.turn_rate * seconds:
            return (f'the poses turn by {math.degrees(turned):.0f} degrees in {seconds:.3f} s, '
                    f'at most {math.degrees(self.limits.turn_rate):.0f} degrees/s are plausible')
        return ''


def late(start: int, end: int) -> str:
    """Return the time from start to end in seconds, as text."""
    return f'{(end - start) / SECOND:.3f} s'


def angle(rotation: np.ndarray) -> float:
    """Return the angle of a rotation matrix, radians."""
    return float(np.linalg.norm(cv2.Rodrigues(rotation)[0]))


def orthogonal(pose: np.ndarray) -> np.ndarray:
    """Return a copy of a pose, float64 (4, 4), with the nearest orthogonal rotation."""
    result = np.array(pose, np.float64)
    u, _, vt = np.linalg.svd(result[:3, :3])
    result[:3, :3] = u @ vt
    return result


def interpolate_pose(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """
    Interpolate two poses: positions linearly, rotations at constant rate (slerp).

    :param share: 0 for the first pose, 1 for the second.
    """
    pose = np.eye(4)
    turn = cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0]
    pose[:3, :3] = first[:3, :3] @ cv2.Rodrigues(share * turn)[0]
    pose[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return pose
