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


"""Replay sources: KITTI drives, bags, image folders, videos and the synthetic street world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rclpy.logging import get_logger
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.frame_times import SECOND
from sync_perception.images.orientation import turn
from sync_perception.images.reading import IMAGE_SUFFIXES, images_by_stem, read_upright
from sync_perception.images.videos import Video
from sync_perception.kitti.drive import KittiDrive
from sync_perception.ros.io.calibration_messages import read_camera_info
from sync_perception.ros.io.camera_info import pinhole_camera_info, turn_camera_info
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.replay.shot import Shot, ShotSource


def readable(indices: Iterable[int], read: Callable[[int], Shot]) -> Iterator[Shot]:
    """
    Yield frames one by one; damaged frames are skipped and logged.

    :param read: function that reads a frame, or raises ValueError.
    """
    for index in indices:
        try:
            yield read(index)
        except ValueError as error:
            get_logger('replay').warning(f'frame {index} is skipped: {error}')


class KittiShots:
    """KITTI raw drive, with the recorded stamps."""

    def __init__(self, parameters: ReplayParameters):
        self.drive = KittiDrive(_existing(parameters), parameters.camera)
        self.title = f'KITTI drive {self.drive.name}'
        self.count = len(self.drive)
        self.camera_info = pinhole_camera_info(self.drive.K, self.drive.size)

    def shots(self, start: int) -> Iterator[Shot]:
        """Yield the frames from index `start` on."""
        return readable(range(start, self.count), lambda index: Shot(
            self.drive.image(index), self.drive.stamps[index]))


class ImageShots:
    """
    Images of a folder, sorted by name, with stamps from zero at the replay's rate.

    Images and calibration are rotated to the upright orientation given by the image metadata.
    """

    def __init__(self, parameters: ReplayParameters):
        folder = _existing(parameters)
        self.paths = [*images_by_stem(folder).values()]
        if not self.paths:
            raise ValueError(
                f'{folder} has no image, expected files ending in {", ".join(IMAGE_SUFFIXES)}')
        self.title = f'images of {folder}'
        self.bit_depth = BitDepth(report=get_logger('replay').warning)
        self.count = len(self.paths)
        self.period = round(SECOND / parameters.rate)
        self.camera_info = read_camera_info(parameters.camera_info)

    def shots(self, start: int) -> Iterator[Shot]:
        """Yield the frames from index `start` on."""
        def read(index: int) -> Shot:
            image, orientation, stored = read_upright(self.paths[index], self.bit_depth)
            return Shot(image, index * self.period,
                        camera_info=turn_camera_info(self.camera_info, stored, orientation))

        return readable(range(start, self.count), read)


class VideoShots:
    """
    Video file, with stamps from zero at the video's own rate.

    Frames and calibration are rotated to the upright orientation given by the file's header.
    """

    def __init__(self, parameters: ReplayParameters):
        self.video = Video(_existing(parameters))
        self.title = f'video {self.video.path}'
        self.count = self.video.count
        self.period = round(SECOND / (self.video.rate or parameters.rate))
        self.camera_info = turn_camera_info(
            read_camera_info(parameters.camera_info), self.video.size, self.video.orientation)

    def shots(self, start: int) -> Iterator[Shot]:
        """Yield the frames from index `start` to the end of the file."""
        for index, image in enumerate(self.video.frames(start), start):
            yield Shot(turn(image, self.video.orientation), index * self.period)


class SyntheticShots:
    """Drive through the synthetic street world, with stamps from zero at 10 Hz."""

    def __init__(self, parameters: ReplayParameters):
        # Open3D is an optional library
        from sync_perception.street_world import StreetWorld
        self.world = StreetWorld(parameters.seed)
        self.title = f'synthetic street {parameters.seed}'
        self.count = self.world.frames
        self.camera_info = pinhole_camera_info(self.world.K, self.world.size)

    def shots(self, start: int) -> Iterator[Shot]:
        """Render and yield the frames from index `start` on."""
        for index in range(start, self.count):
            frame = self.world.render(index).frame
            yield Shot(frame.image, frame.stamp)


def bag_source(parameters: ReplayParameters) -> ShotSource:
    """
    Return the source for a bag.

    :raises ValueError: if it cannot be read, or the library that reads bags is not installed.
    """
    _existing(parameters)
    try:
        # the library that reads bags is optional
        from sync_perception.ros.replay.bag_source import BagShots
    except ModuleNotFoundError as error:
        raise ValueError(f"source bag: {error}: pip install 'sync_perception[bags]'") from error
    return BagShots(parameters)


SOURCES: dict[str, Callable[[ReplayParameters], ShotSource]] = {
    'bag': bag_source,
    'kitti': KittiShots,
    'images': ImageShots,
    'video': VideoShots,
    'synthetic': SyntheticShots,
}


def _existing(parameters: ReplayParameters) -> Path:
    path = Path(parameters.path).expanduser()
    if not parameters.path or not path.exists():
        raise ValueError(
            f'path: there is no {parameters.path!r}, expected the {parameters.source} to replay')
    return path
