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

"""Messages of a map: cloud, mesh, navigation grid and pose."""

from __future__ import annotations

import array

from geometry_msgs.msg import Point, Pose, TransformStamped, Vector3
import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import ColorRGBA, Header
from sync_perception.geometry import quaternion
from sync_perception.labels import LabelSpace
from sync_perception.mapping.semantic_map.grid import Grid
from sync_perception.mapping.semantic_map.surface import Surface
from sync_perception.ros.core.optional_messages import Marker, OccupancyGrid, Odometry
from sync_perception.ros.io.conversions import cloud_message
from sync_perception.runtime.pointcloud import POINT


def map_cloud(surface: Surface, space: LabelSpace, color: str, header: Header) -> PointCloud2:
    """
    Return the points of a map, with the fields of the cloud of a frame.

    :param color: camera or label.
    """
    points = np.zeros(len(surface), POINT)
    for name, column in zip('xyz', surface.points.T):
        points[name] = column
    points['rgb'] = surface_colors(surface, space, color) @ np.array([1 << 16, 1 << 8, 1])
    points['label'], points['confidence'] = surface.labels, surface.confidence
    return cloud_message(points, header)


def map_mesh(surface: Surface, triangles: np.ndarray, space: LabelSpace, color: str,
             header: Header) -> Marker:
    """
    Return triangles of a map's surface as a marker.

    :param triangles: int (M, 3), indices of the vertices.
    :param color: camera or label.
    """
    # one object for each vertex, since most triangles share theirs
    points = [Point(x=x, y=y, z=z) for x, y, z in surface.points.astype(np.float64).tolist()]
    colors = [ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in (
        surface_colors(surface, space, color) / 255).tolist()]
    corners = triangles.ravel().tolist()
    marker = Marker(header=header, ns='map', type=Marker.TRIANGLE_LIST, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=1.0, y=1.0, z=1.0)
    marker.color.a = 1.0
    marker.points = [points[corner] for corner in corners]
    marker.colors = [colors[corner] for corner in corners]
    return marker


def map_grid(grid: Grid, header: Header) -> OccupancyGrid:
    """Return a navigation grid: 0 free, 100 occupied, -1 unknown."""
    message = OccupancyGrid(header=header)
    message.info.map_load_time = header.stamp
    message.info.resolution = float(grid.resolution)
    message.info.height, message.info.width = grid.values.shape
    world_T_grid = np.linalg.inv(grid.grid_T_world)
    world_T_grid[:3, 3] = world_T_grid[:3, :3] @ (*grid.origin, 0.0)
    message.info.origin = pose_message(world_T_grid)
    message.data = array.array('b', np.ascontiguousarray(grid.values).tobytes())
    return message


def surface_colors(surface: Surface, space: LabelSpace, color: str) -> np.ndarray:
    """Return the colours of vertices: int64 (N, 3), RGB."""
    colors = surface.colors if color == 'camera' else space.palette[surface.labels]
    return colors.astype(np.int64)


def pose_message(pose: np.ndarray) -> Pose:
    """Return a pose, float64 (4, 4), as a message."""
    message = Pose()
    message.position.x, message.position.y, message.position.z = pose[:3, 3].tolist()
    turn = message.orientation
    turn.x, turn.y, turn.z, turn.w = map(float, quaternion(pose[:3, :3]))
    return message


def odometry_message(world_T_camera: np.ndarray, header: Header, camera_frame: str) -> Odometry:
    """
    Return the pose of a camera's optical frame; its velocity is not filled in.

    :param header: stamp of the frame, and frame_id of the world.
    """
    message = Odometry(header=header, child_frame_id=camera_frame)
    message.pose.pose = pose_message(world_T_camera)
    return message


def transform_message(
        world_T_camera: np.ndarray, header: Header, camera_frame: str) -> TransformStamped:
    """Return the pose of a camera's optical frame as a transform."""
    pose = pose_message(world_T_camera)
    message = TransformStamped(header=header, child_frame_id=camera_frame)
    translation = message.transform.translation
    translation.x, translation.y, translation.z = (
        pose.position.x, pose.position.y, pose.position.z)
    message.transform.rotation = pose.orientation
    return message
