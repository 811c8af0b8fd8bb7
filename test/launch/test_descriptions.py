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

from pathlib import Path
import runpy

from launch import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from launch_ros.utilities import evaluate_parameters, normalize_parameters
import pytest
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.launch_arguments import parameter_values, read_arguments
from sync_perception.ros.parameters.mapping import MappingParameters
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.parameters.replay import ReplayParameters

CAMERA, REPLAY, MAPPING = FILES = [
    'camera.launch.py', 'kitti_replay.launch.py', 'mapping.launch.py']
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
    def make(name: str = CAMERA, **values: str) -> LaunchContext:
        made = LaunchContext()
        made.launch_configurations.update(values)
        for argument in arguments_of(name):
            argument.visit(made)
        return made
    return make


@pytest.fixture
def given(contents, context):
    """Return the function that reads these arguments of the camera, the others at defaults."""
    return lambda **values: read_arguments(
        contents[CAMERA]['ARGUMENTS'], context(**values).launch_configurations)


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


@pytest.mark.parametrize('name', FILES)
def test_every_default_can_be_accepted(contents, context, name):
    read_arguments(contents[name]['ARGUMENTS'], context(name).launch_configurations)


def test_the_replay_takes_the_arguments_of_the_camera(arguments_of):
    camera, replay, mapping = (
        {argument.name for argument in arguments_of(name)} for name in FILES)
    assert camera < replay < mapping
    assert {'drive', 'bag', 'player', 'rate', 'loop'} <= replay - camera
    assert {'poses_source', 'poses_topic', 'map_voxel'} <= mapping - replay


@pytest.mark.parametrize('name, kind, absent', [
    (CAMERA, PerceptionParameters, set()),
    (REPLAY, ReplayParameters, {'source', 'path', 'seed'}),
    (MAPPING, MappingParameters, set())])
def test_every_parameter_of_the_nodes_has_an_argument(contents, name, kind, absent):
    named = {argument.parameter for argument in contents[name]['ARGUMENTS'].values()}
    assert named - {''} == {spec.metadata['name']
                            for spec in kind.__dataclass_fields__.values()} - absent


def test_arguments_that_are_set_become_parameters_of_their_type(contents, context, given):
    table = contents[CAMERA]['ARGUMENTS']
    assert parameter_values(table, given()) == {}
    values = parameter_values(table, given(
        model='12', half='true', max_depth='40', points_stride='2', points_organized='False',
        cameras='front, c2,on', semantics_min_confidence='0.5'))
    assert evaluate_parameters(context(), normalize_parameters([values]))[0] == {
        'model': '12', 'half': True, 'max_depth': 40.0, 'points.stride': 2,
        'points.organized': False, 'semantics.min_confidence': 0.5,
        'cameras': ('front', 'c2', 'on')}


def test_topics_of_one_camera(contents, given):
    assert contents[CAMERA]['input_topics'](given(image_topic='/cam/image_rect')) == [
        ('image', '/cam/image_rect'), ('camera_info', 'camera_info')]


def test_topics_of_several_cameras_are_below_their_names(contents, given):
    values = given(cameras='front,left', image_topic='image_rect')
    assert contents[CAMERA]['input_topics'](values) == [
        ('front/image', 'front/image_rect'), ('front/camera_info', 'front/camera_info'),
        ('left/image', 'left/image_rect'), ('left/camera_info', 'left/camera_info')]


def test_several_cameras_cannot_share_a_topic(contents, given):
    with pytest.raises(ValueError, match="image_topic:.*'/cam/image'"):
        contents[CAMERA]['input_topics'](given(cameras='front,left', image_topic='/cam/image'))


def test_outputs_go_where_the_consumer_looks_if_wanted(contents, given):
    output_topics = contents[CAMERA]['output_topics']
    assert output_topics(given(consumer='hydra')) == []
    remaps = dict(output_topics(given(consumer='hydra', consumer_topics='true')))
    assert remaps == CONSUMERS['hydra'].remaps and remaps
    with pytest.raises(ValueError, match='consumer_topics.*consumer:='):
        output_topics(given(consumer_topics='true'))
    with pytest.raises(ValueError, match='got cameras with names'):
        output_topics(given(consumer='hydra', consumer_topics='true', cameras='front'))


@pytest.fixture
def profile(contents, context, given, monkeypatch):
    """Return the function that applies the profile over an environment."""
    def apply(chosen: str, **before: str) -> dict[str, str]:
        for variable in (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS'):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in before.items():
            monkeypatch.setenv(variable, value)
        made, found = context(), {}
        for action in contents[CAMERA]['transport'](made, given(profile=chosen)['profile']):
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
    assert profile('none') == {'FASTDDS_BUILTIN_TRANSPORTS': 'DEFAULT'}
    assert profile('none', FASTDDS_DEFAULT_PROFILES_FILE='/my/profile.xml') == {}
    with pytest.raises(ValueError, match='profile: got .*nothing.xml'):
        profile(str(tmp_path / 'nothing.xml'))


@pytest.fixture
def check(contents, context):
    """Return the function that checks these arguments of the replay."""
    return lambda **values: contents[REPLAY]['check'](
        context(REPLAY, **values), contents[REPLAY]['generate_launch_description']())


@pytest.mark.parametrize('values, message', [
    ({}, 'expected one of them'),
    ({'drive': '/tmp', 'bag': '/tmp'}, 'expected one of them'),
    ({'drive': '/nowhere/at/all'}, 'drive: got ./nowhere/at/all.'),
    ({'drive': '/tmp', 'player': 'ros2bag'}, 'player: got ros2bag and a drive'),
    ({'bag': '/tmp', 'player': 'vlc'}, 'player: got .vlc.'),
    ({'bag': '/tmp', 'cameras': 'front'}, 'cameras: got .front.*ros2bag'),
    ({'drive': '/tmp', 'rate': 'fast'}, "rate: got 'fast'"),
    ({'drive': '/tmp', 'use_sim_time': 'maybe'}, "use_sim_time: got 'maybe'"),
    ({'drive': '/tmp', 'shutdown': 'maybe'}, "shutdown: got 'maybe'"),
    ({'drive': '/tmp', 'speed': '2'}, 'speed: got 2.0.* no effect'),
    ({'drive': '/tmp', 'play_args': '--x'}, 'play_args: got .* no effect'),
    ({'bag': '/tmp', 'camera': '3'}, 'camera: got 3.* no effect'),
    ({'bag': '/tmp', 'rate': '5'}, 'rate: got 5.0.* no effect'),
    ({'bag': '/tmp', 'play_args': '"'}, 'play_args: got')])
def test_what_cannot_be_replayed_is_refused(check, values, message):
    with pytest.raises(ValueError, match=message):
        check(**values)


@pytest.mark.parametrize('values', [
    {'drive': '/tmp', 'shutdown': 'False', 'loop': 'True', 'rate': '5', 'count': '3'},
    {'bag': '/tmp', 'speed': '0', 'rate': '5'}, {'bag': '/tmp', 'speed': '2', 'start': '7'}])
def test_what_can_be_replayed_passes(check, values):
    check(**values)


@pytest.mark.parametrize('values, message', [
    ({}, 'package ros2bag'),
    ({'speed': '0'}, 'speed: got 0'),
    ({'count': '3'}, 'count: got 3.* no effect')])
def test_what_ros2_bag_play_cannot_do_is_refused(
        check, values, message, stand_in_package, monkeypatch):
    if values:
        stand_in_package('ros2bag')
    elif stand_in_package.installed('ros2bag'):
        pytest.skip('ros2bag is installed')
    with pytest.raises(ValueError, match=message):
        check(bag='/tmp', player='ros2bag', **values)


@pytest.fixture
def check_mapping(contents, context):
    """Return the function that checks these arguments of the mapping."""
    return lambda **values: contents[MAPPING]['check'](
        context(MAPPING, **values), contents[MAPPING]['generate_launch_description']())


@pytest.mark.parametrize('values, message', [
    ({'rate': '5'}, 'rate: got .5.* no effect without drive'),
    ({'cameras': 'front,left'}, 'cameras: got'),
    ({'poses_topic': '/odom'}, 'poses_topic: got ./odom.*poses_source'),
    ({'poses_source': 'gps'}, 'poses_source: got .gps.'),
    ({'poses_camera': '1 2 3'}, 'poses_camera: got .1 2 3.*qw'),
    ({'drive': '/nowhere/at/all'}, 'drive: got')])
def test_what_cannot_be_mapped_is_refused(check_mapping, values, message):
    with pytest.raises(ValueError, match=message):
        check_mapping(**values)


@pytest.mark.parametrize('values, frame', [
    ({}, 'odom'), ({'poses_source': 'odometry', 'poses_topic': '/odom'}, 'map'),
    ({'map_frame': 'world'}, 'world'), ({'rviz_frame': 'earth', 'map_frame': 'world'}, 'earth')])
def test_rviz_stands_in_the_frame_of_the_map(check_mapping, values, frame):
    made = LaunchContext()
    action, = check_mapping(**values)
    action.visit(made)
    assert made.launch_configurations['rviz_frame'] == frame


def test_the_mapping_node_reads_what_the_perception_node_writes(contents, context):
    def remaps(**values: str) -> dict[str, str]:
        texts = context(MAPPING, **values).launch_configurations
        given = read_arguments(contents[MAPPING]['ARGUMENTS'], texts)
        return dict(contents[MAPPING]['topics'](given, texts))
    assert remaps(image_topic='/cam/image_rect') == {'image': '/cam/image_rect'}
    assert remaps(rectify='true')['image'] == 'sync/image_rect'
    assert remaps(poses_source='pose', poses_topic='/slam')['pose'] == '/slam'
    assert CONSUMERS['hydra'].remaps.items() <= remaps(
        consumer='hydra', consumer_topics='true').items()


@pytest.mark.parametrize('name, typed, refused', [
    (CAMERA, 'camera_info_topics:=/x', 'camera_info_topic'), (CAMERA, 'qqq:=1', 'show-args'),
    (CAMERA, 'rate:=5', ''), (MAPPING, 'map_voxl:=1', 'map_voxel'),
    (REPLAY, 'rat:=5', 'rate'), (REPLAY, 'modle:=/x', 'model')])
def test_an_argument_that_does_not_exist_is_refused_where_it_was_typed(
        contents, context, check, check_mapping, launch_files, monkeypatch, name, typed, refused):
    def run() -> None:
        if name == CAMERA:
            contents[CAMERA]['everything'](context())
        else:
            (check if name == REPLAY else check_mapping)(drive='/tmp')

    for start in (['sync_perception', name], [str(launch_files / name)]):
        monkeypatch.setattr('sys.argv', ['ros2', 'launch', *start, typed])
        with pytest.raises(ValueError, match=f'{typed.partition(":=")[0]}.*{refused}'):
            run()
    for start in (['other_package', name], [str(Path(__file__))]):
        monkeypatch.setattr('sys.argv', ['ros2', 'launch', *start, typed])
        run()
    monkeypatch.setattr('sys.argv', ['ros2', 'launch', 'sync_perception', name,
                                     'launch-prefix:=time', 'log_level:=rcl:=debug'])
    run()
