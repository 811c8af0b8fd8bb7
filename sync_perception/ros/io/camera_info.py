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


"""camera_info messages: matching them with images, and creating them."""

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
"""Largest difference in nanoseconds of the stamps of an image and its calibration."""


class CameraInfoCache:
    """
    Cache of the latest calibrations of a camera; thread-safe.

    The calibration of an image has the same or nearly the same stamp. If it is missing (lost, late
    or published rarely), the latest one with the same frame_id is used. A calibration with a
    different frame_id is used only if the topic has a single frame_id. Otherwise it may be that of
    another camera, whose focal length would silently scale all depth.

    :param capacity: number of cached calibrations.
    """

    def __init__(self, capacity: int = 60):
        self.capacity = capacity
        self.lock = Lock()
        self.remembered: OrderedDict[tuple[int, str], CameraInfo] = OrderedDict()

    def add(self, camera_info: CameraInfo) -> None:
        """
        Add a calibration; if the cache is full, the oldest one is removed.

        :raises MalformedInput: if the message is too long to be cached.
        """
        check_length(camera_info)
        key = stamp_nanoseconds(camera_info.header), camera_info.header.frame_id
        with self.lock:
            self.remembered[key] = camera_info
            self.remembered.move_to_end(key)
            while len(self.remembered) > self.capacity:
                self.remembered.popitem(last=False)

    def frames(self) -> list[str]:
        """Return the frame_ids of the cached calibrations, sorted."""
        with self.lock:
            return sorted({frame_id for _, frame_id in self.remembered})

    def find(self, header: Header, size: tuple[int, int] | None = None) -> CameraInfo | None:
        """
        Return the calibration of an image, or None.

        :param header: the image's header.
        :param size: the image's height and width, if they are known without decoding it.
        :return: among those of the same frame_id, or of the only frame_id on the topic, in order
            of preference: the one with the same stamp; the one with a stamp within SAME_CAPTURE;
            the latest. Among these, one of the same size is preferred (the conversion reports a
            size that does not match).
        """
        stamp = stamp_nanoseconds(header)
        with self.lock:
            latest = [(abs(key[0] - stamp), info)
                      for key, info in reversed(self.remembered.items())]
        frames = {info.header.frame_id for _, info in latest}
        frame_id = next(iter(frames)) if len(frames) == 1 else header.frame_id
        same_frame = [(apart, info) for apart, info in latest if info.header.frame_id == frame_id]
        own = [info for apart, info in same_frame if apart == 0]
        same_size = [(apart, info) for apart, info in same_frame
                     if size in (None, (info.height, info.width))]
        near = sorted((each for each in same_size if each[0] <= SAME_CAPTURE),
                      key=lambda each: each[0])
        others = [info for _, info in (*near, *same_size, *same_frame)]
        return next(iter([*own, *others]), None)


def pairing_warning(header: Header, camera_info: CameraInfo) -> str:
    """
    Return a warning about a calibration that may be of another camera than the image.

    :return: a sentence if its frame_id is not the image's; otherwise ''.
    """
    found = camera_info.header
    if found.frame_id == header.frame_id:
        return ''
    return (f'the image has the frame {header.frame_id!r:.80}, but the only camera_info has the '
            f'frame {found.frame_id!r:.80}: both are assumed to come from the same camera')


def pinhole_camera_info(K: np.ndarray, size: tuple[int, int]) -> CameraInfo:
    """
    Return the camera_info of a rectified camera without distortion.

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
    Return the camera_info of the upright images.

    :param camera_info: calibration of the images as stored, unless its size matches only the
        upright images.
    :param stored: height and width of the images as stored.
    :param orientation: EXIF orientation of the images, 1 to 8.
    :raises ValueError: if its size matches neither, or it contains parts that cannot be rotated:
        tangential distortion, rectification, a second camera, a region or binning.
    """
    if orientation == 1:
        return camera_info
    turned = camera_info_of(turn_calibration(calibration_of(camera_info), stored, orientation))
    turned.header = camera_info.header
    return turned
