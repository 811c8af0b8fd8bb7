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

"""Map of the demo's drive, made after the drive so that it does not slow the nodes down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import shutil

import numpy as np
from sync_perception.images.frame_times import frame_times
from sync_perception.mapping.offline.command import map_command, MapOptions
from sync_perception.mapping.offline.frame_sources import CameraArguments, FrameSource, open_source
from sync_perception.mapping.trajectory import Trajectory
from sync_perception.resources import model_source
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame

FRAMES = 12
"""Frames of the drive that are mapped."""
STRIDE = 3
"""The same camera sees a place in many frames; every third one suffices for a picture."""
CAMERA_HEIGHT = 1.65
"""Height of KITTI's cameras, which gives odometry its scale in a drive without poses."""


class StreetSource:
    """
    Frames of the synthetic street that the demo drives through, with their exact poses.

    :param frames: number of frames.
    """

    title = 'the synthetic street'
    rate = None

    def __init__(self, frames: int):
        # Open3D is an optional library
        from sync_perception.street_world import StreetWorld
        self.world = StreetWorld(0)
        self.count = min(frames, self.world.frames)

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Render and yield frames with their index."""
        for index in range(start, self.count, stride):
            yield index, self.world.render(index).frame

    def trajectory(self) -> Trajectory:
        """Return the exact poses."""
        return Trajectory(frame_times(range(self.count)),
                          [self.world.pose(index) for index in range(self.count)])

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return None: the map is made of predicted depth."""
        return None


def write_map(kitti: Path | None, out: Path, frames: int, model: str, device: str,
              report: Callable[[str], None]) -> list[str]:
    """
    Map the beginning of a drive.

    :param kitti: folder of a KITTI drive; None for the synthetic street.
    :param out: folder of the demo; the map is written to `map` in it.
    :param frames: number of frames of the drive.
    :param report: receives lines for the user.
    :return: names of the pictures, relative to `out`; none if the model cannot map.
    """
    folder = out / 'map'
    if folder.exists():
        shutil.rmtree(folder)
    arguments = CameraArguments()
    source: FrameSource = StreetSource(frames) if kitti is None else open_source(kitti, arguments)
    options = {}
    if source.trajectory() is None:
        options = {'poses': 'odometry', 'mount': Mount(CAMERA_HEIGHT)}
    try:
        predictor = Predictor(model_source(model), device)
        map_command(
            kitti or Path('street'), source, arguments,
            MapOptions(folder, stride=STRIDE, frames=min(frames, FRAMES * STRIDE), **options),
            lambda: predictor, lambda line: None)
    except ValueError as error:  # such as a model without labels
        report(f'no map: {error}')
        return []
    return ['map/above.png', 'map/side.png']
