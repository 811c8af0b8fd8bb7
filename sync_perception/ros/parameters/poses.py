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

"""Parameters of the source of poses, which the perception node and the mapping node share."""

from __future__ import annotations

from dataclasses import dataclass
import math

from sync_perception.mapping.trajectory import PoseLimits
from sync_perception.ros.parameters.server import parameter

VISUAL = 'visual'
POSE_SOURCES = (VISUAL, 'odometry', 'pose', 'tf', 'file')


def transform_numbers(text: str) -> tuple[float, ...]:
    """
    Return the numbers x y z qx qy qz qw of a transform in a text.

    :raises ValueError: if there are not seven, or the quaternion does not have the length 1.
    """
    numbers = tuple(float(word) for word in text.replace(',', ' ').split())
    if len(numbers) != 7 or not all(map(math.isfinite, numbers)) or (
            abs(math.hypot(*numbers[3:]) - 1) > 0.01):
        raise ValueError('not a transform')
    return numbers


def expected_transform(text: str) -> str:
    """Return what was expected if this is not a transform; otherwise ''."""
    try:
        transform_numbers(text)
    except ValueError:
        return 'seven numbers x y z qx qy qz qw with a quaternion of length 1'
    return ''


@dataclass(frozen=True)
class PoseParameters:
    """Parameters of the source of the camera's poses."""

    poses_source: str = parameter(
        'poses.source', 'visual', 'Source of the poses: visual (odometry on the images and '
                                  'depth), odometry (topic odometry, nav_msgs/Odometry), pose '
                                  '(topic pose, geometry_msgs/PoseStamped), tf (needs tf2_ros) or '
                                  'file.', choices=POSE_SOURCES, see='mapping_node.md#poses')
    poses_camera: str = parameter(
        'poses.camera', '0 0 0 0 0 0 1', "With odometry and pose: the camera's optical frame in "
                                         'the frame whose poses arrive, as x y z in metres and '
                                         'quaternion x y z w. For a camera that looks ahead, the '
                                         'quaternion is -0.5 0.5 -0.5 0.5.',
        check=expected_transform)
    poses_file: str = parameter(
        'poses.file', '', 'With file: trajectory of the optical frame, in one of the layouts of '
                          'the mapping page.', see='mapping.md#poses')
    poses_rate: float = parameter(
        'poses.rate', 10.0, 'With file: poses per second, for layouts without times.', low=0.01,
        high=1000.0)
    poses_patience: float = parameter(
        'poses.patience', 0.5, 'Seconds that a frame waits for its pose; then it is left out of '
                               'the map.', low=0.0, high=60.0, live=True)
    poses_gap: float = parameter(
        'poses.gap', 0.5, 'Longest time in seconds between two poses over which a pose is '
                          'interpolated.', low=0.001, high=60.0)
    poses_speed: float = parameter(
        'poses.speed', 60.0, 'Speed in m/s beyond which poses are taken for a jump.', low=0.01,
        high=1000.0)


def pose_limits(parameters: PoseParameters) -> PoseLimits:
    """Return the poses that are believed."""
    return PoseLimits(gap=parameters.poses_gap, speed=parameters.poses_speed)
