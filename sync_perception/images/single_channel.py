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

"""Reading of PNG files with one channel: grey values and 16-bit depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.images.reading import read_stored

Size = tuple[int, int]


def read_gray(
        path: str | Path, dtype: type[np.generic], size: Size | None, meaning: str) -> np.ndarray:
    """
    Read a single-channel PNG as it is stored.

    :param path: the file.
    :param dtype: np.uint8 or np.uint16.
    :param size: expected height and width: those of the image; None for any.
    :param meaning: content of the file, for the error message.
    :return: array (H, W) of that dtype.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is broken or has another depth, channel count or size.
    """
    array = read_stored(path)
    channels = 1 if array.ndim == 2 else array.shape[2]
    if array.dtype != dtype or channels != 1:
        raise ValueError(
            f'{path} has {channels} channel(s) of {array.dtype.itemsize * 8} bits, expected one '
            f'of {np.dtype(dtype).itemsize * 8} bits ({meaning})')
    if size is not None and array.shape != tuple(size):
        raise ValueError(
            f'{path} is {array.shape[1]}x{array.shape[0]}, expected {size[1]}x{size[0]} as its '
            'photograph')
    return array


def read_depth(
        path: str | Path, size: Size | None, units_per_metre: float,
        infinite: int | None = None) -> np.ndarray:
    """
    Read a 16-bit depth PNG; 0 means unknown.

    :param path: the file.
    :param size: expected height and width; None for any.
    :param units_per_metre: 256 for KITTI, 100 for Virtual KITTI 2.
    :param infinite: stored value of the sky, if there is one.
    :return: float32 (H, W), metres, NaN where unknown, inf where sky.
    """
    stored = read_gray(path, np.uint16, size, 'depth, 0 unknown')
    depth = stored.astype(np.float32) / np.float32(units_per_metre)
    depth[stored == 0] = np.nan
    if infinite is not None:
        depth[stored == infinite] = np.inf
    return depth
