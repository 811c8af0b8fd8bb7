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
Drive a recording, a KITTI raw drive or a bag, through the perception node.

    ros2 launch sync_perception kitti_replay.launch.py drive:=/data/2011_09_26_drive_0001_sync \
        rviz:=true
    ros2 launch sync_perception kitti_replay.launch.py bag:=/data/drive.mcap clock:=true
    ros2 launch sync_perception kitti_replay.launch.py bag:=/data/drive player:=ros2bag \
        image_topic:=/camera/image_rect camera_info_topic:=/camera/camera_info

The arguments of camera.launch.py can be given as well; all are listed by `--show-args`, and
checked before anything starts.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EqualsSubstitution,
    IfElseSubstitution,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
from sync_perception.ros.parameters import launch_arguments as read
from sync_perception.ros.parameters import launch_options
from sync_perception.ros.parameters.replay import ReplayParameters

REPLAY = read.parameter_arguments(
    ReplayParameters, leave_out=('source', 'path', 'seed'),
    readers={'camera_info': read.unless_empty(read.existing_path)})
ARGUMENTS = {
    **launch_options.REPLAY,
    **REPLAY,
}
NOT_OF_DRIVES = ('bag_image', 'bag_camera_info', 'camera_info', 'speed', 'play_args')
NOT_OF_BAGS = ('camera', 'frame_id')
OF_ROS2_BAG = ('bag_image', 'bag_camera_info', 'speed', 'loop', 'clock')


def check(context: LaunchContext, description: LaunchDescription) -> None:
    """
    Refuse mistakes in the arguments of the replay before any process has started.

    :raises ValueError: naming the argument, what was got and what was expected.
    """
    read.check_names(
        sys.argv, __file__, (argument.name for argument in description.get_launch_arguments()))
    given = read.read_arguments(ARGUMENTS, context.launch_configurations)
    if (given['drive'] is None) == (given['bag'] is None):
        raise ValueError(f'got drive {given["drive"]} and bag {given["bag"]}, expected one of '
                         'them: drive:=FOLDER or bag:=PATH')
    if given['player'] == 'ros2bag':
        check_ros2_bag(given)
    elif cameras := context.launch_configurations.get('cameras'):  # declared by camera.launch.py
        raise ValueError(f'cameras: got {cameras!r}, expected none: the replay node plays one '
                         'camera, player:=ros2bag plays several')
    for name, reason in without_effect(given):
        if given[name] != ARGUMENTS[name].read(ARGUMENTS[name].default):
            raise ValueError(f'{name}: got {given[name]!r}, which has no effect {reason}')


def check_ros2_bag(given: dict[str, Any]) -> None:
    """
    Refuse what ros2 bag play cannot do here.

    :raises ValueError: saying what is missing.
    """
    if given['bag'] is None:
        raise ValueError('player: got ros2bag and a drive, expected bag:=PATH')
    try:
        get_package_prefix('ros2bag')
    except PackageNotFoundError as error:
        raise ValueError(
            'player:=ros2bag needs the package ros2bag, which is not installed') from error
    if shutil.which('ros2') is None:
        raise ValueError('player:=ros2bag needs the command ros2, which is not on the PATH')
    if given['speed'] <= 0:
        raise ValueError(f'speed: got {given["speed"]}, expected more than 0 for player:=ros2bag')


def without_effect(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Pair arguments that do nothing here with the reason."""
    if given['player'] == 'ros2bag':
        return [(name, 'with player:=ros2bag') for name in REPLAY if name not in OF_ROS2_BAG]
    if given['drive']:
        return [(name, 'on a drive') for name in NOT_OF_DRIVES]
    rate = [('rate', 'on a bag unless speed is 0')] if given['speed'] else []
    return [*rate, ('play_args', 'without player:=ros2bag'),
            *((name, 'on a bag') for name in NOT_OF_BAGS)]


def player(context: LaunchContext) -> list[Action]:
    """Make the process that plays the recording."""
    given = read.read_arguments(ARGUMENTS, context.launch_configurations)
    topics = {name: context.launch_configurations[f'{name}_topic']
              for name in ('image', 'camera_info')}
    namespace = context.launch_configurations['namespace']
    if given['player'] == 'ros2bag':
        process = ExecuteProcess(
            cmd=['ros2', 'bag', 'play', given['bag'], '--clock',
                 *play_arguments(given, topics, namespace)],
            name='ros2_bag_play', output='screen')
    else:
        process = Node(
            package='sync_perception', executable='replay_node', name='replay',
            namespace=namespace,
            parameters=[{
                'source': 'kitti' if given['drive'] else 'bag',
                'path': given['drive'] or given['bag'],
                **read.parameter_values(REPLAY, given)}],
            remappings=list(topics.items()), output='screen')
    watch = [RegisterEventHandler(OnProcessExit(on_exit=end_with(process)))]
    return [*(watch if given['shutdown'] else []), process]


def end_with(playing: Action):
    """Return the handler that ends the launch when the player or the perception node ends."""
    def ended(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        name = getattr(event.action, 'node_executable', event.process_name)
        perceives = name == 'perception_node'
        if context.is_shutdown or not (perceives or event.action is playing):
            return None
        if event.returncode or perceives:
            # an exception is what gives the launch another exit status than 0
            raise RuntimeError(f'{name} ended with status {event.returncode}')
        return Shutdown(reason='the recording has ended')
    return ended


def play_arguments(given: dict[str, Any], topics: dict[str, str], namespace: str) -> list[str]:
    """Turn the arguments into those of ros2 bag play; named topics go to the node's inputs."""
    remaps = []
    for own, topic in topics.items():
        recorded = given[f'bag_{own}']
        if recorded:
            if not topic.startswith('/'):
                topic = '/'.join(['', *namespace.split('/'), topic])
            remaps.append(f'{recorded}:={topic.replace("//", "/")}')
    return ['--rate', str(given['speed']), *(['--loop'] if given['loop'] else []),
            *(['--remap', *remaps] if remaps else []), *given['play_args']]


def generate_launch_description() -> LaunchDescription:
    """Start the perception node, and a player that ends the launch when it is through."""
    given = LaunchConfiguration('use_sim_time')
    clock = IfElseSubstitution(
        EqualsSubstitution(LaunchConfiguration('player'), 'ros2bag'),
        'true', LaunchConfiguration('clock'))
    camera = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution(
            [FindPackageShare('sync_perception'), 'launch', 'camera.launch.py'])),
        launch_arguments=[
            ('use_sim_time', IfElseSubstitution(EqualsSubstitution(given, 'auto'), clock, given))])
    description = LaunchDescription([
        DeclareLaunchArgument(
            name, default_value=argument.default, description=argument.description)
        for name, argument in ARGUMENTS.items()])
    for action in (OpaqueFunction(function=check, args=[description]), camera,
                   OpaqueFunction(function=player)):
        description.add_action(action)
    return description
