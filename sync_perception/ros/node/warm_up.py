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
"""Preparation of the network for known image sizes, before the first image arrives."""

from __future__ import annotations

from collections.abc import Iterable
import os
from pathlib import Path
import time
from typing import Any

from sensor_msgs.msg import CameraInfo
from sync_perception.files.whole_files import read_remembered, write_json
from sync_perception.images.headers import check_size
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.io.calibration_messages import calibration_of
from sync_perception.types import MalformedInput

MOST_NODES = 100
"""Largest number of nodes whose sizes are stored."""


class KnownSizes:
    """
    Image sizes of the cameras, from their calibrations or from the last run.

    :param node: full name of the node.
    :param log: log of the node.
    :ivar sizes: height and width by camera name.
    """

    def __init__(self, node: str, log: SeldomLog):
        self.node, self.log = node, log
        self.sizes = sizes_of(read_remembered(sizes_file()).get(node))

    def note(self, camera: str, camera_info: CameraInfo,
             max_pixels: int) -> tuple[int, int] | None:
        """
        Store the size in a calibration.

        :param camera: name of the camera.
        :param max_pixels: limit of the image's pixels.
        :return: the size if it is new; None if it is known or invalid.
        """
        try:
            size = calibration_of(camera_info).image_size
            check_size(size, max_pixels)
        except MalformedInput:
            return None
        if self.sizes.get(camera) == size:
            return None
        self.sizes[camera] = size
        return size

    def remember(self) -> None:
        """Write the sizes to disk for the next run of this node."""
        others = {name: sizes for name, sizes in read_remembered(sizes_file()).items()
                  if name != self.node}
        latest = dict([*others.items(), (self.node, self.sizes)][-MOST_NODES:])
        try:
            write_json(sizes_file(), latest, shared=True)
        except OSError as error:
            self.log.warn(
                'sizes', f'the size of the images cannot be stored for the next start: {error}')

    def warm_up(self, predictor: Any, cameras: Iterable[str]) -> None:
        """Prepare a predictor for the known image sizes of these cameras."""
        for size in {self.sizes[name] for name in cameras if name in self.sizes}:
            warm_up_predictor(predictor, size, self.log)


def sizes_file() -> Path:
    """Return the file that keeps the sizes over restarts, where ROS keeps its own."""
    home = os.environ.get('ROS_HOME') or Path.home() / '.ros'
    return Path(home, 'sync_perception', 'image_sizes.json')


def sizes_of(entry: Any) -> dict[str, tuple[int, int]]:
    """Return the valid image sizes in the file's entry of a node."""
    sizes = {}
    for camera, size in entry.items() if isinstance(entry, dict) else ():
        try:
            height, width = (int(side) for side in size)
            check_size((height, width))
        except (TypeError, ValueError):  # MalformedInput is a ValueError
            continue
        sizes[camera] = height, width
    return sizes


def warm_up_predictor(predictor: Any, size: tuple[int, int], log: SeldomLog) -> None:
    """
    Prepare a predictor for images of a size, and log the duration.

    An error is only a warning, since a frame of this size would report it again.
    """
    began, pixels = time.monotonic(), f'{size[1]}x{size[0]}'
    try:
        if predictor.warm_up(size):
            log.logger.info(
                f'warmed up for images of {pixels} pixels in {time.monotonic() - began:.1f} s')
    except Exception as error:  # noqa: BLE001
        log.warn('warm-up', f'cannot warm up for images of {pixels} pixels: '
                 f'{type(error).__name__}: {error}')
