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


"""Interface of replay sources: a recording, and one of its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sensor_msgs.msg import CameraInfo, Image


@dataclass(frozen=True)
class Shot:
    """
    Recorded image.

    :param image: uint8 (H, W, 3), RGB; or a recorded message, whose header is replaced.
    :param stamp: acquisition time in nanoseconds.
    :param recorded: recording time in nanoseconds; None if only the stamps are known.
    :param camera_info: calibration of the image; None for that of the source.
    :param frame_id: optical frame of the camera; None for that in the parameters.
    """

    image: np.ndarray | Image
    stamp: int
    recorded: int | None = None
    camera_info: CameraInfo | None = None
    frame_id: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if isinstance(self.image, Image):
            return self.image.height, self.image.width
        return self.image.shape[:2]


class ShotSource(Protocol):
    """
    Recording that a replay publishes.

    :ivar title: description for the user.
    :ivar camera_info: calibration of the images without their own; its header is empty.
    :ivar count: number of frames; None if it is unknown before the end.
    """

    title: str
    camera_info: CameraInfo | None

    count: int | None

    def shots(self, start: int) -> Iterator[Shot]:
        """Yield the frames from index `start` on."""
