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


"""Reads photographs from disk: RGB, whole, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.ppm', '.bmp', '.webp', '.tif', '.tiff')


def read_image(path: str | Path) -> np.ndarray:
    """
    Read a photograph as uint8 (H, W, 3) RGB, whatever its format; grey becomes three channels.

    An orientation in the file's metadata is not applied: the intrinsics belong to the pixels as
    they are stored.

    :param path: the file.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is empty, truncated or not an image.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.cvtColor(decode(path, flags), cv2.COLOR_BGR2RGB)


def decode(path: str | Path, flags: int) -> np.ndarray:
    """
    Decode an image file with OpenCV, and say what is wrong where OpenCV only returns None.

    :param path: the file.
    :param flags: cv2.IMREAD_* flags.
    :return: the array as OpenCV gives it (colour as BGR).
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is empty, truncated or not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no image file {path}')
    data = np.fromfile(path, dtype=np.uint8)
    array = cv2.imdecode(data, flags) if data.size else None
    if array is None:
        raise ValueError(
            f'{path} ({data.size} bytes) is truncated or not an image that OpenCV can read')
    return array
