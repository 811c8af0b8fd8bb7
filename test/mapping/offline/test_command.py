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

"""Poses that the command `map` uses: at which times, and of which camera."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from sync_perception.mapping.offline.command import MapOptions, poses_of
from sync_perception.mapping.offline.frame_sources import CameraArguments

ROWS = ['frame cameraID'] + [
    f'{frame} {camera} 1 0 0 {-camera} 0 1 0 0 0 0 1 0 0 0 0 1'
    for frame in range(2) for camera in (0, 3)]


def test_poses_without_times_have_the_rate_of_the_source(tmp_path):
    """Frames of a video at 25 Hz find the poses of their rows; `rate` overrides it."""
    poses = tmp_path / 'poses.txt'
    poses.write_text('1 0 0 0 0 1 0 0 0 0 1 0\n' * 3)
    video = SimpleNamespace(rate=25.0)
    for arguments, period in ((CameraArguments(), 40), (CameraArguments(rate=5.0), 200)):
        found = poses_of(video, arguments, MapOptions(tmp_path, str(poses)))
        assert found.stamps == [0, period * 10 ** 6, 2 * period * 10 ** 6]


def test_poses_are_those_of_the_named_camera(tmp_path):
    """A file with the poses of several cameras gives those of the camera that is mapped."""
    poses = tmp_path / 'extrinsic.txt'
    poses.write_text('\n'.join(ROWS))
    for number, place in ((None, 0), (3, 3)):
        found = poses_of(SimpleNamespace(rate=None), CameraArguments(number=number),
                         MapOptions(tmp_path, str(poses)))
        assert np.allclose([pose[0, 3] for pose in found.poses], place)
