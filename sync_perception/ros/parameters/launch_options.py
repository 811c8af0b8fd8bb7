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
Arguments of the launch files that do not set a parameter of a node.

The launch files add an argument for each parameter. The tables in docs/launch.md are generated
from these definitions. This module does not import the launch system.
"""

from __future__ import annotations

from sync_perception.ros.parameters import launch_arguments as read
from sync_perception.ros.parameters.launch_arguments import Argument

POSES_TOPIC = Argument(
    '', 'Topic of the poses with poses_source odometry or pose; empty for odometry or pose.',
    read.unless_empty(read.topic))
CAMERA = {
    'image_topic': Argument(
        'image', 'Topic of the rectified images, or of unrectified ones with rectify:=true; with '
                 'several cameras, a topic below the name of each.', read.topic),
    'camera_info_topic': Argument(
        'camera_info', 'Topic of the calibration; with several cameras, a topic below the name of '
                       'each.', read.topic),
    'poses_topic': POSES_TOPIC,
    'consumer_topics': Argument(
        'false', 'Publish on the default topics of the consumer instead of sync/...: true or '
                 'false.', read.boolean),
    'namespace': Argument(
        '', 'Namespace of the nodes; the outputs are NAMESPACE/sync/...', read.namespace),
    'params_file': Argument(
        'config/perception.yaml',
        "YAML file of the node's parameters, or none for their defaults.", read.parameters_file),
    'use_sim_time': Argument('false', 'Use the time of /clock: true or false.', read.boolean),
    'profile': Argument(
        'shm', 'Profile of Fast DDS: shm (the profile of this package, which carries images '
               'between processes without loss, unless the environment sets another one), none '
               '(the profile that the environment sets, otherwise the defaults of Fast DDS), or '
               'the path of an XML file.',
        read.word_or_file('shm', 'none')),
    'rviz': Argument('false', 'Show the results in RViz: true or false.', read.boolean),
    'rviz_config': Argument(
        'config/rviz/sync.rviz', 'Configuration of RViz.', read.word_or_file()),
    'rviz_frame': Argument(
        'camera_optical_frame', 'Fixed frame of RViz: the frame_id of the images, or any frame '
                                'that tf connects to it.'),
    'log_level': Argument(
        'info', 'debug, info, warn, error or fatal; or LOGGER:=LEVEL.', read.log_level),
}
"""Arguments of camera.launch.py."""
REPLAY = {
    'drive': Argument(
        '', 'Folder of a KITTI raw drive, {date}_drive_{nnnn}_sync; set either drive or bag.',
        read.unless_empty(read.existing_path)),
    'bag': Argument(
        '', 'A rosbag2 bag: its folder, or its .mcap or .db3 file; set either drive or bag.',
        read.unless_empty(read.existing_path)),
    'player': Argument(
        'node', 'Program that plays a bag: node (replay_node of this package, which plays only '
                'the images) or ros2bag (ros2 bag play --clock, which plays all topics; of the '
                "replay's arguments it uses speed and loop, and bag_image and bag_camera_info, "
                'which are remapped to image_topic and camera_info_topic).',
        read.one_of('node', 'ros2bag')),
    'play_args': Argument(
        '', 'Further arguments of ros2 bag play, such as "--start-offset 10".', read.words),
    'use_sim_time': Argument(
        'auto', 'Use the time of /clock: true, false, or auto for true if the player publishes '
                'it.',
        lambda text: text if text == 'auto' else read.boolean(text)),
    'shutdown': Argument(
        'true', 'End the whole launch when the recording or the perception node has ended: true '
        'or false.', read.boolean),
}
"""Arguments of kitti_replay.launch.py."""
MAPPING = {
    'drive': Argument(
        '', 'Folder of a KITTI raw drive, which is replayed instead of a camera.',
        read.unless_empty(read.existing_path)),
    'bag': Argument(
        '', 'A rosbag2 bag, which is replayed instead of a camera.',
        read.unless_empty(read.existing_path)),
    'poses_topic': POSES_TOPIC,
    'mapping_file': Argument(
        'config/mapping.yaml',
        "YAML file of the mapping node's parameters, or none for their defaults.",
        read.parameters_file),
    'rviz_config': Argument(
        'config/rviz/mapping.rviz', 'Configuration of RViz.', read.word_or_file()),
    'rviz_frame': Argument(
        '', 'Fixed frame of RViz; empty for map_frame, or else odom with visual odometry and map '
            'with other poses.'),
}
"""Arguments of mapping.launch.py."""
IN_SHARE = ('params_file', 'mapping_file', 'rviz_config')
"""Arguments whose default is relative to the package's share."""
