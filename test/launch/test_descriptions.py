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

"""What the launch files say before anything runs: arguments, parameters, topics, environment."""

from __future__ import annotations

import runpy
from typing import Any

from launch import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from launch_ros.utilities import evaluate_parameters, normalize_parameters
import pytest
from sync_perception.ros.consumers import CONSUMERS
from sync_perception.ros.parameters import PerceptionParameters
from sync_perception.ros.replay_parameters import ReplayParameters

FILES = ['camera.launch.py', 'kitti_replay.launch.py']
PROFILE_VARIABLES = {'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'}


@pytest.fixture
def launch_files(request):
    """Return the folder of the launch files."""
    return request.path.parents[2] / 'launch'


@pytest.fixture
def arguments_of(launch_files):
    """Return the function that lists the arguments of a launch file."""
    return lambda name: get_launch_description_from_python_launch_file(
        str(launch_files / name)).get_launch_arguments()


@pytest.fixture
def contents(launch_files):
    """Return the functions and tables of the launch files, by file."""
    return {name: runpy.run_path(str(launch_files / name)) for name in FILES}


@pytest.fixture
def context(arguments_of):
    """Return the function that makes a context with these arguments, the others at defaults."""
    def make(name: str = 'camera.launch.py', **values: str) -> LaunchContext:
        made = LaunchContext()
        made.launch_configurations.update(values)
        for argument in arguments_of(name):
            argument.visit(made)
        return made
    return make


def evaluated(values: dict[str, Any], made: LaunchContext) -> dict[str, Any]:
    """Read parameters as the launch system does before it hands them to a node."""
    return evaluate_parameters(made, normalize_parameters([values]))[0]


@pytest.mark.parametrize('name', FILES)
def test_every_argument_is_described(arguments_of, name):
    arguments = arguments_of(name)
    assert len(arguments) > 25
    for argument in arguments:
        assert len(argument.description) > 9
        assert argument.description != 'no description given'


@pytest.mark.parametrize('name', FILES)
def test_no_argument_must_be_given(arguments_of, name):
    assert all(argument.default_value is not None for argument in arguments_of(name))


def test_the_replay_takes_the_arguments_of_the_camera(arguments_of):
    camera, replay = ({argument.name for argument in arguments_of(name)} for name in FILES)
    assert camera < replay
    assert {'drive', 'bag', 'player', 'rate', 'loop'} <= replay - camera


@pytest.mark.parametrize('name, kind', zip(FILES, (PerceptionParameters, ReplayParameters)))
def test_arguments_name_parameters_of_the_nodes(contents, name, kind):
    named = {spec.metadata['name']: spec.default for spec in kind.__dataclass_fields__.values()}
    table = contents[name]['PARAMETERS' if kind is PerceptionParameters else 'REPLAY']
    for parameter, type_, *_ in table.values():
        assert type(named[parameter]) is (tuple if type_ is list else type_), parameter


def test_arguments_of_the_replay_have_the_defaults_of_the_node(contents):
    named = {spec.metadata['name']: spec.default
             for spec in ReplayParameters.__dataclass_fields__.values()}
    for parameter, _, default, _ in contents['kitti_replay.launch.py']['REPLAY'].values():
        assert default == str(named[parameter]).replace('False', 'false'), parameter


def test_every_parameter_of_the_perception_node_has_an_argument(contents):
    given = {parameter for parameter, _, _ in contents['camera.launch.py']['PARAMETERS'].values()}
    assert given == {spec.metadata['name']
                     for spec in PerceptionParameters.__dataclass_fields__.values()}


def test_arguments_that_are_set_become_parameters_of_their_type(contents, context):
    parameters = contents['camera.launch.py']['parameters']
    assert parameters(context()) == {'use_sim_time': False}
    made = context(
        model='12', half='true', max_depth='40', points_stride='2', points_organized='False',
        cameras='front, 2,on', use_sim_time='true', semantics_min_confidence='0.5')
    assert evaluated(parameters(made), made) == {
        'use_sim_time': True, 'model': '12', 'half': True, 'max_depth': 40.0,
        'points.stride': 2, 'points.organized': False, 'semantics.min_confidence': 0.5,
        'cameras': ('front', '2', 'on')}


@pytest.mark.parametrize('name, value, expected', [
    ('half', 'perhaps', 'true or false'), ('points_stride', '1.5', 'int'),
    ('max_rate', 'fast', 'float'), ('use_sim_time', '2', 'true or false')])
def test_a_value_of_another_type_is_refused(contents, context, name, value, expected):
    with pytest.raises(ValueError, match=f'{name}: got .{value}.*{expected}'):
        contents['camera.launch.py']['parameters'](context(**{name: value}))


def test_topics_of_one_camera(contents, context):
    made = context(image_topic='/cam/image_rect')
    assert contents['camera.launch.py']['input_topics'](made) == [
        ('image', '/cam/image_rect'), ('camera_info', 'camera_info')]


def test_topics_of_several_cameras_are_below_their_names(contents, context):
    made = context(cameras='front,left', image_topic='image_rect')
    assert contents['camera.launch.py']['input_topics'](made) == [
        ('front/image', 'front/image_rect'), ('front/camera_info', 'front/camera_info'),
        ('left/image', 'left/image_rect'), ('left/camera_info', 'left/camera_info')]


def test_several_cameras_cannot_share_a_topic(contents, context):
    with pytest.raises(ValueError, match="image_topic: got '/cam/image'.*below the name"):
        contents['camera.launch.py']['input_topics'](
            context(cameras='front,left', image_topic='/cam/image'))


def test_outputs_go_where_the_consumer_looks_if_wanted(contents, context):
    output_topics = contents['camera.launch.py']['output_topics']
    assert output_topics(context(consumer='hydra')) == []
    remaps = dict(output_topics(context(consumer='hydra', consumer_topics='true')))
    assert remaps == CONSUMERS['hydra'].remaps and remaps
    with pytest.raises(ValueError, match="got consumer 'slam', expected one of generic, hydra"):
        output_topics(context(consumer='slam', consumer_topics='true'))
    with pytest.raises(ValueError, match='got cameras with names'):
        output_topics(context(consumer='hydra', consumer_topics='true', cameras='front'))


@pytest.fixture
def profile(contents, context, monkeypatch):
    """Return the function that applies the profile over an environment."""
    def apply(chosen: str, **before: str) -> dict[str, str]:
        for variable in PROFILE_VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in before.items():
            monkeypatch.setenv(variable, value)
        made, found = context(profile=chosen), {}
        for action in contents['camera.launch.py']['transport'](made):
            name, value = (perform_substitutions(made, part)
                           for part in (action.name, action.value))
            monkeypatch.setenv(name, '')  # so that the environment is put back afterwards
            action.visit(made)
            assert made.environment[name] == value
            found[name] = value
        return found
    return apply


def test_the_shared_memory_profile_is_set_for_both_names(profile):
    found = profile('shm')
    assert set(found) == PROFILE_VARIABLES
    assert all(value.endswith('config/fastdds_shm.xml') for value in found.values())


@pytest.mark.parametrize('variable', sorted(PROFILE_VARIABLES))
def test_a_profile_of_the_user_is_left_alone(profile, variable):
    assert set(profile('shm', **{variable: '/my/profile.xml'}).values()) == {'/my/profile.xml'}


def test_a_profile_can_be_named_or_left_out(profile, tmp_path):
    file = tmp_path / 'mine.xml'
    file.write_text('<dds/>')
    assert profile(str(file), FASTDDS_DEFAULT_PROFILES_FILE='/my/profile.xml') == dict.fromkeys(
        PROFILE_VARIABLES, str(file))
    assert profile('none') == {}
    with pytest.raises(ValueError, match='profile: got .*nothing.xml.*expected shm, none or'):
        profile(str(tmp_path / 'nothing.xml'))


@pytest.mark.parametrize('values, message', [
    ({}, 'expected one of them'),
    ({'drive': '/tmp', 'bag': '/tmp'}, 'expected one of them'),
    ({'drive': '/nowhere/at/all'}, 'there is no /nowhere/at/all'),
    ({'drive': '/tmp', 'player': 'ros2bag'}, 'plays bags, got a drive'),
    ({'bag': '/tmp', 'player': 'vlc'}, 'player: got .vlc.'),
    ({'bag': '/tmp', 'cameras': 'front'}, 'cameras is for player:=ros2bag')])
def test_what_cannot_be_replayed_is_refused(contents, context, values, message):
    with pytest.raises(ValueError, match=message):
        contents['kitti_replay.launch.py']['check'](context('kitti_replay.launch.py', **values))
