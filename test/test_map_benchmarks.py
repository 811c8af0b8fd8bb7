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

"""What the benchmarks of odometry and clean clouds measure, on known answers."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from sync_perception.mapping.trajectory import Trajectory

FOLDER = Path(__file__).resolve().parents[1] / 'benchmarks'


def load(name: str):
    """Return a script as a module."""
    spec = spec_from_file_location(name, FOLDER / f'{name}.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_errors_of_a_drive_that_is_too_short():
    """A way of 30 m whose length is found 10 % too small."""
    stamps = [index * 10 ** 8 for index in range(31)]

    def straight(step: float) -> Trajectory:
        poses = [np.eye(4) for _ in stamps]
        for index, pose in enumerate(poses):
            pose[2, 3] = step * index
        return Trajectory(stamps, poses)
    found = load('odometry').errors(straight(0.9), straight(1.0))
    assert found['way [m]'] == pytest.approx(30)
    assert found['end error [%]'] == pytest.approx(10)
    assert found['error over 10 m [%]'] == pytest.approx(10)
    assert found['rotation [degrees]'] == pytest.approx(0)
    assert found['length / true length'] == pytest.approx(0.9)


def test_points_between_two_surfaces_hang():
    """Points on either surface, and those far from the edge, do not."""
    truth = np.full((20, 40), 10.0)
    truth[:, 20:] = 30.0
    depth = truth.copy()
    depth[5, 20] = depth[5, 35] = 18.0  # at the edge, and far from it
    depth[6, 20] = 11.0  # on the nearer surface
    hanging = load('clean_clouds').hanging(depth, truth)
    assert hanging[5, 20] and hanging.sum() == 1
