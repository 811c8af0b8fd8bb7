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

"""Messages of the same stamp, gathered into frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
import time
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.poses.pose_sources import RESTART_STEP

MOST_STAMPS = 30
"""Most stamps whose messages wait for others of the same stamp."""
MOST_BYTES = 256 * 2 ** 20
"""Most bytes of messages that wait for others of the same stamp."""


@dataclass(eq=False)
class FrameMessages:
    """
    Messages of one frame, and its pose when it is known.

    :param messages: `depth`, and `image`, `labels`, `confidence` and `uncertainty` if they are
        published.
    :param camera_info: calibration of the depth image.
    :param arrival: time at which the frame was complete, seconds of the monotonic clock.
    :param world_T_camera: pose of the optical frame; None for visual odometry.
    """

    messages: dict[str, Image | CompressedImage]
    camera_info: CameraInfo
    arrival: float = field(default_factory=time.monotonic)
    world_T_camera: np.ndarray | None = None

    @property
    def header(self) -> Header:
        """Return the header of the depth image."""
        return self.messages['depth'].header

    @property
    def stamp(self) -> int:
        """Return the frame's stamp in nanoseconds."""
        return stamp_nanoseconds(self.header)

    @property
    def age(self) -> float:
        """Return the seconds since the frame was complete."""
        return time.monotonic() - self.arrival


class FramePairs:
    """
    Messages that wait for the others of exactly the same stamp.

    :param find_camera_info: function that returns the calibration of a depth image, or None.
    :param give_up: called with the names that a frame with depth has waited for in vain.
    """

    def __init__(self, find_camera_info: Callable[[Image], CameraInfo | None],
                 give_up: Callable[[list[str]], None]):
        self.find_camera_info, self.give_up = find_camera_info, give_up
        self.waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.wanted: Collection[str] = ('depth',)
        self.bytes = 0
        self.latest: int | None = None

    def add(self, name: str, message: Image | CompressedImage) -> bool:
        """
        Add a message.

        :param name: name of the message in `FrameMessages.messages`.
        :return: whether the depth image is so much earlier than the latest one that the recording
            has started again; messages from before are then forgotten.
        """
        stamp = stamp_nanoseconds(message.header)
        restarted = False
        if name == 'depth':
            restarted = self.latest is not None and stamp < self.latest - RESTART_STEP
            if restarted:
                self._forget(lambda each: each > stamp)
            self.latest = stamp if restarted else max(stamp, self.latest or stamp)
        entry = self.waiting.setdefault(stamp, {})
        if name in entry:
            self.bytes -= len(entry[name].data)
        entry[name] = message
        self.bytes += len(message.data)
        while len(self.waiting) > MOST_STAMPS or (
                self.bytes > MOST_BYTES and len(self.waiting) > 1):
            self._remove(next(iter(self.waiting)), in_vain=True)
        return restarted

    def complete(self, wanted: Collection[str]) -> list[FrameMessages]:
        """
        Return the frames that have everything, in the order of their stamps.

        Each publisher's messages arrive in order, so earlier frames wait no longer.

        :param wanted: names of the messages that a frame must have.
        """
        self.wanted = wanted
        found: list[FrameMessages] = []
        for stamp in sorted(self.waiting):
            entry = self.waiting[stamp]
            if set(wanted) <= entry.keys():
                camera_info = self.find_camera_info(entry['depth'])
                if camera_info is not None:
                    self._remove(stamp)
                    found.append(FrameMessages(
                        {name: entry[name] for name in wanted}, camera_info))
        if found:
            newest = found[-1].stamp
            self._forget(lambda stamp: stamp < newest)
        return found

    def missing(self, entry: Collection[str]) -> list[str]:
        """Return the names that a frame still waits for."""
        return [name for name in self.wanted if name not in entry] or ['camera_info']

    def _forget(self, is_over: Callable[[int], bool]) -> None:
        for stamp in [stamp for stamp in self.waiting if is_over(stamp)]:
            self._remove(stamp, in_vain=True)

    def _remove(self, stamp: int, in_vain: bool = False) -> None:
        entry = self.waiting.pop(stamp)
        self.bytes -= sum(len(message.data) for message in entry.values())
        if in_vain and 'depth' in entry:
            self.give_up(self.missing(entry))
