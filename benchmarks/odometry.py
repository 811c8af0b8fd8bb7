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
Measure visual odometry on a sequence with true poses, with and without the camera's height.

    python benchmarks/odometry.py sequences/01/image_0 --poses sequences/01/poses.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path
import time

import numpy as np
from sync_perception.mapping.odometry import VisualOdometry
from sync_perception.mapping.offline.frame_sources import CameraArguments, open_source
from sync_perception.mapping.pose_files import read_trajectory
from sync_perception.mapping.trajectory import angle, Trajectory
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.predictor import Predictor

STEP = 10.0
"""Length of the way over which the relative error is measured, metres."""


def errors(found: Trajectory, truth: Trajectory) -> dict[str, float]:
    """Return the errors of a trajectory; both begin at their own first pose."""
    stamps = found.stamps
    true = [truth.at(stamp).world_T_camera for stamp in stamps]
    way = np.append(0, np.cumsum(
        [np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in zip(true, true[1:])]))
    last = difference(found.poses, true, 0, len(true) - 1)
    relative = []
    for first in range(len(true)):
        end = int(np.searchsorted(way, way[first] + STEP))
        if end < len(true):
            error = np.linalg.norm(difference(found.poses, true, first, end)[:3, 3])
            relative.append(error / (way[end] - way[first]))
    return {'way [m]': way[-1], 'end error [%]': 100 * np.linalg.norm(last[:3, 3]) / way[-1],
            f'error over {STEP:g} m [%]': 100 * float(np.mean(relative)) if relative else np.nan,
            'rotation [degrees]': float(np.degrees(angle(last[:3, :3]))),
            'length / true length': float(np.linalg.norm(
                found.poses[-1][:3, 3] - found.poses[0][:3, 3]) / np.linalg.norm(
                true[-1][:3, 3] - true[0][:3, 3]))}


def difference(found: list[np.ndarray], true: list[np.ndarray], first: int, last: int
               ) -> np.ndarray:
    """Return the error of the motion between two frames, (4, 4)."""
    motions = [np.linalg.inv(poses[first]) @ poses[last] for poses in (found, true)]
    return np.linalg.inv(motions[1]) @ motions[0]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path)
    parser.add_argument('--poses', help='file of the true poses, if the source has none')
    parser.add_argument('--fx', type=float)
    parser.add_argument('--height', type=float, default=1.65)
    parser.add_argument('--pitch', type=float, default=np.radians(1.2))
    parser.add_argument('--model', default=None)
    parser.add_argument('--frames', type=int)
    options = parser.parse_args()
    source = open_source(options.source, CameraArguments(options.fx))
    truth = read_trajectory(options.poses, source.rate) if options.poses else source.trajectory()
    if truth is None:
        parser.error(f'poses: {source.title} comes without poses, expected a file')
    predictor = Predictor(options.model)
    mounts = {'predicted depth': None, f'height {options.height:g} m': Mount(options.height),
              'height and pitch': Mount(options.height, options.pitch)}
    made = {name: VisualOdometry(predictor.labels, mount=mount)
            for name, mount in mounts.items()}
    seconds, count = 0.0, 0
    for index, frame in source.frames(0, 1):
        if options.frames is not None and index >= options.frames:
            break
        prediction = predictor.predict(frame, predictor.available - {'normals'})
        for odometry in made.values():
            start = time.process_time()
            odometry.update(frame, prediction)
            seconds += time.process_time() - start
            count += 1
    for name, odometry in made.items():
        values = errors(odometry.trajectory, truth)
        print(f'{name:18}', ', '.join(f'{key} {value:.3g}' for key, value in values.items()))
    print(f'{1000 * seconds / count:.1f} ms of processor time a frame, beside the network')


if __name__ == '__main__':
    main()
