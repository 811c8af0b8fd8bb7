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


"""Small pictures and their messages, written by hand."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

SIZE = (32, 48)


def smooth_image(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture whose colours change slowly, so that demosaicing is almost exact."""
    v, u = np.mgrid[:size[0], :size[1]]
    channels = [60 + 2 * u, 200 - 3 * v, 40 + u + 2 * v]
    return np.stack(channels, axis=-1).astype(np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """Write pixels (H, W[, C]) to a message by hand, row by row."""
    rng = np.random.default_rng(7)
    order = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = [row.tobytes() + rng.bytes(padding) for row in order]
    header = Header(frame_id='camera')
    header.stamp.sec, header.stamp.nanosec = 12, 345
    return Image(
        header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
        step=len(rows[0]), is_bigendian=int(big), data=array.array('B', b''.join(rows)))
