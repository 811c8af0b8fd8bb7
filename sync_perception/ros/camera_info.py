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


"""Pairs images with the CameraInfo that belongs to them."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from sync_perception.ros.conversions import stamp_nanoseconds


class CameraInfoCache:
    """
    Remembers the latest calibrations of a camera; may be used from several threads.

    An image's own calibration has its stamp. Where that one is missing (it was lost, or comes
    late, or the camera publishes it seldom), the latest one of the same frame stands in for it.

    :param capacity: how many are remembered.
    """

    def __init__(self, capacity: int = 60):
        self.capacity = capacity
        self.lock = Lock()
        self.by_stamp: OrderedDict[int, CameraInfo] = OrderedDict()

    def add(self, camera_info: CameraInfo) -> None:
        """Remember a calibration; the one that came first is forgotten when there is no room."""
        stamp = stamp_nanoseconds(camera_info.header)
        with self.lock:
            self.by_stamp[stamp] = camera_info
            self.by_stamp.move_to_end(stamp)
            while len(self.by_stamp) > self.capacity:
                self.by_stamp.popitem(last=False)

    def find(self, header: Header, size: tuple[int, int] | None = None) -> CameraInfo | None:
        """
        Find the calibration of an image.

        :param header: the image's header.
        :param size: the image's height and width, where they are known without decoding it.
        :return: the one of the same stamp; otherwise the latest of the same frame and size;
            otherwise the latest at all, whose mismatch the conversion then states; None if there
            is none.
        """
        with self.lock:
            exact = self.by_stamp.get(stamp_nanoseconds(header))
            latest = [exact] if exact else list(reversed(self.by_stamp.values()))
        same_frame = [info for info in latest if info.header.frame_id == header.frame_id]
        same_size = [info for info in same_frame if size in (None, (info.height, info.width))]
        return next(iter([*same_size, *same_frame, *latest]), None)
