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

"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import logging
import os
from pathlib import Path
import struct

import cv2
import numpy as np
import pytest

# Imported by a test or by what it tests, and not named by package.xml: they come with the extras
# of setup.py. `colcon test` in a ROS 2 workspace may find none of them.
EXTRAS = ('h5py', 'jsonargparse', 'kornia', 'lightning', 'matplotlib', 'mcap', 'mcap_ros2', 'onnx',
          'onnx_ir', 'onnxruntime', 'onnxscript', 'open3d', 'PIL', 'scipy', 'tensorboard',
          'torchmetrics', 'transformers')

DATA = Path(os.environ.get('SYNC_PERCEPTION_DATA')
            or Path(__file__).resolve().parents[1] / '..' / 'shared' / 'data').resolve()

# Choosing the fastest backend converts each of the many small models first, which takes seconds.
# Tests of other backends name them.
os.environ.setdefault('SYNC_PERCEPTION_BACKEND', 'torch')

# The plugin launch_pytest imports launch, after which new loggers do not propagate to the root
# logger, where caplog listens.
logging.setLoggerClass(logging.Logger)


def missing_extra(error: BaseException | None) -> str:
    """Return the reason to skip what raised this error: a library of the extras is missing."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__
    name = (error.name or '').partition('.')[0] if error is not None else ''
    return f'{name} is not installed (setup.py, extras_require)' if name in EXTRAS else ''


class ModuleThatMayLackExtras(pytest.Module):
    """Skips the tests of a file that imports what is not installed."""

    def collect(self):
        """Collect the tests, or skip the file with the reason."""
        try:
            return list(super().collect())
        except self.CollectError as error:
            if missing_extra(error):
                pytest.skip(missing_extra(error))
            raise


def pytest_pycollect_makemodule(module_path, parent):
    """Let every file of tests be one that may lack extras."""
    return ModuleThatMayLackExtras.from_parent(parent, path=module_path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup():
    """Skip a test of which a fixture imports what is not installed."""
    _skip_without_extras((yield))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call():
    """Skip a test that imports what is not installed."""
    _skip_without_extras((yield))


def _skip_without_extras(outcome) -> None:
    reason = missing_extra(outcome.excinfo[1]) if outcome.excinfo else ''
    if reason:
        outcome.force_exception(pytest.skip.Exception(reason))


def pytest_addoption(parser):
    """Add the option for all that takes minutes."""
    parser.addoption('--exhaustive', action='store_true', help=(
        'also run the tests marked exhaustive: of each kind of network more than one'))


def pytest_collection_modifyitems(config, items):
    """Leave out what is exhaustive, unless it is asked for."""
    if config.getoption('--exhaustive'):
        return
    left = [item for item in items if item.get_closest_marker('exhaustive')]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker('exhaustive')]


@pytest.fixture(scope='session')
def data_root() -> Path:
    """Return the folder of real recordings, or skip."""
    if not DATA.is_dir():
        pytest.skip(f'no real recordings at {DATA} (set SYNC_PERCEPTION_DATA)')
    return DATA


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """Return an empty folder in which the package keeps what it can compute again."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'sync_perception'


@pytest.fixture(scope='session')
def shared_cache_folder(tmp_path_factory) -> Path:
    """Return a folder for networks that are converted once for all tests, which takes seconds."""
    return tmp_path_factory.mktemp('shared_cache')


@pytest.fixture
def shared_cache(shared_cache_folder, monkeypatch) -> Path:
    """Let a test find the networks that others have converted."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(shared_cache_folder))
    return shared_cache_folder / 'sync_perception'


@pytest.fixture(scope='session')
def small_model(tmp_path_factory) -> Path:
    """Save a small synchronised model with random weights, and return its folder."""
    from sync_perception.labels import LabelSpace
    from sync_perception.models import build_model, hub, ModelConfig
    from tiny_branch import TINY
    import torch
    torch.manual_seed(0)
    config = ModelConfig(
        'sync', {'depth': TINY, 'semantics': TINY}, LabelSpace.load('driving').to_dict(),
        input_pixels=64 * 96)
    folder = tmp_path_factory.mktemp('model')
    hub.save(build_model(config), folder)
    return folder


def write_video(path: Path, code: str, values=(20, 60, 100, 140)) -> bytes:
    """Write a video of 64x32 grey frames, whose corner at the top left is white; skip if not."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10.0, (64, 32))
    if not writer.isOpened():
        pytest.skip('this build of OpenCV writes no such video')
    for value in values:
        frame = np.full((32, 64, 3), value, np.uint8)
        frame[:8, :16] = 255
        writer.write(frame)
    writer.release()
    return path.read_bytes()


@pytest.fixture
def turned_video(tmp_path):
    """Return what writes a video that is to be turned clockwise by so many degrees."""
    def write(degrees: int, name: str = 'turned.mp4') -> Path:
        path = tmp_path / name
        data = bytearray(write_video(path, 'mp4v'))
        place = data.index(b'tkhd') + 44  # of the matrix in the track's header
        cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
        one = 1 << 16
        struct.pack_into('>9i', data, place, cos * one, sin * one, 0, -sin * one, cos * one, 0,
                         0, 0, 1 << 30)
        path.write_bytes(data)
        return path
    return write


@pytest.fixture
def live_video(tmp_path) -> Path:
    """Return a video of four frames whose header states no length, as live streams have none."""
    path = tmp_path / 'live.mkv'
    data = bytearray(write_video(path, 'MJPG'))
    place = data.index(b'\x44\x89\x88')  # EBML: duration, eight bytes
    data[place:place + 3] = b'\xec\x89\x00'  # void, nine bytes
    path.write_bytes(data)
    return path


@pytest.fixture
def write_image():
    """Return a function that writes an array, colour as RGB, and makes the folders above it."""
    def write(path: Path, array: np.ndarray) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = array[..., ::-1] if array.ndim == 3 else array
        assert cv2.imwrite(str(path), stored)
        return array
    return write


@pytest.fixture
def random_image():
    """Return a function that makes a photograph of noise, different at each call."""
    generator = np.random.default_rng(0)

    def make(height: int = 8, width: int = 12) -> np.ndarray:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return make
