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

"""The launch file of the map: a drive is replayed, perceived and mapped, and everything ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)
DRIVE = Path('kitti', '2011_09_26', '2011_09_26_drive_0000_sync')


def test_a_drive_is_mapped_to_its_end(run, small_model, data_root, tmp_path):
    """The mapping node gets the poses of the file, and saves the map when the drive ends."""
    poses = tmp_path / 'poses.txt'
    start = 1317042147.5  # of the drive's first image
    poses.write_text(''.join(
        f'{start + index / 10:.1f} {index} 0 1.65 -0.5 0.5 -0.5 0.5\n' for index in range(10)))
    went = run('mapping.launch.py', drive=data_root / DRIVE, count=6, rate=1.0, lockstep='true',
               model=small_model, device='cpu', namespace='car', poses_source='file',
               poses_file=poses, map_folder=tmp_path / 'map', map_rate=0.0, map_voxel=0.5)
    assert went.status == 0, went.output
    assert went.ends == {'replay_node': 0, 'perception_node': 0, 'mapping_node': 0}
    assert went.parameters['mapping_node']['map.folder'] == str(tmp_path / 'map')
    assert 'Traceback' not in went.output
    stored = json.loads((tmp_path / 'map' / 'map.json').read_text())
    assert 1 <= stored['state']['frames'] <= 6, went.output
