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

"""Frames of a bag's camera, for programs that work on frames instead of messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sync_perception.calibration.rectification import Rectifier
from sync_perception.images.bit_depth import BitDepth
from sync_perception.mapping.offline.frame_sources import CameraArguments
from sync_perception.mapping.trajectory import Trajectory
from sync_perception.ros.bags.bag_poses import bag_poses
from sync_perception.ros.bags.camera import BagCamera, first_frame_id, PairedImage, Pairing
from sync_perception.ros.bags.rosbag2 import Bag
from sync_perception.ros.io.calibration_messages import read_camera_info
from sync_perception.ros.io.conversions import to_frame
from sync_perception.types import Frame, MalformedInput


class BagFrames:
    """
    Source of the frames of one camera of a bag.

    :param path: the bag's folder, or one of its files.
    :param arguments: topic of the images, and the calibration file if the bag's calibration is
        not to be used.
    :raises ValueError: if the bag or the topics are invalid.
    """

    rate = None

    def __init__(self, path: Path, arguments: CameraArguments):
        if arguments.fx is not None:
            raise ValueError('fx: a bag has calibrations, expected camera_info for another one')
        self.bag = Bag(path)
        given = arguments.camera_info is not None
        self.camera = BagCamera.find(self.bag, arguments.image, '', not given)
        self.fixed = read_camera_info(arguments.camera_info) if given else None
        self.rectifier = Rectifier() if arguments.rectify else None
        self.bit_depth = BitDepth(report=lambda text: None)
        self.count = self.bag.counts[self.camera.image]
        self.title, self.poses = f'{self.camera.image} of {path}', arguments.poses

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Yield index and frame, or why the frame is broken."""
        index = -1
        topics = self.camera.topics
        for step in Pairing(self.bag, self.camera).follow(self.bag.records([*topics])):
            if not isinstance(step, PairedImage):
                continue
            index += 1
            if index < start or (index - start) % stride:
                continue
            try:
                yield index, self._frame(step)
            except ValueError as error:
                yield index, error

    def trajectory(self) -> Trajectory | None:
        """Return the poses that the bag holds, in tf or on a topic; None if there are none."""
        found = bag_poses(self.bag, self.frame_id(), self.poses)
        if found is None:
            return None
        self.title = f'{self.title} with poses of {found.origin}'
        return found.trajectory

    def frame_id(self) -> str:
        """Return the frame_id of the first image that can be read."""
        return first_frame_id(self.bag, self.camera)

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return None: depth images are not read from bags."""
        return None

    def _frame(self, paired: PairedImage) -> Frame:
        if paired.image is None:
            raise MalformedInput('message', paired.problem)
        camera_info = self.fixed or paired.camera_info
        if camera_info is None:
            raise MalformedInput('no camera_info', 'no calibration for the image at '
                                 f'{paired.time} ns, expected one with its frame_id')
        return to_frame(paired.image, camera_info, self.bit_depth, rectifier=self.rectifier)
