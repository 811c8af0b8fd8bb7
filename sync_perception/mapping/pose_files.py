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
Files of trajectories: KITTI, TUM, 7-Scenes, Virtual KITTI 2, and KITTI drives with OXTS packets.

Sources: the readmes of KITTI's odometry benchmark and raw data, of the TUM RGB-D benchmark, of
7-Scenes and of Virtual KITTI 2.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
import re

import numpy as np
from sync_perception.files.poses import parse_pose, read_camera_rows, read_pose
from sync_perception.files.whole_files import write_text
from sync_perception.geometry import quaternion
from sync_perception.images.frame_times import frame_times, SECOND
from sync_perception.images.reading import natural_order
from sync_perception.kitti.drive import KittiDrive
from sync_perception.kitti.oxts import camera_pose
from sync_perception.mapping.trajectory import PoseLimits, Trajectory

KITTI_CAMERA = 2
"""Camera of a KITTI drive, if none is named."""
KITTI_COLUMNS, TUM_COLUMNS = 12, 8
LAYOUTS = (
    'KITTI (12 numbers a line), TUM (time, position and quaternion), a folder of '
    '*.pose.txt as 7-Scenes, extrinsic.txt of Virtual KITTI 2, or a KITTI drive with oxts/')


def read_trajectory(
        path: str | Path, rate: float | None = None, camera: int | None = None,
        limits: PoseLimits | None = None) -> Trajectory:
    """
    Read the poses of a camera's optical frame; the layout is recognised.

    Poses without times (KITTI without times.txt beside it, 7-Scenes, Virtual KITTI 2) are given
    those of frames at a rate, the frame with number 0 at 0.

    :param path: a file or a folder in one of the layouts.
    :param rate: frames per second; None for 10.
    :param camera: number of the camera, for KITTI drives (by default 2) and Virtual KITTI 2 (0).
    :param limits: which poses are plausible.
    :raises FileNotFoundError: if there is no such path or no pose.
    :raises ValueError: if the layout is not known, or an entry is malformed.
    """
    path = Path(path)
    if rate is not None and not rate > 0:
        raise ValueError(f'rate: expected frames per second of the poses, got {rate}')
    if not path.exists():
        raise FileNotFoundError(f'no poses {path}, expected {LAYOUTS}')
    if path.is_dir():
        if any(path.glob('*.pose.txt')):
            return read_scene(path, rate, limits)
        if (path / 'oxts').is_dir():
            return read_oxts(path, KITTI_CAMERA if camera is None else camera, limits)
        raise FileNotFoundError(f'no poses in {path}, expected {LAYOUTS}')
    lines = [line for line in path.read_text(encoding='utf-8').splitlines()
             if line.strip() and not line.lstrip().startswith('#')]
    columns = len(lines[0].replace(',', ' ').split()) if lines else 0
    if lines and lines[0].startswith('frame'):
        return read_extrinsics(path, rate, camera or 0, limits)
    if columns == KITTI_COLUMNS:
        return read_kitti(path, lines, rate, limits)
    if columns == TUM_COLUMNS:
        return read_tum(path, lines, limits)
    raise ValueError(f'{path} has {columns} columns, expected {LAYOUTS}')


def numbers(path: Path, lines: list[str], columns: int) -> np.ndarray:
    """Return the numbers of the lines, float64 (N, columns); errors name the line."""
    table = np.empty((len(lines), columns))
    for index, line in enumerate(lines):
        words = line.replace(',', ' ').split()
        try:
            table[index] = np.array(words, np.float64).reshape(columns)
        except ValueError as error:
            raise ValueError(
                f'{path}: row {index + 1} is {line.strip()[:80]!r}, expected {columns} numbers'
            ) from error
    return table


def read_kitti(
        path: Path, lines: list[str], rate: float | None, limits: PoseLimits | None) -> Trajectory:
    """Read rows of 3x4 matrices; the times are those of times.txt beside the file, if any."""
    rows = numbers(path, lines, KITTI_COLUMNS)
    poses = [parse_pose(np.append(row, (0, 0, 0, 1)), f'{path}, row {index + 1},')
             for index, row in enumerate(rows)]
    times = path.with_name('times.txt')
    if not times.is_file():
        return Trajectory(frame_times(range(len(poses)), rate), poses, limits)
    stamps = [parse_seconds(word, times) for word in times.read_text().split()]
    if len(stamps) != len(poses):
        raise ValueError(f'{times} has {len(stamps)} times, expected {len(poses)} as {path} has')
    return Trajectory(stamps, poses, limits)


def read_tum(path: Path, lines: list[str], limits: PoseLimits | None) -> Trajectory:
    """Read rows of time, x y z in metres and quaternion x y z w."""
    rows = numbers(path, lines, TUM_COLUMNS)
    # from the text, since float64 seconds since 1970 resolve only 200 ns
    stamps = [parse_seconds(line.replace(',', ' ').split()[0], path) for line in lines]
    poses = []
    for index, row in enumerate(rows):
        length = np.linalg.norm(row[4:])
        if not abs(length - 1) < 1e-2:
            raise ValueError(
                f'{path}: row {index + 1} has the quaternion {row[4:].tolist()}, expected one of '
                'length 1')
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = quaternion_to_matrix(*row[4:] / length), row[1:4]
        poses.append(parse_pose(pose, f'{path}, row {index + 1},'))
    return Trajectory(stamps, poses, limits)


def read_scene(folder: Path, rate: float | None, limits: PoseLimits | None) -> Trajectory:
    """Read a folder of 4x4 matrices, `frame-NNNNNN.pose.txt`; the number is the frame's."""
    paths = natural_order(folder.glob('*.pose.txt'))
    found = [re.search(r'(\d+)\.pose\.txt$', path.name) for path in paths]
    if None in found:
        raise ValueError(
            f'{paths[found.index(None)]} has no frame number, expected frame-NNNNNN.pose.txt')
    return Trajectory(frame_times([int(each[1]) for each in found], rate),
                      [read_pose(path) for path in paths], limits)


def read_extrinsics(
        path: Path, rate: float | None, camera: int, limits: PoseLimits | None) -> Trajectory:
    """Read extrinsic.txt of Virtual KITTI 2, which holds camera_T_world by frame and camera."""
    rows = {int(frame): row for (frame, own), row in read_camera_rows(path, 16).items()
            if own == camera}
    if not rows:
        raise FileNotFoundError(f'{path} has no pose of camera {camera}')
    return Trajectory(
        frame_times(rows, rate),
        [np.linalg.inv(parse_pose(row, f'{path}, frame {frame},')) for frame, row in rows.items()],
        limits)


def read_oxts(folder: Path, camera: int, limits: PoseLimits | None) -> Trajectory:
    """Read the poses of a KITTI drive's camera at its images; images without packet have none."""
    drive = KittiDrive(folder, camera)
    poses = [camera_pose(drive, path.stem) for path in drive.image_paths]
    known = [(stamp, pose) for stamp, pose in zip(drive.stamps, poses) if pose is not None]
    if not known:
        raise FileNotFoundError(f'{folder} has no OXTS packet of an image')
    return Trajectory(*zip(*known), limits)


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """Write a trajectory as rows of time in seconds, x y z in metres and quaternion x y z w."""
    lines = []
    for stamp, pose in trajectory:
        values = (*pose[:3, 3].tolist(), *quaternion(pose[:3, :3]))
        lines.append(f'{stamp // SECOND}.{stamp % SECOND:09} '
                     + ' '.join(f'{value:.9g}' for value in values))
    write_text(path, '\n'.join([*lines, '']))


def parse_seconds(word: str, path: Path) -> int:
    """Return a time in seconds, as text, in nanoseconds."""
    try:
        return round(Fraction(word) * SECOND)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f'{path} has the time {word!r}, expected seconds') from error


def quaternion_to_matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Return the rotation matrix of a unit quaternion, float64 (3, 3)."""
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])
