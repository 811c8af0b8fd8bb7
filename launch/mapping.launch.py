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
Build a semantic map of a camera's drive, or of a recording: perception, poses and mapping.

    ros2 launch sync_perception mapping.launch.py image_topic:=/camera/image_rect \
        camera_info_topic:=/camera/camera_info poses_source:=odometry poses_topic:=/odom rviz:=true
    ros2 launch sync_perception mapping.launch.py drive:=/data/2011_09_26_drive_0001_sync \
        rviz:=true

The arguments of camera.launch.py, and with drive or bag those of kitti_replay.launch.py, can be
given as well; all are listed by `--show-args`, and checked before anything starts.
"""

from __future__ import annotations

from dataclasses import replace
import sys
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
)
from launch.utilities import perform_substitutions
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
from sync_perception.ros.parameters import launch_arguments as read
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.launch_options import IN_SHARE, MAPPING
from sync_perception.ros.parameters.mapping import MappingParameters
from sync_perception.ros.parameters.poses import VISUAL

SHARE = FindPackageShare('sync_perception')
RECORDINGS = ('drive', 'bag')
ARGUMENTS = {
    **MAPPING,
    **{name: replace(MAPPING[name], default=PathJoinSubstitution([SHARE, MAPPING[name].default]))
       for name in IN_SHARE if name in MAPPING},
    **read.parameter_arguments(MappingParameters, optional=True),
}


def check(context: LaunchContext, description: LaunchDescription) -> list[Action]:
    """
    Refuse mistakes in the arguments before any process has started, and set RViz's frame.

    :raises ValueError: naming the argument, what was got and what was expected.
    """
    known = description.get_launch_arguments_with_include_launch_description_actions()
    read.check_names(sys.argv, __file__, (argument.name for argument, _ in known))
    texts = context.launch_configurations
    given = read.read_arguments(ARGUMENTS, texts)
    if not any(given[name] for name in RECORDINGS):
        others = {argument.name for argument, includes in known
                  if not includes or 'camera.launch.py' in location(includes[0])}
        for argument, _ in known:
            default = perform_substitutions(context, argument.default_value)
            if argument.name not in others and texts.get(argument.name, default) != default:
                raise ValueError(f'{argument.name}: got {texts[argument.name]!r}, which has no '
                                 'effect without drive or bag')
    if texts.get('cameras'):
        raise ValueError(f'cameras: got {texts["cameras"]!r}, expected none: the map is that of '
                         'one camera')
    if given['poses_topic'] and given['poses_source'] not in ('odometry', 'pose'):
        raise ValueError(f'poses_topic: got {given["poses_topic"]!r}, which has no effect without '
                         'poses_source:=odometry or poses_source:=pose')
    visual = given['poses_source'] in (None, VISUAL)
    frame = given['rviz_frame'] or given['map_frame'] or ('odom' if visual else 'map')
    return [SetLaunchConfiguration('rviz_frame', frame)]


def location(include: IncludeLaunchDescription) -> str:
    """Return the path of the launch file that an action includes."""
    return include.launch_description_source.location


def mapping(context: LaunchContext) -> list[Action]:
    """Make the mapping node; arguments that are set win over the file."""
    texts = context.launch_configurations
    given = read.read_arguments(ARGUMENTS, texts)
    file = given['mapping_file']
    return [Node(
        package='sync_perception', executable='mapping_node', name='mapping',
        namespace=texts['namespace'],
        parameters=[*([file] if file else []), {
            'use_sim_time': read.boolean(texts['use_sim_time']),
            **read.parameter_values(ARGUMENTS, given)}],
        remappings=topics(given, texts),
        arguments=['--ros-args', '--log-level', texts['log_level']], output='screen')]


def topics(given: dict[str, Any], texts: dict[str, str]) -> list[tuple[str, str]]:
    """Pair the node's inputs with the topics of the camera, the perception node and the poses."""
    rectify = texts['rectify'] and read.boolean(texts['rectify'])
    remaps = [('image', 'sync/image_rect' if rectify else texts['image_topic'])]
    if read.boolean(texts['consumer_topics']):
        remaps += CONSUMERS[texts['consumer']].remaps.items()
    if given['poses_topic']:
        remaps.append((given['poses_source'], given['poses_topic']))
    return remaps


def included(name: str, condition: Any) -> IncludeLaunchDescription:
    """Include another launch file of the package."""
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, 'launch', name])),
        condition=condition)


def generate_launch_description() -> LaunchDescription:
    """Start the camera's perception or the replay, and the mapping node."""
    replays = NotEqualsSubstitution([LaunchConfiguration(name) for name in RECORDINGS], '')
    description = LaunchDescription([
        DeclareLaunchArgument(
            name, default_value=argument.default, description=argument.description)
        for name, argument in ARGUMENTS.items()])
    for action in (OpaqueFunction(function=check, args=[description]),
                   included('kitti_replay.launch.py', IfCondition(replays)),
                   included('camera.launch.py', UnlessCondition(replays)),
                   OpaqueFunction(function=mapping)):
        description.add_action(action)
    return description
