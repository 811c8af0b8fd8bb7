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

The arguments of camera.launch.py can be given as well; all are listed by `--show-args`.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EqualsSubstitution,
    IfElseSubstitution,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PLAYERS = ('node', 'ros2bag')
# argument: (default, description)
ARGUMENTS = {
    'drive': ('', 'Folder of a KITTI raw drive, {date}_drive_{nnnn}_sync; this or bag.'),
    'bag': ('', 'A rosbag2 bag: its folder, or its .mcap or .db3 file; this or drive.'),
    'player': ('node', "Who plays a bag: node (this package's replay_node, the images alone) or "
               'ros2bag (ros2 bag play --clock, all topics).'),
    'play_args': ('', 'Further arguments of ros2 bag play, such as "--start-offset 10".'),
    'use_sim_time': ('auto', 'Follow /clock: true, false, or auto: if the player publishes it.'),
    'shutdown': ('true', 'End the whole launch when the recording has ended: true or false.'),
}
# of the recording; argument: (parameter of the replay node, type, default, description)
REPLAY = {
    'bag_image': ('bag.image', str, '', 'Topic of the images in the bag; empty: the only one, or '
                  'with player:=ros2bag image_topic.'),
    'bag_camera_info': ('bag.camera_info', str, '', 'Topic of their calibration in the bag; '
                        'empty: the one beside them, or with player:=ros2bag '
                        'camera_info_topic.'),
    'speed': ('speed', float, '1.0', 'Of a bag: times as fast as it was recorded; for the replay '
              'node 0 plays it at rate.'),
    'loop': ('loop', bool, 'false', 'Begin again after the last frame.'),
    'camera': ('camera', int, '2', 'Of a drive: 0 and 1 grey, 2 and 3 colour, left and right.'),
    'rate': ('rate', float, '10.0', 'Frames a second; not with player:=ros2bag, as what follows.'),
    'start': ('start', int, '0', 'Frames skipped at the beginning.'),
    'count': ('count', int, '0', 'Frames played; 0 for all.'),
    'lockstep': ('lockstep', bool, 'false', 'Wait for the node after every frame: none is lost.'),
    'clock': ('clock', bool, 'false', 'Publish /clock.'),
    'stamps': ('stamps', str, 'original', 'original or now.'),
}


def recording(context: LaunchContext) -> tuple[str, str]:
    """
    Return what is played and where it is.

    :return: `kitti` or `bag`, and the absolute path.
    :raises ValueError: if there is none, or more than one.
    """
    drive, bag = argument(context, 'drive'), argument(context, 'bag')
    if bool(drive) == bool(bag):
        raise ValueError(
            f'got drive {drive!r} and bag {bag!r}, expected one of them: drive:=FOLDER or '
            'bag:=PATH')
    path = Path(drive or bag).expanduser().absolute()
    if not path.exists():
        raise ValueError(f'there is no {path}, expected the recording to replay')
    return ('kitti' if drive else 'bag'), str(path)


def check(context: LaunchContext) -> None:
    """
    Refuse arguments that do not fit together, before any process has started.

    :raises ValueError: saying what was got and what was expected.
    """
    source, _ = recording(context)
    chosen = argument(context, 'player')
    if chosen not in PLAYERS:
        raise ValueError(f'player: got {chosen!r}, expected one of {", ".join(PLAYERS)}')
    if chosen == 'ros2bag' and source != 'bag':
        raise ValueError('player:=ros2bag plays bags, got a drive: expected bag:=PATH')
    # declared by camera.launch.py, which comes later
    if chosen == 'node' and context.launch_configurations.get('cameras'):
        raise ValueError('the replay node plays one camera: cameras is for player:=ros2bag')


def player(context: LaunchContext) -> list[Action]:
    """Make the process that plays the recording."""
    source, path = recording(context)
    end = argument(context, 'shutdown') == 'true'
    on_exit = [Shutdown(reason='the recording has ended')] if end else []
    if argument(context, 'player') == 'ros2bag':
        return [ExecuteProcess(
            cmd=['ros2', 'bag', 'play', path, '--clock', *play_arguments(context)],
            name='ros2_bag_play', output='screen', on_exit=on_exit)]
    values = {
        parameter: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (parameter, kind, _, _) in REPLAY.items()}
    return [Node(
        package='sync_perception',
        executable='replay_node',
        name='replay',
        namespace=argument(context, 'namespace'),
        parameters=[{'source': source, 'path': path, **values}],
        remappings=[('image', argument(context, 'image_topic')),
                    ('camera_info', argument(context, 'camera_info_topic'))],
        output='screen',
        on_exit=on_exit)]


def play_arguments(context: LaunchContext) -> list[str]:
    """Turn the arguments into those of ros2 bag play; named topics go to the node's inputs."""
    words = ['--rate', argument(context, 'speed')]
    if argument(context, 'loop') == 'true':
        words.append('--loop')
    remaps = []
    for recorded, wanted in (('bag_image', 'image_topic'),
                             ('bag_camera_info', 'camera_info_topic')):
        topic, target = argument(context, recorded), argument(context, wanted)
        if topic:
            if not target.startswith('/'):
                target = '/'.join(['', *argument(context, 'namespace').split('/'), target])
            remaps.append(f'{topic}:={target.replace("//", "/")}')
    return [*words, *(['--remap', *remaps] if remaps else []),
            *argument(context, 'play_args').split()]


def argument(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument."""
    return LaunchConfiguration(name).perform(context)


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
    defaults = {**ARGUMENTS, **{name: rest for name, (_, _, *rest) in REPLAY.items()}}
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in defaults.items()),
        OpaqueFunction(function=check), camera, OpaqueFunction(function=player)])
