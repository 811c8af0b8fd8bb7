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

"""Frames of a webcam."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.mapping.offline.frame_sources import CameraArguments
from sync_perception.mapping.offline.viewing import Webcam


class FakeCapture:
    """Camera of two images, one blue and one red."""

    def __init__(self, number):
        self.images = [] if number else [
            np.full((8, 12, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255))]

    def isOpened(self):
        """Return whether there is such a camera."""
        return bool(self.images)

    def read(self):
        """Return whether there is another image, and the image."""
        return (True, self.images.pop(0)) if self.images else (False, None)


def test_a_webcam_gives_frames_with_times_and_intrinsics(monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', FakeCapture)
    (first, blue), (second, red) = Webcam(0, CameraArguments(fx=20.0)).frames(0, 1)
    assert (first, second) == (0, 1) and 0 < blue.stamp <= red.stamp
    assert blue.image[0, 0].tolist() == [0, 0, 255] and red.image[0, 0].tolist() == [255, 0, 0]
    assert blue.K.tolist() == [[20, 0, 5.5], [0, 20, 3.5], [0, 0, 1]]
    with pytest.raises(ValueError, match='webcam 1'):
        Webcam(1, CameraArguments())
