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
Run the perception node on a camera.

    ros2 launch sync_perception camera.launch.py image_topic:=/camera/image_rect \
        camera_info_topic:=/camera/camera_info rviz:=true

The arguments are listed by `--show-args`.
"""

from __future__ import annotations

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
import yaml

SHARE = FindPackageShare('sync_perception')
TOPICS = {
    'image_topic': ('image', 'Rectified images of the camera.'),
    'camera_info_topic': ('camera_info', 'Calibration of the camera.'),
    'namespace': ('', 'Namespace of the node; its outputs are NAMESPACE/sync/...'),
}
FILES = {
    'params_file': (
        PathJoinSubstitution([SHARE, 'config', 'perception.yaml']),
        "YAML file with the node's parameters."),
}
# argument: (parameter, type); empty is what the params_file says
PARAMETERS = {
    'model': ('model', str, 'Folder of the model, exported file, or DEPTH+SEGMENTATION.'),
    'device': ('device', str, 'auto, cpu, cuda or cuda:N.'),
    'half': ('half', bool, "The device's 16-bit format: true or false."),
    'max_depth': ('max_depth', float, 'Metres beyond which depth is invalid.'),
    'image_transport': ('image_transport', str, 'raw or compressed.'),
    'depth_encoding': ('depth.encoding', str, '32FC1 (metres) or 16UC1 (millimetres).'),
    'semantics_encoding': ('semantics.encoding', str, 'mono8 (255 void) or 16SC1 (-1 void).'),
    'points_stride': ('points.stride', int, 'A point for every n-th row and column.'),
    'points_organized': ('points.organized', bool, 'A grid of points, or a list of valid ones.'),
    'points_color': ('points.color', str, 'camera or label.'),
    'autostart': ('autostart', bool, 'Configure and activate at start: true or false.'),
}
SWITCHES = {
    'use_sim_time': ('false', 'Follow /clock.'),
    'rviz': ('false', 'Show the results in RViz.'),
    'log_level': ('info', 'debug, info, warn, error or fatal.'),
}


def parameters(context: LaunchContext) -> dict[str, Any]:
    """Turn the arguments that are set into parameters of their types."""
    values = {'use_sim_time': yaml.safe_load(argument(context, 'use_sim_time'))}
    for name, (parameter, kind, _) in PARAMETERS.items():
        text = argument(context, name)
        if text:
            values[parameter] = text if kind is str else kind(yaml.safe_load(text))
    return values


def perception(context: LaunchContext) -> list[Node]:
    """Make the perception node; arguments that are set win over the file."""
    return [Node(
        package='sync_perception',
        executable='perception_node',
        name='perception',
        namespace=argument(context, 'namespace'),
        parameters=[argument(context, 'params_file'), parameters(context)],
        remappings=[('image', argument(context, 'image_topic')),
                    ('camera_info', argument(context, 'camera_info_topic'))],
        arguments=['--ros-args', '--log-level', argument(context, 'log_level')],
        output='screen')]


def argument(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument."""
    return LaunchConfiguration(name).perform(context)


def shared_memory_profile() -> list[SetEnvironmentVariable]:
    """Point Fast DDS, by both of its names, to the shipped profile unless the user has one."""
    shipped = PathJoinSubstitution([SHARE, 'config', 'fastdds_shm.xml'])
    old, new = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
    profile = EnvironmentVariable(new, default_value=EnvironmentVariable(
        old, default_value=shipped))
    return [SetEnvironmentVariable(name, profile) for name in (new, old)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in {**TOPICS, **FILES, **SWITCHES}.items()]
    arguments += [
        DeclareLaunchArgument(
            name, default_value='', description=f'{description} Empty: as in params_file.')
        for name, (_, _, description) in PARAMETERS.items()]
    rviz = Node(
        package='rviz2', executable='rviz2', name='rviz',
        arguments=['-d', PathJoinSubstitution([SHARE, 'config', 'rviz', 'perception.rviz'])],
        condition=IfCondition(LaunchConfiguration('rviz')))
    return LaunchDescription(
        [*arguments, *shared_memory_profile(), OpaqueFunction(function=perception), rviz])
