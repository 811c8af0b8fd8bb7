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


"""The interface of a replay's sources: a recording, and one image of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sensor_msgs.msg import CameraInfo, Image


@dataclass(frozen=True)
class Shot:
    """
    One recorded image.

    :param image: uint8 (H, W, 3), RGB; or a recorded message, whose header is replaced.
    :param stamp: acquisition time in nanoseconds.
    :param recorded: when it was recorded, nanoseconds; None where only the stamps are known.
    :param camera_info: its calibration; None for that of the source.
    :param frame_id: the camera's optical frame; None for that of the parameters.
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


class Source(Protocol):
    """
    A recording.

    :ivar title: what it is, for people.
    :ivar camera_info: the calibration of those of its images that have none of their own; the
        header is left empty.
    :ivar count: how many frames there are; None where only reading to the end tells.
    """

    title: str
    camera_info: CameraInfo | None

    count: int | None

    def shots(self, start: int) -> Iterator[Shot]:
        """Read the frames one by one, from this one on."""
