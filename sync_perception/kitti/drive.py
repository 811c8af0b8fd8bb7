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


"""
Reader of KITTI raw drives: images, time stamps, calibration and laser scans.

Source: Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013, and the readme of
its development kit.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
import re
import time

import numpy as np
from sync_perception.images.frame_times import SECOND
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.types import Frame

KITTI_CAMERAS = (0, 1, 2, 3)
SCAN_COLUMNS = 4


def read_calibration_file(path: str | Path) -> dict[str, np.ndarray]:
    """
    Read a `name: numbers` calibration file; entries without numbers, such as dates, are skipped.

    :param path: a file such as calib_cam_to_cam.txt.
    :return: float64 vectors by name.
    :raises FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no KITTI calibration file {path}')
    entries = {}
    for line in path.read_text().splitlines():
        name, colon, numbers = line.partition(':')
        try:
            values = np.array(numbers.split(), dtype=np.float64)
        except ValueError:
            continue
        if colon and values.size:
            entries[name.strip()] = values
    return entries


def read_matrix(path: str | Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """
    Read one matrix from a calibration file.

    :param path: the calibration file.
    :param name: the entry's name, such as `P_rect_02`.
    :param shape: the expected shape.
    :return: float64 of that shape.
    :raises ValueError: if the entry is missing or has the wrong number of values.
    """
    values = read_calibration_file(path).get(name)
    if values is None:
        raise ValueError(f'{path} has no entry {name}, expected {int(np.prod(shape))} numbers')
    if values.size != np.prod(shape) or not np.isfinite(values).all():
        raise ValueError(
            f'{path}: {name} has {values.size} numbers, expected {int(np.prod(shape))} finite '
            f'ones for a matrix of shape {shape}')
    return values.reshape(shape)


def read_rigid(path: str | Path) -> np.ndarray:
    """
    Read the rigid transform from a calibration file, such as calib_velo_to_cam.txt.

    :return: target_T_source, float64 (4, 4), metres.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if an entry is missing or malformed.
    """
    return rigid_transform(read_matrix(path, 'R', (3, 3)), read_matrix(path, 'T', (3,)))


def rigid_transform(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Return the float64 (4, 4) transform of a rotation (3, 3) and a translation (3,)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


@dataclass(frozen=True)
class KittiCalibration:
    """
    Calibration of one rectified camera of a recording day.

    :param P_rect: float64 (3, 4), projection of rectified camera-00 coordinates to pixels.
    :param R_rect: float64 (3, 3), rotation from camera 00 to the rectified frame.
    :param size: height and width in pixels of the rectified images.
    :param velo_to_cam: float64 (4, 4), laser scanner to unrectified camera 00, or None.
    """

    P_rect: np.ndarray
    R_rect: np.ndarray
    size: tuple[int, int]
    velo_to_cam: np.ndarray | None = None

    @property
    def K(self) -> np.ndarray:
        """Return the intrinsics, float64 (3, 3), pixels."""
        return self.P_rect[:, :3].copy()

    @property
    def shift(self) -> np.ndarray:
        """Return t of P_rect = K [I | t], rectified camera 00 to this camera, (3,) metres."""
        return np.linalg.solve(self.P_rect[:, :3], self.P_rect[:, 3])

    @classmethod
    def read(cls, folder: str | Path, camera: int = 2) -> KittiCalibration:
        """
        Read the calibration files of a recording day.

        :param folder: folder with calib_cam_to_cam.txt and, for drives with laser scans,
            calib_velo_to_cam.txt.
        :param camera: 0 and 1 are the left and right grey cameras, 2 and 3 the colour cameras.
        :raises FileNotFoundError: if calib_cam_to_cam.txt is missing.
        :raises ValueError: if an entry is missing or malformed.
        """
        cameras, scanner = (Path(folder) / f'calib_{name}.txt'
                            for name in ('cam_to_cam', 'velo_to_cam'))
        width, height = read_matrix(cameras, f'S_rect_{camera:02}', (2,))
        velo_to_cam = None
        if scanner.is_file():
            velo_to_cam = read_rigid(scanner)
        return cls(
            P_rect=read_matrix(cameras, f'P_rect_{camera:02}', (3, 4)),
            R_rect=read_matrix(cameras, 'R_rect_00', (3, 3)),
            size=(int(height), int(width)),
            velo_to_cam=velo_to_cam)


def parse_stamp(text: str) -> int:
    """
    Return a time such as `2011-09-26 13:02:27.587000000`, read as UTC, in nanoseconds since 1970.

    :param text: a line of timestamps.txt.
    :raises ValueError: if the line is not a time.
    """
    seconds, _, fraction = text.strip().partition('.')
    whole = calendar.timegm(time.strptime(seconds, '%Y-%m-%d %H:%M:%S'))
    # integers, since float64 seconds since 1970 resolve only 200 ns
    return whole * SECOND + int(fraction.ljust(9, '0')[:9] or 0)


def read_stamps(path: str | Path, numbers: Sequence[int]) -> list[int]:
    """
    Read the time stamps of the numbered files of a drive, in nanoseconds.

    Line n, counted from 0, belongs to file n; the line of a missing file may be empty. A truncated
    drive instead has one line for each remaining file.

    :param path: a timestamps.txt.
    :param numbers: numbers of the files, ascending.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if a line is not a time, there are too few lines, or the line of an
        existing file is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no time stamps {path}')
    lines = [line.strip() for line in path.read_text().rstrip().splitlines()]
    if all(lines) and len(lines) == len(numbers):
        numbers = range(len(lines))
    elif numbers and len(lines) <= numbers[-1]:
        raise ValueError(
            f'{path} has {len(lines)} lines, expected one for each of the {len(numbers)} files '
            f'or at least {numbers[-1] + 1}, one for each frame number')
    empty = [number for number in numbers if not lines[number]]
    if empty:
        raise ValueError(
            f'{path}: {len(empty)} lines of existing files are empty, the first is line '
            f'{empty[0] + 1}: expected the time of file {empty[0]}')
    try:
        return [parse_stamp(lines[number]) for number in numbers]
    except ValueError as error:
        raise ValueError(f'{path}: {error}, expected one time a line') from error


def read_scan(path: str | Path) -> np.ndarray:
    """
    Read a laser scan.

    :param path: a file of velodyne_points/data.
    :return: float32 (N, 4): x forward, y left, z up in metres (scanner frame), reflectance.
    :raises ValueError: if the file's size is not a multiple of four float32.
    """
    values = np.fromfile(path, dtype='<f4')
    if not values.size or Path(path).stat().st_size % (SCAN_COLUMNS * values.itemsize):
        raise ValueError(
            f'{path} has {Path(path).stat().st_size} bytes, expected N x 4 float32 (x, y, z, '
            'reflectance)')
    return values.reshape(-1, SCAN_COLUMNS)


def find_drives(root: str | Path, camera: int = 2) -> list[Path]:
    """
    Return the drive folders in a folder, sorted by name.

    :param root: a drive folder, the folder of a day with drives, or a folder of days.
    :param camera: only drives with images of this camera are returned.
    """
    root = Path(root)
    images = f'image_{camera:02}'
    if (root / images).is_dir():
        return [root]
    found = [*root.glob(f'*_drive_*/{images}'), *root.glob(f'*/*_drive_*/{images}')]
    return sorted(path.parent for path in found if path.is_dir())


class KittiDrive:
    """
    KITTI raw drive, `{date}/{date}_drive_{nnnn}_sync`, as seen by one camera.

    The constructor lists the files and reads the calibration; time stamps, images and scans are
    read on demand. Attributes: folder, name, camera, calibration, image_paths, and velodyne_paths
    (the laser scan of each image, or None).

    :param folder: the drive's folder, or a folder that contains exactly one drive.
    :param camera: 0 and 1 are the left and right grey cameras, 2 and 3 the colour cameras.
    :raises FileNotFoundError: if there is no drive, no image or no calibration.
    :raises ValueError: if the folder contains several drives, or a file is malformed.
    """

    def __init__(self, folder: str | Path, camera: int = 2):
        if camera not in KITTI_CAMERAS:
            raise ValueError(f'KITTI has the cameras {KITTI_CAMERAS}, got {camera}')
        drives = find_drives(folder, camera)
        if not drives:
            raise FileNotFoundError(
                f'no KITTI raw drive in {folder}, expected '
                f'{{date}}_drive_{{nnnn}}_sync/image_{camera:02}/data')
        if len(drives) > 1:
            raise ValueError(
                f'{folder} holds {len(drives)} drives, expected one of '
                f'{", ".join(drive.name for drive in drives)}')
        self.folder = drives[0].resolve()
        self.name = self.folder.name
        self.camera = camera
        self.image_paths = self.list_images()
        self.calibration = KittiCalibration.read(self.find_calibration(), camera)
        scans = self.folder / 'velodyne_points' / 'data'
        self.velodyne_paths = [
            scan if (scan := scans / f'{path.stem}.bin').is_file() else None
            for path in self.image_paths]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.image_paths)

    @property
    def K(self) -> np.ndarray:
        """Return the intrinsics, float64 (3, 3), pixels of the rectified images."""
        return self.calibration.K

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the rectified images in pixels."""
        return self.calibration.size

    @property
    def image_folder(self) -> Path:
        """Return the camera's folder, which contains data/ and timestamps.txt."""
        return self.folder / f'image_{self.camera:02}'

    def image(self, index: int) -> np.ndarray:
        """
        Read one image.

        :param index: position in the drive, from 0.
        :return: uint8 (H, W, 3), RGB, rectified.
        :raises ValueError: if the image is damaged or differs in size from the calibration.
        """
        path = self.image_paths[index]
        image = read_image(path)
        if image.shape[:2] != self.size:
            raise ValueError(
                f'{path} is {image.shape[1]}x{image.shape[0]}, expected '
                f'{self.size[1]}x{self.size[0]} as S_rect_{self.camera:02} says')
        return image

    def frame(self, index: int, frame_id: str = 'camera') -> Frame:
        """
        Read one image with its intrinsics and time stamp.

        :param index: position in the drive, from 0.
        :param frame_id: name for the camera's optical frame.
        :raises FileNotFoundError: if timestamps.txt is missing.
        :raises ValueError: if the image or the time stamps are malformed.
        """
        return Frame(image=self.image(index), K=self.K, stamp=self.stamps[index],
                     frame_id=frame_id)

    def list_images(self) -> list[Path]:
        """Return the image files sorted by number; each name is a number with .png or .jpg."""
        folder = self.image_folder / 'data'
        images = [path for path in images_by_stem(folder).values()
                  if re.fullmatch(r'\d+\.(png|jpg)', path.name)]
        if not images:
            raise FileNotFoundError(f'no image in {folder}, expected {{:010d}}.png or .jpg')
        return images

    @cached_property
    def stamps(self) -> list[int]:
        """Return the images' acquisition times in nanoseconds, as read by `read_stamps`."""
        return read_stamps(
            self.image_folder / 'timestamps.txt', [int(path.stem) for path in self.image_paths])

    def find_calibration(self) -> Path:
        """Return the folder of the calibration files: that of the day, or the drive's own."""
        folders = [self.folder.parent, self.folder]
        for folder in folders:
            if (folder / 'calib_cam_to_cam.txt').is_file():
                return folder
        raise FileNotFoundError(
            f'no calib_cam_to_cam.txt for {self.folder}, expected it in '
            f'{" or ".join(map(str, folders))}')
