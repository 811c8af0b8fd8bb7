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


"""Calibrations: the one that belongs to an image, and that of a rectified camera."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from sync_perception.images.orientation import turn_calibration
from sync_perception.ros.io.calibration_messages import calibration_of, camera_info_of
from sync_perception.ros.io.conversions import check_length, stamp_nanoseconds

SAME_CAPTURE = 5_000_000
"""Nanoseconds by which the stamps of an image and its calibration may differ."""


class CameraInfoCache:
    """
    Remembers the latest calibrations of a camera; may be used from several threads.

    An image's own calibration has its stamp, or nearly so. Where that one is missing (it was
    lost, or comes late, or the camera publishes it seldom), the latest one of the same frame
    stands in for it. Another frame's stands in only where the topic has those of no other frame:
    else it may be another camera's, whose focal length would silently scale every metre.

    :param capacity: how many are remembered.
    """

    def __init__(self, capacity: int = 60):
        self.capacity = capacity
        self.lock = Lock()
        self.remembered: OrderedDict[tuple[int, str], CameraInfo] = OrderedDict()

    def add(self, camera_info: CameraInfo) -> None:
        """
        Remember a calibration; the one that came first is forgotten when there is no room.

        :raises MalformedInput: if it is too long to be kept.
        """
        check_length(camera_info)
        key = stamp_nanoseconds(camera_info.header), camera_info.header.frame_id
        with self.lock:
            self.remembered[key] = camera_info
            self.remembered.move_to_end(key)
            while len(self.remembered) > self.capacity:
                self.remembered.popitem(last=False)

    def frames(self) -> list[str]:
        """Return the frames of the remembered calibrations, sorted."""
        with self.lock:
            return sorted({frame_id for _, frame_id in self.remembered})

    def find(self, header: Header, size: tuple[int, int] | None = None) -> CameraInfo | None:
        """
        Find the calibration of an image.

        :param header: the image's header.
        :param size: the image's height and width, where they are known without decoding it.
        :return: the one of the same stamp, preferably of the same frame; otherwise the one of the
            same frame whose stamp is within SAME_CAPTURE of it; otherwise the latest of the same
            frame, or of the only frame that there is. Of these, preferably one of the same size
            (the conversion states a size that does not fit). None if there is none.
        """
        stamp = stamp_nanoseconds(header)
        with self.lock:
            latest = [(abs(key[0] - stamp), info)
                      for key, info in reversed(self.remembered.items())]
        frames = {info.header.frame_id for _, info in latest}
        frame_id = next(iter(frames)) if len(frames) == 1 else header.frame_id
        same_frame = [(apart, info) for apart, info in latest if info.header.frame_id == frame_id]
        same_stamp = [info for apart, info in latest if apart == 0]
        own = [info for apart, info in same_frame if apart == 0]
        same_size = [(apart, info) for apart, info in same_frame
                     if size in (None, (info.height, info.width))]
        near = sorted((each for each in same_size if each[0] <= SAME_CAPTURE),
                      key=lambda each: each[0])
        others = [info for _, info in (*near, *same_size, *same_frame)]
        return next(iter([*own, *same_stamp, *others]), None)


def pairing_doubt(header: Header, camera_info: CameraInfo) -> str:
    """
    Describe what is doubtful about the calibration that was found for an image.

    :return: a sentence if its frame and its stamp are both not the image's; else ''.
    """
    found = camera_info.header
    if found.frame_id == header.frame_id or found.stamp == header.stamp:
        return ''
    return (f'the image is of frame {header.frame_id!r:.80}, but the only camera_info is of frame '
            f'{found.frame_id!r:.80}: it is taken to be of the same camera')


def pinhole(K: np.ndarray, size: tuple[int, int]) -> CameraInfo:
    """
    Describe a rectified camera without distortion.

    :param K: float64 (3, 3), pixels.
    :param size: height and width, pixels.
    """
    return CameraInfo(
        height=size[0], width=size[1], distortion_model='plumb_bob', d=[0.0] * 5,
        k=np.ravel(K).tolist(), r=np.eye(3).ravel().tolist(),
        p=np.column_stack([K, np.zeros(3)]).ravel().tolist())


def turn_camera_info(
        camera_info: CameraInfo, stored: tuple[int, int], orientation: int) -> CameraInfo:
    """
    Describe the camera of images that are turned upright.

    :param camera_info: belongs to the images as they are stored, unless its size is that of the
        turned ones only.
    :param stored: height and width of the images as they are stored.
    :param orientation: by which they are turned, 1 to 8 as in EXIF.
    :raises ValueError: if its size is neither, or it describes what cannot be turned: tangential
        distortion, rectification, a second camera, a region or binning.
    """
    if orientation == 1:
        return camera_info
    turned = camera_info_of(turn_calibration(calibration_of(camera_info), stored, orientation))
    turned.header = camera_info.header
    return turned
