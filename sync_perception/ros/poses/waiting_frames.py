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

"""Frames of one camera that wait for their poses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from std_msgs.msg import Header
from sync_perception.mapping.trajectory import Located
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.poses.pose_sources import PoseSource, RESTART_STEP

POSE_POLL = 0.02
"""Seconds between two checks of the frames that wait."""
MOST_WAITING = 30
"""Most frames that wait."""


class Waiting(Protocol):
    """What a waiting frame must offer."""

    header: Header
    age: float
    """Seconds since the frame arrived."""


Packet = TypeVar('Packet', bound=Waiting)


class WaitingFrames(Generic[Packet]):
    """
    Frames of one camera, which are passed on in order, each as soon as its pose is known.

    All methods are called on the executor's thread.

    :param poses: source of the poses; None if frames need not wait.
    :param deliver: receives each frame and its pose, or why there is none.
    :param dropped: receives frames that are not passed on, since too many wait.
    :param patience: function that returns the seconds that a frame waits for its pose.
    :param keep_all: whether any number of frames may wait.
    """

    def __init__(self, poses: PoseSource | None, deliver: Callable[[Packet, Located], None],
                 dropped: Callable[[Packet], None], patience: Callable[[], float],
                 keep_all: bool = False):
        self.poses, self.deliver, self.dropped = poses, deliver, dropped
        self.patience, self.keep_all = patience, keep_all
        self.frames: deque[Packet] = deque()
        self.latest: int | None = None

    def __len__(self) -> int:
        """Return the number of frames that wait."""
        return len(self.frames)

    def add(self, packet: Packet) -> None:
        """Add a frame that follows the others, and pass on the frames whose pose is known."""
        stamp = stamp_nanoseconds(packet.header)
        if self.latest is not None and stamp < self.latest - RESTART_STEP:
            self.restart(stamp)
        self.latest = stamp
        self.frames.append(packet)
        while len(self.frames) > MOST_WAITING and not self.keep_all:
            self.dropped(self.frames.popleft())
        self.advance()

    def advance(self) -> None:
        """Pass on the frames whose pose is known, or that have waited too long."""
        while self.frames:
            packet, located = self.frames[0], Located(None)
            if self.poses is not None:
                located = self.poses.locate(packet.header)
                if located.world_T_camera is None and self.poses.may_come and (
                        packet.age < self.patience()):
                    return
            self.deliver(self.frames.popleft(), located)

    def restart(self, stamp: int) -> None:
        """Begin anew with poses and stamps, since a recording has started again at a stamp."""
        self.clear()
        if self.poses is not None:
            self.poses.restart(stamp)

    def clear(self) -> None:
        """Drop the frames that wait."""
        self.latest = None
        while self.frames:
            self.dropped(self.frames.popleft())

    def close(self) -> None:
        """Drop the frames that wait, and stop listening to poses."""
        self.clear()
        if self.poses is not None:
            self.poses.close()
