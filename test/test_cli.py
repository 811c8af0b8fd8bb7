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


"""The command's face: verbs, messages, statuses. The verbs' work is tested in their rooms."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sync_perception import cli
from typer.testing import CliRunner

VERBS = ('predict', 'map', 'view', 'synth', 'train', 'evaluate', 'select', 'data', 'bench',
         'models', 'import-weights', 'export', 'pseudo-label', 'report', 'ablate', 'labels',
         'kitti-to-bag', 'process-bag')
HEAVY = ('torch', 'cv2', 'lightning', 'open3d', 'rclpy')


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command as a user does; give its exit status and what it wrote to stderr."""
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', ['sync_perception', *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, capsys.readouterr().err
    return call


def test_help_names_the_verbs():
    """Without arguments the user learns what there is."""
    result = CliRunner().invoke(cli.app, [])
    for verb in VERBS:
        assert verb in result.output


@pytest.mark.parametrize('verb', [verb for verb in VERBS if verb != 'train'])
def test_every_verb_has_help(verb):
    """The help of a verb comes without loading what it works with."""
    result = CliRunner().invoke(cli.app, [verb, '--help'])
    assert result.exit_code == 0
    assert '--' in result.output


def test_help_is_quick():
    """Neither torch nor any other large library is imported for the help."""
    code = ('import sys\nfrom sync_perception import cli\n'
            f'print([name for name in {HEAVY!r} if name in sys.modules])')
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == '[]'


def test_a_users_mistake_is_one_line(run, tmp_path):
    """No traceback; the message says what was got and what was expected."""
    status, message = run('evaluate', '--dataset', 'kity', '--root', str(tmp_path))
    assert status == cli.FAILURE
    assert message.count('\n') == 1
    assert "'kity'" in message
    assert 'kitti' in message


def test_a_missing_file_is_one_line(run, tmp_path):
    """The message names the path."""
    status, message = run('predict', str(tmp_path / 'none.png'), '--out', str(tmp_path))
    assert status == cli.FAILURE
    assert message.count('\n') == 1
    assert 'none.png' in message


def test_rectification_without_a_calibration_is_refused(run, tmp_path):
    """The message names both options."""
    status, message = run('predict', str(tmp_path), '--out', str(tmp_path), '--rectify')
    assert status == cli.FAILURE
    assert 'rectify' in message and 'camera_info' in message


@pytest.mark.parametrize('options, named', [
    (('--camera-pitch', '0.1'), 'height'), (('--camera-height', '-1'), 'camera-height'),
    (('--camera-height', 'nan'), 'height'),
    (('--camera-height', '1.5', '--camera-pitch', '2'), 'camera-pitch')])
def test_a_mount_that_no_camera_has_is_refused(run, tmp_path, options, named):
    """Angles without a height have no effect; degrees are mostly out of range."""
    status, message = run('predict', str(tmp_path), '--out', str(tmp_path), *options)
    assert status and named in message


def test_a_missing_library_says_what_to_install(monkeypatch, capsys):
    """Verbs that need an extra name it."""
    def fail():
        raise ModuleNotFoundError("No module named 'open3d'", name='open3d')
    monkeypatch.setattr(cli, 'app', fail)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == cli.FAILURE
    assert "pip install 'sync_perception[synth]'" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    """A library that nobody promised is a bug of ours, not a mistake of the user's."""
    def fail():
        raise ModuleNotFoundError("No module named 'nonsense'", name='nonsense')
    monkeypatch.setattr(cli, 'app', fail)
    with pytest.raises(ModuleNotFoundError):
        cli.main()
