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


"""
Run the perception node on a camera, or on several.

    ros2 launch sync_perception camera.launch.py image_topic:=/camera/image_rect \
        camera_info_topic:=/camera/camera_info rviz:=true
    ros2 launch sync_perception camera.launch.py cameras:=front,left,right consumer:=hydra

The arguments are listed by `--show-args`; all are checked before anything starts. In other launch
files it can be included within groups and namespaces, and more than once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import sys
from typing import Any

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
from sync_perception.ros.core.middleware import PROFILE_VARIABLES, TRANSPORTS_VARIABLE
from sync_perception.ros.parameters import launch_arguments as read
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.launch_options import CAMERA, IN_SHARE
from sync_perception.ros.parameters.perception import PerceptionParameters
import yaml

SHARE = FindPackageShare('sync_perception')
ARGUMENTS = {
    **CAMERA,
    **{name: replace(CAMERA[name], default=PathJoinSubstitution([SHARE, CAMERA[name].default]))
       for name in IN_SHARE if name in CAMERA},
    **read.parameter_arguments(
        PerceptionParameters, optional=True,
        readers={'model': read.model, 'consistency_model': read.model}),
}


def camera_names(given: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the cameras; one camera without a name is ('',)."""
    return given['cameras'] or ('',)


def input_topics(given: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Pair the node's inputs with the camera's topics, or with those below each camera's name.

    :raises ValueError: if several cameras were to share one absolute topic.
    """
    remaps = []
    for camera in camera_names(given):
        for own, name in (('image', 'image_topic'), ('camera_info', 'camera_info_topic')):
            topic = given[name]
            if camera and topic.startswith(('/', '~')):
                raise ValueError(
                    f'{name}: got {topic!r}, expected a topic below the name of each camera, '
                    'such as image_rect')
            remaps.append((f'{camera}/{own}', f'{camera}/{topic}') if camera else (own, topic))
    return remaps


def pose_topics(given: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Pair the topic of the poses with the one that the node listens to, if it is named.

    :raises ValueError: if the poses do not come from a topic.
    """
    if not given['poses_topic']:
        return []
    if given['poses_source'] not in ('odometry', 'pose'):
        raise ValueError(f'poses_topic: got {given["poses_topic"]!r}, which has no effect without '
                         'poses_source:=odometry or poses_source:=pose')
    return [(given['poses_source'], given['poses_topic'])]


def output_topics(given: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Pair the node's outputs with the topics that the consumer reads, if that is wanted.

    :raises ValueError: if the consumer is not named, or there are cameras with names.
    """
    if not given['consumer_topics']:
        return []
    if given['consumer'] is None:
        raise ValueError('consumer_topics: got no consumer, expected consumer:=NAME as well')
    if camera_names(given) != ('',):
        raise ValueError('consumer_topics: got cameras with names, expected a single camera '
                         'without a name')
    return list(CONSUMERS[given['consumer']].remaps.items())


def perception(given: dict[str, Any]) -> Node:
    """Make the perception node; arguments that are set win over the file."""
    file = given['params_file']
    return Node(
        package='sync_perception',
        executable='perception_node',
        name='perception',
        namespace=given['namespace'],
        parameters=[*([file] if file else []), {
            'use_sim_time': given['use_sim_time'], **read.parameter_values(ARGUMENTS, given)}],
        remappings=input_topics(given) + pose_topics(given) + output_topics(given),
        arguments=['--ros-args', '--log-level', given['log_level']],
        output='screen')


def viewer(given: dict[str, Any]) -> list[Node]:
    """
    Make RViz if it is wanted; of several cameras it shows the first.

    :raises ValueError: if there is no RViz.
    """
    if not given['rviz']:
        return []
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError as error:
        raise ValueError('rviz:=true needs the package rviz2, which is not installed') from error
    camera = camera_names(given)[0]
    file = given['rviz_config']
    displays = yaml.safe_load(Path(file).read_text())[
        'Visualization Manager']['Displays']
    topics = {display['Topic']['Value'] for display in displays if 'Topic' in display}
    return [Node(
        package='rviz2', executable='rviz2', name='rviz', namespace=given['namespace'],
        parameters=[{'use_sim_time': given['use_sim_time']}],
        remappings=output_topics(given) + [
            (topic, f'{camera}/{topic}') for topic in sorted(topics) if camera],
        arguments=['-d', file, '-f', given['rviz_frame']])]


def transport(context: LaunchContext, wanted: str) -> list[SetEnvironmentVariable]:
    """Name Fast DDS its profile, by both of the variables that its versions read."""
    users = next(filter(None, map(context.environment.get, PROFILE_VARIABLES)), '')
    if wanted == 'none':  # and the nodes are not to choose the shipped one themselves
        return [] if users else [SetEnvironmentVariable(
            TRANSPORTS_VARIABLE, context.environment.get(TRANSPORTS_VARIABLE, 'DEFAULT'))]
    if wanted == 'shm':
        shipped = PathJoinSubstitution([SHARE, 'config', 'fastdds_shm.xml']).perform(context)
        wanted = users or shipped
    return [SetEnvironmentVariable(variable, wanted) for variable in PROFILE_VARIABLES]


def everything(context: LaunchContext) -> list[Action]:
    """Make all at once: a mistake in an argument is found before any process has started."""
    read.check_names(sys.argv, __file__, ARGUMENTS)
    given = read.read_arguments(ARGUMENTS, context.launch_configurations)
    return [*transport(context, given['profile']), *viewer(given), perception(given)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    return LaunchDescription([
        *(DeclareLaunchArgument(
            name, default_value=argument.default, description=argument.description)
          for name, argument in ARGUMENTS.items()),
        OpaqueFunction(function=everything)])
