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


"""What the launch files say before anything runs: arguments, parameters, environment."""

from __future__ import annotations

import runpy

from launch import LaunchContext
from launch.actions import SetEnvironmentVariable
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
import pytest

FILES = ['camera.launch.py', 'kitti_replay.launch.py']


def description(launch_files, name: str):
    """Load one of the launch files."""
    return get_launch_description_from_python_launch_file(str(launch_files / name))


@pytest.fixture
def launch_files(request):
    """Return the folder of the launch files."""
    return request.path.parents[2] / 'launch'


@pytest.mark.parametrize('name', FILES)
def test_every_argument_is_described(launch_files, name):
    arguments = description(launch_files, name).get_launch_arguments()
    assert len(arguments) > 10
    for argument in arguments:
        assert argument.description and argument.description != 'no description given'


def test_the_replay_takes_the_arguments_of_the_camera(launch_files):
    camera, replay = (
        {argument.name for argument in description(launch_files, name).get_launch_arguments()}
        for name in FILES)
    assert camera < replay
    assert {'drive', 'rate', 'loop'} <= replay - camera


def test_only_the_drive_must_be_given(launch_files):
    for name, required in zip(FILES, ([], ['drive'])):
        arguments = description(launch_files, name).get_launch_arguments()
        assert [argument.name for argument in arguments
                if argument.default_value is None] == required


def environment_after(launch_files, monkeypatch, **before: str) -> dict[str, str]:
    """Apply the launch file's environment over another one."""
    for variable in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in before.items():
        monkeypatch.setenv(variable, value)
    context = LaunchContext()
    found = {}
    for entity in description(launch_files, 'camera.launch.py').entities:
        if isinstance(entity, SetEnvironmentVariable):
            name, value = (perform_substitutions(context, part)
                           for part in (entity.name, entity.value))
            entity.visit(context)
            assert context.environment[name] == value
            found[name] = value
    return found


def test_the_shared_memory_profile_is_set_for_both_names(launch_files, monkeypatch):
    found = environment_after(launch_files, monkeypatch)
    assert set(found) == {'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'}
    assert all(value.endswith('config/fastdds_shm.xml') for value in found.values())


@pytest.mark.parametrize('variable', [
    'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'])
def test_a_profile_of_the_user_is_left_alone(launch_files, monkeypatch, variable):
    found = environment_after(launch_files, monkeypatch, **{variable: '/my/profile.xml'})
    assert set(found.values()) == {'/my/profile.xml'}


def test_arguments_that_are_set_become_parameters_of_their_type(launch_files):
    parameters = runpy.run_path(str(launch_files / 'camera.launch.py'))['parameters']
    context = LaunchContext()
    for argument in description(launch_files, 'camera.launch.py').get_launch_arguments():
        argument.visit(context)
    assert parameters(context) == {'use_sim_time': False}
    context.launch_configurations.update(
        model='12', half='true', max_depth='40', points_stride='2', points_organized='False')
    assert parameters(context) == {
        'use_sim_time': False, 'model': '12', 'half': True, 'max_depth': 40.0,
        'points.stride': 2, 'points.organized': False}
