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

"""Reading of video files frame by frame, as stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from sync_perception.images.headers import check_size, MAX_PIXELS
from sync_perception.images.orientation import OF_DEGREES

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.webm')


class Video:
    """
    Video file.

    :param path: the file.
    :param max_pixels: limit of the pixels of a frame.
    :ivar size: height and width of the frames as stored.
    :ivar rate: frames per second; None if the file does not state it.
    :ivar count: number of frames stated by the file; None if it is unknown before the end.
    :ivar orientation: EXIF orientation of the frames.
    :raises ValueError: if OpenCV cannot read it, its frames cannot be from a camera, or their
        rotation is not a multiple of 90 degrees.
    """

    def __init__(self, path: str | Path, max_pixels: int = MAX_PIXELS):
        self.path = Path(path)
        capture = self._open()
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        degrees = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        self.size = (round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
                     round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
        capture.release()
        self.rate = rate if rate > 0 else None
        self.count = int(count) if 0 < count < 2 ** 53 else None
        if degrees not in OF_DEGREES:
            raise ValueError(
                f'{path} is rotated by {degrees} degrees, expected one of '
                f'{", ".join(map(str, OF_DEGREES))}')
        self.orientation = OF_DEGREES[degrees]
        check_size(self.size, max_pixels)

    def frames(self, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the frames from index `start` on: uint8 (H, W, 3) RGB, as stored."""
        capture, index = self._open(), 0
        try:
            while capture.grab():  # seeking is not exact in many formats, grabbing is
                if index >= start:
                    there, bgr = capture.retrieve()
                    if not there:
                        return
                    yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                index += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise ValueError(f'{self.path} is not a video that OpenCV can read')
        # OpenCV would rotate the frames, but not their calibration
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        return capture
