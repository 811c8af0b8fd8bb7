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

"""Calibration files as ROS's camera_calibration writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml


def read_calibration(path: str | Path) -> tuple[np.ndarray, tuple[int, int]]:
    """
    Read the intrinsics of a calibration YAML.

    They are those of the rectified image (`projection_matrix`) where the file has them, as in
    the node; the images are taken to be rectified.

    :return: K float64 (3, 3), and the height and width that it belongs to.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if an entry is missing or is not what it should be.
    """
    try:
        entries = yaml.safe_load(Path(path).read_text())
        K = np.array(entries['camera_matrix']['data'], np.float64).reshape(3, 3)
        if 'projection_matrix' in entries:
            P = np.array(entries['projection_matrix']['data'], np.float64).reshape(3, 4)
            K = P[:, :3] if P[0, 0] > 0 else K
        if not (np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0):
            raise ValueError(f'intrinsics {K.tolist()}')
        size = int(entries['image_height']), int(entries['image_width'])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path}: expected image_width, image_height, camera_matrix with 9 data, '
            f'optionally projection_matrix with 12; got {error!r}') from error
    return K, size
