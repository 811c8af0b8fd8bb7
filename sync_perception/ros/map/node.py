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

"""The mapping node, from the outputs of a perception node and poses to a semantic map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger
from sync_perception.labels import LabelSpace
from sync_perception.mapping.pose_files import read_trajectory
from sync_perception.mapping.semantic_map.map_store import MapStore
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.trajectory import Located
from sync_perception.mapping.upright import vertical
from sync_perception.ros.core.managed_node import ManagedNode
from sync_perception.ros.core.worker import Worker
from sync_perception.ros.core.worker_requests import WorkerRequests
from sync_perception.ros.health.counters import Pace
from sync_perception.ros.health.map_counters import MapCounters
from sync_perception.ros.health.report import Report
from sync_perception.ros.map.frame_pairs import FrameMessages
from sync_perception.ros.map.map_inputs import MapInputs
from sync_perception.ros.map.map_publishers import MapPublishers
from sync_perception.ros.map.map_report import frames_report, map_report
from sync_perception.ros.map.mapper import Mapper
from sync_perception.ros.parameters.mapping import MappingParameters
from sync_perception.ros.poses.pose_publishers import PosePublishers
from sync_perception.ros.poses.pose_sources import ros_pose_source
from sync_perception.ros.poses.waiting_frames import POSE_POLL, WaitingFrames
from sync_perception.runtime.backends.devices import choose_device


class MappingNode(ManagedNode):
    """
    Life-cycle node that fuses frames with depth, labels and poses to a semantic map.

    The executor's thread only pairs messages and finds poses. One worker thread fuses the newest
    frame, or in the offline mode every frame, publishes the map and answers the services.

    :param node_arguments: arguments of the LifecycleNode.
    """

    def __init__(self, **node_arguments: Any):
        super().__init__('mapping', MappingParameters, **node_arguments)
        self.mapper: Mapper | None = None
        self.worker: Worker[FrameMessages] | None = None
        self.inputs: MapInputs | None = None
        self.waiting: WaitingFrames[FrameMessages] | None = None
        self.pace = Pace()
        self.requests = WorkerRequests(self)
        self.timers_of_map: list[Any] = []
        for name in ('save', 'load', 'clear'):
            self._create_service(name)
        self.guard()

    def set_up(self) -> None:
        """Open the map, create its topics and start the worker."""
        values = self.parameters.values
        folder = Path(values.map_folder).expanduser().absolute() if values.map_folder else None
        settings = MapSettings(
            voxel=values.map_voxel, max_range=values.map_max_range, radius=values.map_radius,
            up=vertical_axis(values))
        store = MapStore(settings, folder, str(choose_device(values.map_device)))
        visual = values.poses_source == 'visual'
        self.mapper = Mapper(
            store, MapPublishers(self, lambda: self.parameters.values, self.log),
            PosePublishers(self, values.poses_publish_tf) if visual else None, self._map_frame,
            lambda: self.parameters.values, self.get_clock(), self.log)
        if values.label_space:
            self.mapper.space = LabelSpace.load(values.label_space)
        self.worker = Worker(self.mapper.process, self._count_dropped, keep_all=values.offline)
        self.timers_of_map = [self.steady_timer(values.publish_period, self._publish)]
        self.get_logger().info(
            f'configured: poses from {values.poses_source}, '
            + (f'map of {store.map.frames} frames in {folder}' if store.map else
               f'new map in {folder or "memory"}'))

    def start(self) -> None:
        """Subscribe to the frames and the poses."""
        values, mapper = self.parameters.values, self.mapper
        mapper.counters = MapCounters()
        poses = ros_pose_source(
            self, values, values.map_frame, lambda: self.waiting.advance(), self._refuse_pose)
        self.waiting = WaitingFrames(
            poses, self._use, self._count_dropped,
            lambda: self.parameters.values.poses_patience, values.offline)
        self.inputs = MapInputs(
            self, values, self.log, self._deliver, self._restart, mapper.count_refused,
            self._set_space, mapper.counters)
        self.timers_of_map.append(self.steady_timer(POSE_POLL, self._deliver))
        self.get_logger().info(f'listening to {", ".join(self.inputs.topics())}')

    def halt(self) -> None:
        """Unsubscribe; the map stays."""
        for timer in self.timers_of_map[1:]:
            self.destroy_timer(timer)
        del self.timers_of_map[1:]
        if self.inputs is not None:
            self.inputs.close()
            self.get_logger().info(f'inactive: {self.mapper.counters.summary()}')
        if self.waiting is not None:
            self.waiting.close()
        self.inputs = self.waiting = None

    def release(self) -> None:
        """Stop the worker, save the map if it has a folder, and remove the topics."""
        for timer in self.timers_of_map:
            self.destroy_timer(timer)
        self.timers_of_map = []
        ended = self.worker is None or self.worker.stop()
        self.worker, mapper, self.mapper = None, self.mapper, None
        if mapper is None:
            return
        mapper.publishers.close()
        if mapper.pose_publishers is not None:
            mapper.pose_publishers.close()
        if not ended:  # its thread may still write to the folder, which stays locked
            self.get_logger().warning('the current frame or request takes too long: it ends in '
                                      'the background')
            return
        self._save_at_end(mapper.store)
        mapper.store.close()

    def reports(self) -> list[Report]:
        """Return the reports on the map and on the frames."""
        name = self.get_fully_qualified_name().removeprefix('/')
        return [map_report(name, self.state, self.problem, self.mapper),
                frames_report(name, self.state, self.mapper, self.inputs, self.pace,
                              len(self.waiting or ()))]

    def _save_at_end(self, store: MapStore) -> None:
        if store.folder is None or not store.unsaved_frames:
            return
        try:
            self.get_logger().info(store.save())
        except OSError as error:
            self.get_logger().error(f'the map cannot be saved: {error}')

    def _map_frame(self) -> str:
        values = self.parameters.values
        waiting = self.waiting
        if waiting is not None and waiting.poses is not None and waiting.poses.frame:
            return waiting.poses.frame
        return values.map_frame or ('odom' if values.poses_source == 'visual' else 'map')

    def _publish(self) -> None:
        mapper = self.mapper
        if mapper.publishers.wanted() or mapper.store.folder is not None:
            self.worker.run(mapper.publish)

    def _deliver(self) -> None:
        """Let the complete frames wait for their poses."""
        waiting = self.waiting
        for packet in self.inputs.frames():
            if waiting.latest is not None and packet.stamp <= waiting.latest:
                self.mapper.counters.repeated += 1
            else:
                waiting.add(packet)
        waiting.advance()

    def _use(self, packet: FrameMessages, located: Located) -> None:
        """Hand a frame to the worker, unless it has no pose."""
        if located.reason:
            self.mapper.count_without_pose(located.reason)
        else:
            packet.world_T_camera = located.world_T_camera
            self.worker.offer(packet)

    def _restart(self, stamp: int) -> None:
        """Begin anew with poses and stamps, since a recording has started again."""
        self.get_logger().warning(
            'time has gone back, as in a recording that starts again: the poses before are '
            'forgotten, the map is kept')
        self.waiting.restart(stamp)

    def _set_space(self, space: LabelSpace) -> None:
        """Use the label space of the frames; the map is checked against it with each frame."""
        former = self.mapper.space
        if former is None or former.to_dict() != space.to_dict():
            self.mapper.space = space
            self.get_logger().info(
                f'the frames have the label space {space.name!r:.60} with {len(space)} classes')

    def _refuse_pose(self, error: ValueError) -> None:
        self.mapper.count_refused(error, 'a pose')

    def _count_dropped(self, packet: FrameMessages) -> None:
        self.mapper.counters.dropped += 1

    def _create_service(self, name: str) -> None:
        async def answer(
                request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message = await self.requests.run(
                    self.worker, lambda: self._change_map(name))
                response.success = True
                self.get_logger().info(response.message)
            except (ValueError, OSError) as error:
                response.message = str(error)
                self.log.warn(f'service {name}', f'refused ~/{name}: {error}')
            return response

        # in the node's default group, all other callbacks would wait, too
        self.create_service(Trigger, f'~/{name}', answer,
                            callback_group=ReentrantCallbackGroup())

    def _change_map(self, name: str) -> str:
        """Save, load or clear the map, on the worker's thread; return what was done."""
        mapper = self.mapper
        done = getattr(mapper.store, name)()
        if name != 'save':
            mapper.forget()
        return done


def vertical_axis(values: MappingParameters) -> tuple[float, float, float]:
    """Return the vertical axis of the map's frame, a unit vector."""
    if values.map_up == 'auto' and (values.poses_source != 'file' or not values.poses_file):
        return vertical(None, 'z')
    trajectory = read_trajectory(values.poses_file, values.poses_rate) if (
        values.map_up == 'auto') else None
    return vertical(trajectory, values.map_up)
