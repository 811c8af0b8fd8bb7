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

"""Arguments of the launch files: each is read as its parameter's type, within its range."""

from __future__ import annotations

import pytest
from sync_perception.ros.parameters import launch_arguments as read
from sync_perception.ros.parameters.launch_arguments import (
    Argument,
    parameter_arguments,
    read_arguments,
)
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.parameters.replay import ReplayParameters

CAMERA = parameter_arguments(PerceptionParameters, optional=True)
REPLAY = parameter_arguments(ReplayParameters)


def value_of(arguments, name: str, text: str):
    """Read one of them."""
    return read_arguments({name: arguments[name]}, {name: text})[name]


@pytest.mark.parametrize('name, text, value', [
    ('half', 'True', True), ('half', 'false', False), ('max_depth', '40', 40.0),
    ('points_stride', '2', 2), ('cameras', 'front, left', ('front', 'left')),
    ('model', '12', '12'), ('device', 'cuda:1', 'cuda:1'), ('consumer', 'hydra', 'hydra')])
def test_values_have_the_type_of_the_parameter(name, text, value):
    found = value_of(CAMERA, name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize('name, text, expected', [
    ('half', 'perhaps', 'true or false'), ('half', '2', 'true or false'), ('half', '{', 'true or'),
    ('points_stride', '1.5', 'whole number'), ('points_stride', '65', '1 to 64'),
    ('max_rate', 'fast', 'number'), ('max_depth', '-3', '0.0 to 1000.0'),
    ('max_depth', 'nan', '0.0 to'), ('max_depth', 'inf', '0.0 to'),
    ('points_color', 'red', 'camera, label'), ('consumer', 'foo', 'generic, hydra'),
    ('cameras', 'front,,left', 'letters'), ('cameras', 'front,front', 'differ'),
    ('cameras', '2', 'letters'), ('cameras', ',', 'differ'), ('device', 'gpu', 'cuda:N')])
def test_values_that_the_parameter_cannot_have_are_refused(name, text, expected):
    with pytest.raises(ValueError, match=rf'^{name}: got .*{expected}'):
        value_of(CAMERA, name, text)


@pytest.mark.parametrize('name, text', [
    ('rate', 'fast'), ('rate', '0'), ('speed', 'x'), ('count', '1.5'), ('count', '-1'),
    ('loop', 'maybe'), ('camera', 'two'), ('camera', '4'), ('stamps', 'never'), ('start', '')])
def test_values_that_the_replay_cannot_have_are_refused(name, text):
    with pytest.raises(ValueError, match=rf'^{name}: got '):
        value_of(REPLAY, name, text)


def test_every_parameter_has_a_default_that_is_read():
    assert set(read_arguments(
        CAMERA, {name: argument.default for name, argument in CAMERA.items()}).values()) == {None}
    values = read_arguments(
        REPLAY, {name: argument.default for name, argument in REPLAY.items()})
    assert ReplayParameters(**values) == ReplayParameters()


def test_descriptions_name_ranges_and_choices():
    assert '1 to 64' in CAMERA['points_stride'].description
    assert 'nvblox' in CAMERA['consumer'].description
    assert all('params_file' in argument.description for argument in CAMERA.values())


def refusal(reader, text: str) -> str:
    """Return why an argument that is read so refuses this text; empty if it takes it."""
    try:
        read_arguments({'it': Argument('', '', reader)}, {'it': text})
    except ValueError as error:
        return str(error)
    return ''


@pytest.mark.parametrize('reader, good, bad', [
    (read.topic, ['image', '/cam/image_rect', '~/image'], ['', 'a b', 'image/', '1st']),
    (read.namespace, ['', '/', 'car', '/a/b'], ['a b', 'a/', '/a//b', '1st']),
    (read.log_level, ['info', 'DEBUG', 'rcl:=warn'], ['', 'loud', 'rcl:=', '3']),
    (read.words, ['', '--a "b c"'], ['"', "it's"]),
    (read.model, ['', 'org/name', 'a+b'], ['/nope', './nope', '~/nope', 'nope.onnx', 'a/b.pt2']),
    (read.existing_path, ['/', '.'], ['/nope']),
    (read.one_of('a', 'b'), ['a'], ['', 'c']),
    (read.unless_empty(read.existing_path), ['', '/'], ['/nope'])])
def test_what_is_no_parameter_is_checked_too(reader, good, bad):
    assert ''.join(refusal(reader, text) for text in good) == ''
    for text in bad:
        assert refusal(reader, text).startswith(f'it: got {text!r}, expected ')
        assert '\n' not in refusal(reader, text)


def test_files_of_parameters_are_looked_at(tmp_path):
    good, folder = tmp_path / 'good.yaml', tmp_path / 'folder'
    good.write_text('/**:\n  ros__parameters:\n    half: true\n')
    folder.mkdir()
    (tmp_path / 'broken.yaml').write_text('a: [')
    (tmp_path / 'list.yaml').write_text('[1, 2]')
    (tmp_path / 'bytes.yaml').write_bytes(b'\xff\xfe\x00')
    (tmp_path / 'mixed.yaml').write_text('/**: {ros__parameters: {half: [true, 1.5]}}')
    (tmp_path / 'flat.yaml').write_text('half: true')
    assert read.parameters_file(str(good)) == str(good)
    assert read.parameters_file('none') is read.parameters_file('') is None
    for name in ('folder', 'broken.yaml', 'list.yaml', 'bytes.yaml', 'mixed.yaml', 'flat.yaml',
                 'nope.yaml'):
        assert refusal(read.parameters_file, str(tmp_path / name)), name
    assert read.word_or_file('shm')(str(good)) == str(good)
    assert refusal(read.word_or_file('shm'), str(folder))


def test_a_mistyped_name_is_refused_with_the_one_that_is_like_it():
    known = ('rate', 'image_topic')
    command = ['ros2', 'launch', 'sync_perception', 'camera.launch.py']
    read.check_names([*command, 'rate:=5', 'launch-prefix:=time'], 'camera.launch.py', known)
    with pytest.raises(ValueError, match='rat: .*rate'):
        read.check_names([*command, 'rat:=5'], 'camera.launch.py', known)
    # another launch file was started, which includes this one
    read.check_names(['ros2', 'launch', 'mine', 'robot.launch.py', 'rat:=5'],
                     'camera.launch.py', known)
