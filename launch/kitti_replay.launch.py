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
Drive a KITTI raw recording through the perception node.

    ros2 launch sync_perception kitti_replay.launch.py drive:=/data/2011_09_26_drive_0001_sync

The arguments of camera.launch.py can be given as well; all are listed by `--show-args`.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# argument: (parameter, type, default, description)
ARGUMENTS = {
    'drive': ('path', str, None, 'Folder of the drive, {date}_drive_{nnnn}_sync.'),
    'camera': ('camera', int, '2', '0 and 1 grey, 2 and 3 colour, left and right.'),
    'rate': ('rate', float, '10.0', 'Frames a second.'),
    'start': ('start', int, '0', 'Frames skipped at the beginning.'),
    'count': ('count', int, '0', 'Frames played; 0 for all.'),
    'loop': ('loop', bool, 'false', 'Begin again after the last frame.'),
    'lockstep': ('lockstep', bool, 'false', 'Wait for the node after every frame: none is lost.'),
    'clock': ('clock', bool, 'false', 'Publish /clock, for use_sim_time:=true.'),
    'stamps': ('stamps', str, 'original', 'original or now.'),
}


def generate_launch_description() -> LaunchDescription:
    """Start the perception node, and a replay that ends the launch when it is through."""
    share = FindPackageShare('sync_perception')
    camera = IncludeLaunchDescription(PythonLaunchDescriptionSource(
        PathJoinSubstitution([share, 'launch', 'camera.launch.py'])))
    values = {
        parameter: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (parameter, kind, _, _) in ARGUMENTS.items()}
    replay = Node(
        package='sync_perception',
        executable='replay_node',
        name='replay',
        namespace=LaunchConfiguration('namespace'),
        parameters=[{'source': 'kitti', **values}],
        remappings=[('image', LaunchConfiguration('image_topic')),
                    ('camera_info', LaunchConfiguration('camera_info_topic'))],
        output='screen',
        on_exit=[Shutdown(reason='the replay has ended')])
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (_, _, default, description) in ARGUMENTS.items()),
        camera, replay])
