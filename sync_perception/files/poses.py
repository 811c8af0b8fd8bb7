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


"""Files of camera poses: rigid transforms as rows of numbers, checked when they are read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np


def parse_pose(numbers: np.ndarray, source: str) -> np.ndarray:
    """
    Return the pose of its matrix entries.

    :param numbers: 16 numbers, row by row.
    :param source: source of the numbers, for the error message.
    :return: float64 (4, 4).
    :raises ValueError: if they do not form a rigid transform.
    """
    pose = np.asarray(numbers, np.float64).reshape(4, 4)
    rotation = pose[:3, :3]
    if not (np.isfinite(pose).all() and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2)
            and np.linalg.det(rotation) > 0 and (pose[3] == (0, 0, 0, 1)).all()):
        raise ValueError(f'{source} holds {pose.tolist()}, expected a rigid transform')
    return pose


def read_pose(path: Path) -> np.ndarray:
    """
    Read one pose, a 4x4 matrix as text.

    :return: float64 (4, 4).
    :raises ValueError: if the file does not contain a rigid transform.
    """
    words = path.read_text().split()
    try:
        numbers = np.array(words, np.float64).reshape(16)
    except ValueError as error:
        raise ValueError(f'{path} holds {len(words)} words, expected a 4x4 matrix') from error
    return parse_pose(numbers, str(path))


@lru_cache(maxsize=16)  # extrinsics are read for each frame
def read_camera_rows(path: Path, columns: int) -> dict[tuple[str, int], np.ndarray]:
    """
    Read a table of Virtual KITTI 2 with one header line and rows `frame camera number...`.

    :param path: intrinsic.txt or extrinsic.txt.
    :param columns: count of numbers after frame and camera.
    :return: float64 (columns,) by frame (a five-digit string) and camera.
    :raises ValueError: if a row has another number of columns, or anything but numbers.
    """
    try:
        table = np.loadtxt(path, skiprows=1, ndmin=2)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    if table.shape[1] != columns + 2:
        raise ValueError(
            f'{path} has {table.shape[1]} columns, expected frame, camera and {columns} numbers')
    return {(f'{int(row[0]):05}', int(row[1])): row[2:] for row in table}
