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


"""Frames of a bag, as programs that work on frames read them."""

from __future__ import annotations

from camera_bags import image, info, PERIOD, START, write_bag
import numpy as np
from sync_perception.mapping.offline.frame_sources import CameraArguments
from sync_perception.ros.bags.frames import BagFrames


def test_frames_of_a_bag(tmp_path):
    """Images have the pixels, calibration and time that were recorded; a broken one is given."""
    messages = [('/camera/image', START, b'none')]
    for index in range(1, 4):
        time = START + index * PERIOD
        messages += [('/camera/image', time, image(index)),
                     ('/camera/camera_info', time, info(index))]
    source = BagFrames(write_bag(tmp_path / 'bag', messages), CameraArguments())
    found = dict(source.frames(0, 1))
    assert source.count == 4 and list(found) == [0, 1, 2, 3]
    assert isinstance(found[0], ValueError)
    assert np.array_equal(found[2].image.ravel(), np.frombuffer(image(2).data, np.uint8))
    assert (found[2].stamp, found[2].K[0, 0]) == (START + 2 * PERIOD, 30)
    assert list(dict(source.frames(1, 2))) == [1, 3]
