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

The arguments are listed by `--show-args`. In other launch files it can be included within groups
and namespaces, and more than once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
import yaml

SHARE = FindPackageShare('sync_perception')
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
# argument: (default, description)
ARGUMENTS = {
    'image_topic': ('image', 'Rectified images; with cameras, below the name of each.'),
    'camera_info_topic': ('camera_info', 'Their calibration; with cameras, below each name.'),
    'consumer_topics': ('false', 'Publish where the consumer looks by itself, instead of on '
                        'sync/...: true or false.'),
    'namespace': ('', 'Namespace of the nodes; the outputs are NAMESPACE/sync/...'),
    'params_file': (PathJoinSubstitution([SHARE, 'config', 'perception.yaml']),
                    "YAML file with the node's parameters; empty: the node's defaults."),
    'use_sim_time': ('false', 'Follow /clock: true or false.'),
    'profile': ('shm', 'Profile of Fast DDS: shm (the shipped one, which carries images between '
                'processes without loss, unless the environment names another), none (leave the '
                'environment as it is), or the path of an XML file.'),
    'rviz': ('false', 'Show the results in RViz: true or false.'),
    'rviz_frame': ('camera_optical_frame', 'Fixed frame of RViz: the frame_id of the images, or '
                   'any that tf connects with it.'),
    'log_level': ('info', 'debug, info, warn, error or fatal.'),
}
# argument: (parameter, type, description); empty is what the params_file says
PARAMETERS = {
    'consumer': ('consumer', str, 'Who reads the topics, which sets the encodings, the id of '
                 'void and the colour of the cloud: generic, hydra, kimera, rtabmap, nvblox or '
                 'nav2.'),
    'cameras': ('cameras', list, 'Names of several cameras, with commas between them: '
                'front,left,right. Each has its topics below its name: NAME/image_topic in, '
                'NAME/sync/... out.'),
    'model': ('model', str, 'Folder of the model, exported file, or DEPTH+SEGMENTATION.'),
    'device': ('device', str, 'auto, cpu, cuda or cuda:N.'),
    'half': ('half', bool, "The device's 16-bit format: true or false."),
    'load_timeout': ('load_timeout', float, 'Seconds after which a model that is still being '
                     'loaded counts as one that cannot be loaded.'),
    'max_rate': ('max_rate', float, 'Frames a second of each camera, at most; 0: no limit.'),
    'max_depth': ('max_depth', float, 'Metres beyond which depth is invalid.'),
    'semantics_min_confidence': ('semantics.min_confidence', float, 'Labels of a lower '
                                 'probability, 0 to 1, become void.'),
    'image_transport': ('image_transport', str, 'raw or compressed.'),
    'image_significant_bits': ('image.significant_bits', int, 'Bits that the camera fills in '
                               'images of 16-bit pixels; 0: found out from the values.'),
    'max_pixels': ('max_pixels', int, 'Images of more pixels are refused.'),
    'depth_encoding': ('depth.encoding', str, '32FC1 (metres) or 16UC1 (millimetres).'),
    'semantics_encoding': ('semantics.encoding', str, 'mono8 (255 void) or 16SC1 (-1 void).'),
    'confidence_encoding': ('confidence.encoding', str, '32FC1 (0 to 1) or mono8 (0 to 255).'),
    'points_stride': ('points.stride', int, 'A point for every n-th row and column.'),
    'points_organized': ('points.organized', bool, 'A grid of points, or a list of valid ones.'),
    'points_color': ('points.color', str, 'camera or label.'),
    'points_max_depth': ('points.max_depth', float, 'Metres beyond which the cloud has no '
                         'points; 0: all.'),
    'points_semantic_color': ('points.semantic_color', bool, "The label's colour as a further "
                              'field of the cloud: true or false.'),
    'consistency_model': ('consistency.model', str, 'Folder of a contrastive model that now and '
                          'then judges whether depth and labels fit together.'),
    'consistency_period': ('consistency.period', float, 'Seconds between two judgements.'),
    'consistency_minimum': ('consistency.minimum', float, 'Cosine below which /diagnostics '
                            'warns.'),
    'offline': ('offline', bool, 'Every image in order, none dropped, however late: true or '
                'false.'),
    'autostart': ('autostart', bool, 'Configure and activate at start: true or false.'),
}


def argument(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument."""
    return LaunchConfiguration(name).perform(context)


def camera_names(context: LaunchContext) -> list[str]:
    """Return the names of the cameras; one camera without a name is ['']."""
    return [name.strip() for name in argument(context, 'cameras').split(',')]


def parameters(context: LaunchContext) -> dict[str, Any]:
    """
    Turn the arguments that are set into parameters of their types.

    :raises ValueError: if a value has another type than its parameter.
    """
    values: dict[str, Any] = {'use_sim_time': switch(context, 'use_sim_time')}
    for name, (parameter, kind, _) in PARAMETERS.items():
        text = argument(context, name)
        if text:
            values[parameter] = typed(context, name, kind)
    return values


def typed(context: LaunchContext, name: str, kind: type) -> Any:
    """
    Read an argument as its parameter's type.

    :raises ValueError: saying what was got and what was expected.
    """
    text = argument(context, name)
    if kind is list:
        return camera_names(context)
    if kind is bool:
        return switch(context, name)
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f'{name}: got {text!r}, expected {kind.__name__}') from error


def switch(context: LaunchContext, name: str) -> bool:
    """
    Read an argument that is true or false.

    :raises ValueError: if it is neither.
    """
    text = argument(context, name)
    value = yaml.safe_load(text)
    if not isinstance(value, bool):
        raise ValueError(f'{name}: got {text!r}, expected true or false')
    return value


def input_topics(context: LaunchContext) -> list[tuple[str, str]]:
    """
    Pair the node's inputs with the camera's topics, or with those below each camera's name.

    :raises ValueError: if several cameras were to share one absolute topic.
    """
    remaps = []
    for camera in camera_names(context):
        for own, name in (('image', 'image_topic'), ('camera_info', 'camera_info_topic')):
            topic = argument(context, name)
            if camera and topic.startswith(('/', '~')):
                raise ValueError(
                    f'{name}: got {topic!r}, expected a topic below the name of each camera, '
                    'such as image_rect')
            remaps.append((f'{camera}/{own}', f'{camera}/{topic}') if camera else (own, topic))
    return remaps


def output_topics(context: LaunchContext) -> list[tuple[str, str]]:
    """
    Pair the node's outputs with the topics that the consumer reads, if that is wanted.

    :raises ValueError: if there is no such consumer, or there are cameras with names.
    """
    if not switch(context, 'consumer_topics'):
        return []
    from sync_perception.ros.consumers import CONSUMERS
    consumer = argument(context, 'consumer')
    if consumer not in CONSUMERS:
        raise ValueError(
            f'consumer_topics: got consumer {consumer!r}, expected one of {", ".join(CONSUMERS)}')
    if camera_names(context) != ['']:
        raise ValueError('consumer_topics: got cameras with names, expected one without')
    return list(CONSUMERS[consumer].remaps.items())


def perception(context: LaunchContext) -> list[Node]:
    """Make the perception node; arguments that are set win over the file."""
    file = argument(context, 'params_file')
    return [Node(
        package='sync_perception',
        executable='perception_node',
        name='perception',
        namespace=argument(context, 'namespace'),
        parameters=[*([file] if file else []), parameters(context)],
        remappings=input_topics(context) + output_topics(context),
        arguments=['--ros-args', '--log-level', argument(context, 'log_level')],
        output='screen')]


def viewer(context: LaunchContext) -> list[Node]:
    """
    Make RViz if it is wanted; of several cameras it shows the first.

    :raises ValueError: if there is no RViz.
    """
    if not switch(context, 'rviz'):
        return []
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError as error:
        raise ValueError('rviz:=true needs the package rviz2, which is not installed') from error
    camera = camera_names(context)[0]
    file = PathJoinSubstitution([SHARE, 'config', 'rviz', 'sync.rviz'])
    displays = yaml.safe_load(Path(file.perform(context)).read_text())[
        'Visualization Manager']['Displays']
    topics = {display['Topic']['Value'] for display in displays if 'Topic' in display}
    return [Node(
        package='rviz2', executable='rviz2', name='rviz',
        namespace=argument(context, 'namespace'),
        parameters=[{'use_sim_time': switch(context, 'use_sim_time')}],
        remappings=output_topics(context) + [
            (topic, f'{camera}/{topic}') for topic in sorted(topics) if camera],
        arguments=['-d', file, '-f', argument(context, 'rviz_frame')])]


def transport(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """
    Name Fast DDS its profile, by both of the variables that its versions read.

    :raises ValueError: if the profile is a file that is not there.
    """
    wanted = argument(context, 'profile')
    if wanted == 'none':
        return []
    if wanted == 'shm':
        shipped = PathJoinSubstitution([SHARE, 'config', 'fastdds_shm.xml']).perform(context)
        users = [context.environment.get(variable) for variable in PROFILE_VARIABLES]
        file = next((path for path in users if path), shipped)
    elif Path(wanted).expanduser().is_file():
        file = str(Path(wanted).expanduser().resolve())
    else:
        raise ValueError(
            f'profile: got {wanted!r}, expected shm, none or the path of an XML file')
    return [SetEnvironmentVariable(variable, file) for variable in PROFILE_VARIABLES]


def everything(context: LaunchContext) -> list[Action]:
    """Make all at once: a mistake in an argument is found before any process has started."""
    return [*transport(context), *perception(context), *viewer(context)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()]
    arguments += [
        DeclareLaunchArgument(
            name, default_value='', description=f'{description} Empty: as in params_file.')
        for name, (_, _, description) in PARAMETERS.items()]
    return LaunchDescription([*arguments, OpaqueFunction(function=everything)])
