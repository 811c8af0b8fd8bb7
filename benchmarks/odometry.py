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
Measure visual odometry against true poses, with and without the camera's height.

    python benchmarks/odometry.py sequences/01/image_0 --poses sequences/01/poses.txt
    python benchmarks/odometry.py --streets 2
    python benchmarks/odometry.py seq-01 --model indoor --sensor-depth
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
import time

import numpy as np
from sync_perception.mapping.odometry import VisualOdometry
from sync_perception.mapping.offline.frame_sources import (
    CameraArguments,
    FrameSource,
    open_source,
)
from sync_perception.mapping.pose_files import read_trajectory
from sync_perception.mapping.trajectory import angle, Trajectory
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.predictor import Predictor
from sync_perception.street_world import StreetWorld
from sync_perception.street_world.layout import STREET_RATE
from sync_perception.types import Frame

STEP = 10.0
"""Length of the way over which the relative error is measured, metres."""
SEED, SIZE = 900_031, (375, 1242)
"""First of the rendered drives, and the size of their images."""
SENSOR = np.float32(0.01)
"""Standard deviation of a sensor's depth divided by depth."""


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


Frames = Iterable[tuple[Frame, np.ndarray | None]]
"""Frames, each with the depth of a sensor if that is to be used."""


def measure(title: str, frames: Frames, truth: Trajectory, predictor: Predictor,
            mounts: dict[str, Mount | None]) -> None:
    """Run the network once and odometry with each of the mounts, and print their errors."""
    made = {name: VisualOdometry(predictor.labels, mount=mount)
            for name, mount in mounts.items()}
    seconds, count = 0.0, 0
    for frame, sensor in frames:
        prediction = predictor.predict(frame, predictor.available - {'normals'})
        if sensor is not None:
            prediction = replace(prediction, depth=sensor, uncertainty=SENSOR * sensor)
        for odometry in made.values():
            start = time.process_time()
            odometry.update(frame, prediction)
            seconds += time.process_time() - start
        count += 1
    for name, odometry in made.items():
        values = {**errors(odometry.trajectory, truth),
                  'frames without pose': count - len(odometry.trajectory)}
        print(f'{title}, {name}:', ', '.join(
            f'{key} {value:.3g}' for key, value in values.items()))
    print(f'{title}: {1000 * seconds / count / len(made):.1f} ms of processor time a frame, '
          'beside the network')


def street(seed: int, count: int) -> tuple[Frames, Trajectory]:
    """Return the frames of a rendered drive, 10 per second, and its poses."""
    world, truth = StreetWorld(seed, SIZE, frames=count), Trajectory()
    for index in range(count):
        truth.append(int(index * 1e9 / STREET_RATE), world.pose(index))
    return ((world.render(index).frame, None) for index in range(count)), truth


def recorded(source: FrameSource, count: int | None, sensor: bool) -> Frames:
    """Yield the frames of a recording."""
    for index, frame in source.frames(0, 1):
        if index == count:
            return
        yield frame, source.sensor_depth(index) if sensor else None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, nargs='?', help='folder of images or recording')
    parser.add_argument('--poses', help='file of the true poses, if the source has none')
    parser.add_argument('--fx', type=float)
    parser.add_argument('--sensor-depth', action='store_true')
    parser.add_argument('--streets', type=int, default=0, help='number of rendered drives')
    parser.add_argument('--height', type=float, default=1.65)
    parser.add_argument('--pitch', type=float, default=np.radians(1.2))
    parser.add_argument('--model', default=None)
    parser.add_argument('--frames', type=int)
    options = parser.parse_args()
    predictor = Predictor(options.model)
    mounts = {'predicted depth': None, f'height {options.height:g} m': Mount(options.height),
              'height and pitch': Mount(options.height, options.pitch)}
    for index in range(options.streets):
        measure(f'street {index}', *street(SEED + index, options.frames or 30), predictor,
                {name: mounts[name] for name in list(mounts)[:2]})
    if options.source is None:
        return
    source = open_source(options.source, CameraArguments(options.fx))
    truth = read_trajectory(options.poses, source.rate) if options.poses else source.trajectory()
    if truth is None:
        parser.error(f'poses: {source.title} comes without poses, expected a file')
    if options.sensor_depth:
        mounts = {'depth of the sensor': None}
    measure(source.title, recorded(source, options.frames, options.sensor_depth), truth, predictor,
            mounts)


if __name__ == '__main__':
    main()
