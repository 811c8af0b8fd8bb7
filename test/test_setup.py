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


"""Installs the package with pip into an empty folder, and uses what arrived there."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ('setup.py', 'setup.cfg', 'package.xml', 'README.md', 'sync_perception', 'resource',
           'config', 'launch')
NODES = ('sync_perception', 'perception_node', 'mapping_node', 'replay_node')


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
    """Build from a copy, which keeps the source tree clean, and install without dependencies."""
    pytest.importorskip('pip')
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('target')
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(path, source / name)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps',
         '--no-build-isolation', '--no-compile', '--target', str(target), str(source)],
        check=True, timeout=100)
    return target


def test_every_shared_file_arrives(installed):
    """Configuration, launch files and the manifest are where ROS 2 and the package look."""
    share = installed / 'share' / 'sync_perception'
    for top in ('config', 'launch'):
        expected = {path.relative_to(ROOT) for path in (ROOT / top).rglob('*')
                    if path.is_file() and '__pycache__' not in path.parts}
        arrived = {path.relative_to(share) for path in (share / top).rglob('*')
                   if path.is_file()}
        assert arrived == expected
        assert arrived
    assert (share / 'package.xml').is_file()
    index = installed / 'share' / 'ament_index' / 'resource_index' / 'packages'
    assert (index / 'sync_perception').is_file()


def test_every_module_and_weight_arrives(installed):
    """Nothing that the package imports or loads is left behind, and no test comes along."""
    package = ROOT / 'sync_perception'
    expected = {path.relative_to(ROOT) for path in package.rglob('*')
                if path.is_file() and '__pycache__' not in path.parts}
    assert {path for path in expected if not (installed / path).is_file()} == set()
    assert not (installed / 'test').exists()


def test_commands_are_on_the_path(installed):
    """Pip puts the commands into bin/, although colcon wants them in lib/sync_perception."""
    assert {path.name for path in (installed / 'bin').iterdir()} >= set(NODES)


def test_configuration_is_found(installed, tmp_path):
    """The installed package reads its own label spaces, not those of the source tree."""
    code = ('from sync_perception import labels, resources\n'
            'print(resources.config_folder())\n'
            'print(len(labels.LabelSpace.load("driving")))')
    environment = {name: value for name, value in os.environ.items()
                   if name != 'AMENT_PREFIX_PATH'}
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**environment, 'PYTHONPATH': str(installed)}, check=True)
    folder, classes = result.stdout.split()
    assert Path(folder) == installed / 'share' / 'sync_perception' / 'config'
    assert int(classes) == 20
