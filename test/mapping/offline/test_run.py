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


"""Maps of recordings: their files, what is left out, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import signal
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rendered_room import around, Room, SPACE
from sync_perception.mapping.offline import pictures
from sync_perception.mapping.offline.frame_sources import CameraArguments
from sync_perception.mapping.offline.run import map_recording, MapJob
from sync_perception.mapping.pose_files import read_trajectory
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.trajectory import Located, Trajectory
from sync_perception.types import Frame
import yaml

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = MapSettings(voxel=0.12, max_range=8, radius=10, relative_sigma=0.01)
PERIOD = 10 ** 8
POSES = around(16)
TRAJECTORY = Trajectory([index * PERIOD for index in range(len(POSES))], POSES)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Draw small pictures, which takes less time."""
    monkeypatch.setattr(pictures, 'WIDTH', 320)


class RoomSource:
    """The frames of a rendered room; some of them may be broken."""

    title = 'a room'

    def __init__(self, broken: tuple[int, ...] = (), count: int = len(POSES)):
        self.broken, self.count = broken, count

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Yield index and frame."""
        for index in range(start, self.count, stride):
            frame = Room().render(POSES[index % len(POSES)], index * PERIOD)[0]
            yield index, ValueError('cut short') if index in self.broken else frame


def oracle() -> SimpleNamespace:
    """Return a predictor that knows the room."""
    def predict(frame, outputs):
        return Room().render(POSES[frame.stamp // PERIOD % len(POSES)])[1]
    return SimpleNamespace(
        labels=SPACE, available=frozenset({'depth', 'labels', 'confidence'}), predict=predict,
        model_name='oracle', max_depth=100.0)


def run(out: Path, source: RoomSource | None = None, poses=TRAJECTORY, **kwargs):
    """Map the room; return the result and the lines for the user."""
    lines: list[str] = []
    settings = {name: kwargs.pop(name) for name in ('stride', 'frames', 'camera')
                if name in kwargs}
    result = map_recording(
        MapJob(Path('room'), out, SETTINGS, **settings), source or RoomSource(), oracle(), poses,
        lines.append, **kwargs)
    return result, lines


def stored(out: Path) -> dict[int, dict[str, bytes]]:
    """Return everything in the map of a run."""
    semantic_map, _ = SemanticMap.load(out / 'map')
    return {tile: {'keys': keys.tobytes(), **{
        name: array.tobytes() for name, array in values.items()}}
        for tile in semantic_map.tiles() for keys, values in [semantic_map.read_tile(tile)]}


def test_files_of_a_map(tmp_path):
    """Mesh, pictures, grid and trajectory are written, and can be read."""
    result, _ = run(tmp_path / 'out')
    assert (result['frames'], result['fused'], result['resumed']) == (16, 16, 0)
    out = tmp_path / 'out'
    assert {path.name for path in out.iterdir()} == {*result['files'], 'map'}
    poses = read_trajectory(out / 'trajectory.txt')
    assert poses.stamps == TRAJECTORY.stamps
    assert np.allclose(poses.poses, POSES, atol=1e-6)
    above, side = (cv2.imread(str(out / f'{name}.png')) for name in ('above', 'side'))
    for picture, share in ((above, 0.1), (side, 0.1)):
        background = (picture == [30, 26, 24]).all(axis=2)
        assert min(picture.shape[:2]) > 100 and share < 1 - background.mean() < 1
    grid = yaml.safe_load((out / 'grid.yaml').read_text())
    cells = cv2.imread(str(out / grid['image']), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(cells).tolist()) == {0, 205, 254}
    column = int((0 - grid['origin'][0]) / grid['resolution'])
    row = int((1.5 - grid['origin'][1]) / grid['resolution'])
    assert cells[len(cells) - 1 - row, column] == 254
    assert (out / 'map.ply').read_bytes().startswith(b'ply')


def test_frames_without_a_pose_are_counted(tmp_path):
    """Broken frames and frames beyond the poses are left out; the user reads why, once each."""
    result, lines = run(tmp_path, RoomSource(broken=(3, 4), count=20))
    assert result['fused'] == 14
    assert result['left_out'] == {'it is broken': 2, 'there is no pose': 4}
    assert len([line for line in lines if 'cut short' in line]) == 1
    assert len([line for line in lines if 'frame 16 ' in line]) == 1
    result, _ = run(tmp_path / 'part', stride=3, frames=10)
    assert result['fused'] == 4


def test_nothing_to_map_is_an_error(tmp_path):
    """Poses of another time give no map."""
    late = Trajectory([10 ** 15, 10 ** 15 + PERIOD], POSES[:2])
    with pytest.raises(ValueError, match='no pose'):
        run(tmp_path, poses=late)


def test_another_camera_does_not_continue_a_map(tmp_path):
    """Each camera argument that changes the images or their times is named in the refusal."""
    run(tmp_path, camera=CameraArguments(number=2, fx=700.0))
    for name, changed in (('number', {'number': 3}), ('fx', {'fx': 600.0}), ('rate', {'rate': 5}),
                          ('image', {'image': '/left'}),
                          ('camera_info', {'fx': None, 'camera_info': Path('c.yaml')})):
        with pytest.raises(ValueError, match=rf'camera\.{name}'):
            run(tmp_path, camera=CameraArguments(**{'number': 2, 'fx': 700.0, **changed}))


def test_other_settings_do_not_continue_a_map(tmp_path):
    """A folder that was begun with another stride is refused, and the setting is named."""
    run(tmp_path)
    with pytest.raises(ValueError, match='stride'):
        run(tmp_path, stride=2)
    result, lines = run(tmp_path)
    assert result['resumed'] == result['fused'] == 16
    assert any('16 frames' in line for line in lines)


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from pathlib import Path
import test_run
test_run.pictures.WIDTH = 320
number = 0
replace = os.replace
def counting(*args):
    global number
    number += 1
    if number == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*args)
os.replace = counting
test_run.run(Path({out!r}), checkpoint=4{poses})
"""


def odometry():
    """Return a function that gives the poses frame by frame, as odometry does."""
    count = iter(range(len(POSES)))

    def update(frame, prediction):
        return Located(POSES[next(count)])
    return update


@pytest.mark.parametrize(('at', 'way'), [
    pytest.param(5, '', marks=pytest.mark.exhaustive), (14, ''), (14, 'odometry')])
def test_killed_run_continues_to_the_same_map(tmp_path, at, way):
    """A process is killed while it writes; the same command resumes, to the map of one run."""
    out = tmp_path / 'killed'
    paths = [str(ROOT / 'test' / 'helpers'), str(Path(__file__).parent), str(ROOT)]
    code = KILLED.format(paths=paths, at=at, out=str(out),
                         poses=', poses=test_run.odometry()' if way else '')
    killed = subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=60,
                            check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    result, _ = run(out, poses=odometry() if way else TRAJECTORY)
    assert result['fused'] == 16 and result['resumed'] == {5: 0, 14: 4}[at]
    run(tmp_path / 'once')
    assert stored(out) == stored(tmp_path / 'once')
    for name in ('map.ply', 'trajectory.txt', 'grid.pgm'):
        assert (out / name).read_bytes() == (tmp_path / 'once' / name).read_bytes()
    named = json.loads((out / 'map' / 'map.json').read_text())['tiles'].values()
    assert {path.name for path in (out / 'map' / 'tiles').iterdir()} == set(named)
