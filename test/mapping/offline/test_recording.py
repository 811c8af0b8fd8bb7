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


"""Recordings for Rerun, and what the commands write."""

from __future__ import annotations

from pathlib import Path

import pytest
from sync_perception import cli
from typer.testing import CliRunner


def test_map_and_view_of_a_rendered_drive(rendered_drive, small_model, tmp_path):
    """The command maps images with poses; view writes a recording of the map and of the images."""
    pytest.importorskip('rerun')
    variant = next(rendered_drive.rglob('extrinsic.txt')).parent
    images = variant / 'frames' / 'rgb' / 'Camera_0'
    out = tmp_path / 'out'
    result = CliRunner().invoke(cli.app, [
        'map', str(images), '--out', str(out), '--poses', str(variant / 'extrinsic.txt'),
        '--fx', '233', '--frames', '3', '--least-weight', '0.01', '--model', str(small_model),
        '--backend', 'torch', '--rerun'])
    assert result.exit_code == 0, result.output
    assert {'map.ply', 'above.png', 'side.png', 'trajectory.txt', 'recording.rrd'} <= {
        path.name for path in out.iterdir()}
    for source, saved in ((out / 'map', tmp_path / 'map.rrd'), (images, tmp_path / 'live.rrd')):
        result = CliRunner().invoke(cli.app, [
            'view', str(source), '--save', str(saved), '--frames', '2', '--fx', '233',
            '--model', str(small_model), '--backend', 'torch'])
        assert result.exit_code == 0, result.output
        assert Path(saved).read_bytes().startswith(b'RRF2')


def test_poses_are_needed(rendered_drive, tmp_path):
    """Images without poses are refused before a model is loaded, and the option is named."""
    images = next(rendered_drive.rglob('Camera_0'))
    result = CliRunner().invoke(cli.app, ['map', str(images), '--out', str(tmp_path / 'out')])
    assert isinstance(result.exception, ValueError) and 'poses' in str(result.exception)
    assert not (tmp_path / 'out').exists()
    result = CliRunner().invoke(cli.app, ['view'])
    assert isinstance(result.exception, ValueError) and '--webcam' in str(result.exception)
