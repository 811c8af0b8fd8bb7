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
Files of a sequence of 7-Scenes: images, depth and intrinsics of a hand-held Kinect.

Source: Shotton et al., "Scene Coordinate Regression Forests for Camera Relocalization in RGB-D
Images", CVPR 2013, and its description of the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.geometry import pinhole
from sync_perception.images.reading import images_by_stem
from sync_perception.images.single_channel import read_depth, Size

UNITS_PER_METRE = 1000
NO_DEPTH = 65535
SEVEN_SCENES_K = pinhole(585, 585, 320, 240)
"""The data set's default intrinsics, for 640x480."""


def scene_images(folder: Path) -> dict[str, Path]:
    """Return the images of a sequence by the names of their frames, such as frame-000000."""
    return images_by_stem(folder, '.color')


def scene_depth(folder: Path, frame: str, size: Size | None = None) -> np.ndarray | None:
    """
    Read the raw depth of a frame, which is not registered to the image.

    :param folder: the sequence.
    :param frame: name of the frame.
    :param size: expected height and width; None for any.
    :return: float32 (H, W), metres, NaN where unknown; None if there is no file.
    :raises ValueError: if the file is broken.
    """
    path = folder / f'{frame}.depth.png'
    if not path.is_file():
        return None
    depth = read_depth(path, size, UNITS_PER_METRE, infinite=NO_DEPTH)
    depth[np.isinf(depth)] = np.nan
    return depth
