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

"""Sources of frames for maps: KITTI drives, folders of images, RGB-D sequences and videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
import re
from typing import Protocol

import numpy as np
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.frame_times import DEFAULT_RATE, image_times, SECOND
from sync_perception.images.orientation import turn, turn_calibration
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.images.seven_scenes import scene_depth, scene_images, SEVEN_SCENES_K
from sync_perception.images.videos import Video, VIDEO_SUFFIXES
from sync_perception.kitti.drive import find_drives, KittiDrive, read_matrix
from sync_perception.mapping.pose_files import KITTI_CAMERA, read_trajectory
from sync_perception.mapping.trajectory import Trajectory
from sync_perception.runtime.image_files.image_reader import (
    assumed_intrinsics,
    CameraOptions,
    ImageReader,
)
from sync_perception.types import Frame

SCENE_RATE = 30.0
"""Frames per second of 7-Scenes."""
SUFFIXES = ', '.join(VIDEO_SUFFIXES)


@dataclass(frozen=True)
class CameraArguments(CameraOptions):
    """
    Camera of a recording, as on the command line.

    :param number: number of the camera in a KITTI drive or Virtual KITTI 2; None for 2 or 0.
    :param image: topic of a bag's images; '' to detect it.
    :param poses: poses in a bag: tf, or a topic; '' to detect them.
    """

    number: int | None = None
    image: str = ''
    poses: str = ''


class FrameSource(Protocol):
    """
    Recording of one camera.

    :ivar title: description for the user.
    :ivar count: number of frames; None if it is unknown before the end.
    :ivar rate: frames per second by which frames without recorded times get theirs; None if the
        times are recorded.
    """

    title: str
    count: int | None
    rate: float | None

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Yield index and frame of every stride-th frame from a start on, or why it is broken."""

    def trajectory(self) -> Trajectory | None:
        """Return the poses that come with the recording; None if it has none."""

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return a depth sensor's float32 (H, W) metres, NaN invalid; None if it has none."""


class FrameFiles(ABC):
    """Source whose frames are read one by one; a subclass reads them."""

    title = ''
    count: int
    rate: float | None = None

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Yield index and frame, or why the frame is broken."""
        for index in range(start, self.count, stride):
            try:
                yield index, self.read(index)
            except ValueError as error:
                yield index, error

    @abstractmethod
    def read(self, index: int) -> Frame:
        """Read a frame; ValueError if it is broken."""

    def trajectory(self) -> Trajectory | None:
        """Return None: the files have no poses."""
        return None

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return None: the files have no depth."""
        return None


class DriveSource(FrameFiles):
    """KITTI raw drive, with the poses of its OXTS packets."""

    def __init__(self, path: Path, camera: int):
        self.drive = KittiDrive(path, camera)
        self.camera = camera
        self.title, self.count = f'KITTI drive {self.drive.name}', len(self.drive)

    def read(self, index: int) -> Frame:
        """Read a frame with its recorded time."""
        return self.drive.frame(index)

    def trajectory(self) -> Trajectory | None:
        """Return the poses of the drive's navigation system."""
        if not (self.drive.folder / 'oxts').is_dir():
            return None
        return read_trajectory(self.drive.folder, camera=self.camera)


class SceneSource(FrameFiles):
    """Sequence of 7-Scenes: images, raw depth of the sensor, and poses; 30 frames a second."""

    def __init__(self, path: Path, arguments: CameraArguments):
        self.folder = path
        self.images = [*scene_images(path).items()]
        self.rate = arguments.rate or SCENE_RATE
        self.stamps = image_times([image for _, image in self.images], self.rate)
        self.fx = arguments.fx
        self.title, self.count = f'RGB-D sequence {path}', len(self.images)

    def read(self, index: int) -> Frame:
        """Read a frame; its time is that of its number."""
        image = read_image(self.images[index][1])
        K = SEVEN_SCENES_K if self.fx is None else assumed_intrinsics(image.shape[:2], self.fx)
        return Frame(image, K, self.stamps[index])

    def trajectory(self) -> Trajectory:
        """Return the poses of the sequence."""
        return read_trajectory(self.folder, self.rate)

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return the raw depth, which is not registered to the image."""
        return scene_depth(self.folder, self.images[index][0])


class ImagesSource(FrameFiles):
    """
    Images of a folder, sorted by name.

    A folder image_N beside a calib.txt is a sequence of KITTI's odometry benchmark.
    """

    def __init__(self, path: Path, arguments: CameraArguments):
        self.paths = [*images_by_stem(path).values()]
        if not self.paths:
            raise ValueError(
                f'{path} is no recording: expected a KITTI drive, a folder of images, a sequence '
                f'of 7-Scenes, a bag, or a video ({SUFFIXES})')
        self.reader = ImageReader(arguments, BitDepth(report=lambda text: None))
        self.K = None
        camera = re.fullmatch(r'image_(\d+)', path.name)
        benchmark = path.parent / 'calib.txt'
        if camera and benchmark.is_file() and arguments.unknown:
            self.K = benchmark_intrinsics(benchmark, int(camera[1]))
        self.rate = arguments.rate or DEFAULT_RATE
        self.stamps = image_times(self.paths, self.rate)
        self.title, self.count = f'images of {path}', len(self.paths)

    def read(self, index: int) -> Frame:
        """Read a frame upright; its time is that of the number in its name."""
        frame = self.reader.read(self.paths[index], self.stamps[index])
        return frame if self.K is None else replace(frame, K=self.K)


def benchmark_intrinsics(path: Path, camera: int) -> np.ndarray:
    """
    Return a camera's intrinsics from calib.txt of KITTI's odometry benchmark.

    Its rows are named P0, P1 and so on, or they are in this order without names.

    :return: float64 (3, 3).
    """
    lines = path.read_text(encoding='utf-8').splitlines()
    if lines and ':' in lines[0]:
        return read_matrix(path, f'P{camera}', (3, 4))[:, :3]
    try:
        return np.array(lines[camera].split(), np.float64).reshape(3, 4)[:, :3]
    except (IndexError, ValueError) as error:
        raise ValueError(
            f'{path}: expected a row of 12 numbers for camera {camera}') from error


class VideoSource:
    """Video file, with times from zero at its own rate."""

    def __init__(self, path: Path, arguments: CameraArguments):
        self.video = Video(path)
        self.reader = ImageReader(arguments, BitDepth())
        if self.reader.calibration is not None:  # raises now what the first frame would raise
            turn_calibration(self.reader.calibration, self.video.size, self.video.orientation)
        self.rate = arguments.rate or self.video.rate or DEFAULT_RATE
        self.title, self.count = f'video {path}', self.video.count

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Yield index and frame."""
        for index, stored in enumerate(self.video.frames(start), start):
            if (index - start) % stride:
                continue
            yield index, self.reader.frame(
                turn(stored, self.video.orientation), self.video.orientation, self.video.size,
                round(index * SECOND / self.rate))

    def trajectory(self) -> Trajectory | None:
        """Return None: a video has no poses."""
        return None

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return None: a video has no depth."""
        return None


def open_source(path: str | Path, arguments: CameraArguments) -> FrameSource:
    """
    Open a recording that needs no ROS; its kind is recognised.

    :raises FileNotFoundError: if there is no such path.
    :raises ValueError: if it is no recording.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'no recording {path}')
    if path.is_file():
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise ValueError(f'{path} is no video, expected one of {SUFFIXES}')
        return VideoSource(path, arguments)
    camera = KITTI_CAMERA if arguments.number is None else arguments.number
    if find_drives(path, camera):
        return DriveSource(path, camera)
    if scene_images(path) and any(path.glob('*.pose.txt')):
        return SceneSource(path, arguments)
    return ImagesSource(path, arguments)
