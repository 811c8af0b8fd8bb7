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

"""Topics of the map: cloud, mesh and navigation grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from sync_perception.mapping.semantic_map.grid import GridSettings, navigation_grid
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.surface import Surface
from sync_perception.mapping.semantic_map.surface_cache import SurfaceCache
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.core.optional_messages import Marker, OccupancyGrid
from sync_perception.ros.io.map_messages import map_cloud, map_grid, map_mesh
from sync_perception.ros.parameters.mapping import MappingParameters

CLOUD, MESH, GRID = TOPICS = ('sync/map', 'sync/map/mesh', 'sync/map/grid')

class MapPublishers:
    """
    Publishers of the map; messages are built on the worker's thread.

    :param parameters: function that returns the node's current parameters.
    :param log: log of what could not be published.
    :ivar points: number of points of the published map.
    """

    def __init__(self, node: Node, parameters: Callable[[], MappingParameters], log: SeldomLog):
        self.node, self.parameters, self.log = node, parameters, log
        kinds = {CLOUD: PointCloud2, MESH: Marker, GRID: OccupancyGrid}
        missing = [topic for topic, kind in kinds.items() if kind is None]
        if missing:
            node.get_logger().warning(
                f'visualization_msgs or nav_msgs is not installed: no {", ".join(missing)}')
        self.publishers: dict[str, Publisher] = {
            topic: node.create_publisher(
                kind, topic, qos.latched(), qos_overriding_options=qos.overridable())
            for topic, kind in kinds.items() if kind is not None}
        self.points = 0
        self.forget()

    def forget(self) -> None:
        """Forget the surfaces, since there is another map."""
        self.cache = SurfaceCache()
        self.unsent: dict[str, set[int]] = {topic: set() for topic in self.publishers}
        self.fresh = dict.fromkeys(self.publishers, True)

    def close(self) -> None:
        """Remove the topics."""
        for publisher in self.publishers.values():
            self.node.destroy_publisher(publisher)
        self.publishers = {}

    def wanted(self) -> bool:
        """Return whether a topic of the map has a subscriber."""
        return any(publisher.get_subscription_count() for publisher in self.publishers.values())

    def publish(self, semantic_map: SemanticMap, place: np.ndarray | None, header: Header) -> None:
        """
        Publish the map on the topics that have subscribers, if it has changed.

        :param place: position of the camera, metres; None if it is not known.
        """
        changed = self.cache.note_changes(semantic_map)
        for unsent in self.unsent.values():
            unsent |= changed
        topics = [topic for topic, publisher in self.publishers.items()
                  if publisher.get_subscription_count() and (
                      self.unsent[topic] or self.fresh[topic])]
        if not topics:
            return
        values = self.parameters()
        surface = self.cache.update(semantic_map, place, values.publish_radius)
        self.points = len(surface)
        for topic in topics:
            if topic == CLOUD:
                part = values.publish_changes and not self.fresh[CLOUD]
                message: Any = map_cloud(
                    self.cache.part(self.unsent[CLOUD]) if part else surface, semantic_map.space,
                    values.publish_color, header)
            elif topic == MESH:
                message = map_mesh(
                    surface, self._triangles(surface, place), semantic_map.space,
                    values.publish_color, header)
            else:
                message = map_grid(navigation_grid(
                    surface, semantic_map.space, np.array(semantic_map.settings.up),
                    GridSettings(values.grid_resolution, values.grid_step,
                                 max(values.grid_height, values.grid_step))), header)
            self.publishers[topic].publish(message)
            self.unsent[topic], self.fresh[topic] = set(), False

    def _triangles(self, surface: Surface, place: np.ndarray | None) -> np.ndarray:
        """Return the triangles nearest to the camera, up to the largest number."""
        if not len(surface):
            return np.zeros((0, 3), int)
        triangles, most = surface.triangles(), self.parameters().mesh_max_triangles
        if len(triangles) <= most:
            return triangles
        self.log.warn('mesh', (
            f'{MESH}: the map has {len(triangles)} triangles, the {most} nearest to the camera '
            'are published (mesh.max_triangles)'), period=60.0)
        distance = np.linalg.norm(
            surface.points[triangles[:, 0]] - (0 if place is None else place), axis=1)
        return triangles[np.argpartition(distance, most)[:most]]
