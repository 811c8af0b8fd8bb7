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


"""A disk that is full while a bag is written: a real one, where the system lets tests mount it."""

from __future__ import annotations

from pathlib import Path
import subprocess

from bag_checks import check_bag, write_drive
from bag_runs import content, run
from camera_bags import camera_messages, write_bag
import pytest
from sync_perception.ros.bags.kitti import kitti_to_bag

pytest.importorskip('mcap', reason='bags are checked with the package mcap')


@pytest.fixture
def disk(tmp_path):
    """Return a function that mounts a small disk, or gives the same disk another size."""
    folder = tmp_path / 'disk'
    folder.mkdir()

    def mount(kilobytes: int) -> Path:
        options = f'size={kilobytes}k' + (',remount' if folder.is_mount() else '')
        done = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)], capture_output=True,
            check=False)
        if done.returncode:
            pytest.skip(f'no disk can be mounted: {done.stderr.decode().strip()}')
        return folder
    yield mount
    if folder.is_mount():
        # lazily: a reader of the checks may not have closed its file yet
        subprocess.run(['umount', '--lazy', str(folder)], check=True)


def disks(quick: list[tuple[str, int]], sizes: tuple[int, ...]) -> list:
    """Return storages and sizes of the disk as parameters; all but some are exhaustive."""
    return [pytest.param(storage, size, marks=(
                () if (storage, size) in quick else pytest.mark.exhaustive))
            for storage in ('mcap', 'sqlite3') for size in sizes]


@pytest.mark.parametrize('storage, kilobytes', disks(
    [('mcap', 12), ('mcap', 60), ('sqlite3', 4), ('sqlite3', 128)], (4, 12, 60, 128)))
def test_process_bag_goes_on_when_there_is_room_again(tmp_path, disk, storage, kilobytes):
    source = write_bag(tmp_path / 'in', camera_messages(14))
    folder = disk(kilobytes)
    with pytest.raises(OSError, match=f'{folder}/.*{folder}'):
        run(source, folder / 'out', storage=storage)
    left = {path.name for path in folder.iterdir()}
    assert left <= {'out'}
    disk(10_000)
    assert run(source, folder / 'out', storage=storage)['answered'] == 14
    check_bag(folder / 'out')
    run(source, tmp_path / 'whole', storage=storage)
    assert content(folder / 'out') == content(tmp_path / 'whole')


@pytest.mark.parametrize('storage, kilobytes', disks(
    [('mcap', 16), ('sqlite3', 4), ('sqlite3', 28)], (4, 16, 28)))
def test_a_drive_that_does_not_fit_leaves_nothing(tmp_path, disk, storage, kilobytes):
    drive = write_drive(tmp_path, frames=9)
    folder = disk(kilobytes)

    def convert() -> dict:
        return kitti_to_bag(drive, folder / 'bag', storage, report=lambda line: None)
    with pytest.raises(OSError, match=f'{folder}/bag:.*{folder}'):
        convert()
    assert list(folder.iterdir()) == []
    disk(10_000)
    assert convert()['broken'] == []
    check_bag(folder / 'bag')
