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

"""Frames into the map; everything runs on the worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import time

import numpy as np
from rclpy.clock import Clock
from std_msgs.msg import Header
from sync_perception.labels import LabelSpace
from sync_perception.mapping.level_odometry import LevelOdometry
from sync_perception.mapping.semantic_map.map_store import MapStore
from sync_perception.mapping.trajectory import Located, SECOND
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.health.frame_faults import FrameFaults
from sync_perception.ros.health.map_counters import MapCounters
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.io.prediction_messages import frame_and_prediction
from sync_perception.ros.map.frame_pairs import FrameMessages
from sync_perception.ros.map.map_publishers import MapPublishers
from sync_perception.ros.parameters.mapping import MappingParameters
from sync_perception.ros.parameters.poses import pose_limits
from sync_perception.ros.poses.pose_publishers import PosePublishers
from sync_perception.types import Frame, MalformedInput, Prediction

UNLABELLED = 'driving'
"""Label space of a map of frames without labels."""
PUBLISHING = 0.25
"""Largest share of the worker's time that publishing the map takes; the rest is for frames."""
EARLY = 0.9
"""Share of the period of map.rate after which a frame is due: stamps are not quite regular."""


class Mapper(FrameFaults[MapCounters]):
    """
    Fusion of frames, with visual odometry if there are no other poses, and publication of the map.

    :param store: the map.
    :param publishers: topics of the map.
    :param pose_publishers: topics of visual odometry; None if the poses come from elsewhere.
    :param map_frame: function that returns the frame of the map.
    :param parameters: function that returns the node's current parameters.
    :param clock: clock of the node.
    :param log: log of what is refused and fails.
    :ivar space: label space of the frames; None until it is known.
    :ivar odometry: visual odometry; None before its first frame, or if there are other poses.
    :ivar place: position of the latest fused camera, metres; None before.
    """

    fallback = 'frame'

    def __init__(self, store: MapStore, publishers: MapPublishers,
                 pose_publishers: PosePublishers | None, map_frame: Callable[[], str],
                 parameters: Callable[[], MappingParameters], clock: Clock, log: SeldomLog):
        super().__init__(MapCounters(), log)
        self.store, self.publishers, self.pose_publishers = store, publishers, pose_publishers
        self.map_frame, self.parameters, self.clock = map_frame, parameters, clock
        self.space: LabelSpace | None = None
        self.odometry: LevelOdometry | None = None
        self.place: np.ndarray | None = None
        self.fused: Header | None = None
        self.next_publication = 0.0  # seconds of the monotonic clock

    @property
    def is_visual(self) -> bool:
        """Return whether the poses are those of visual odometry."""
        return self.pose_publishers is not None

    def process(self, packets: Sequence[FrameMessages]) -> tuple[()]:
        """Fuse frames; one that cannot be fused is counted and logged."""
        for packet in packets:
            try:
                self._process(packet)
            except ValueError as error:
                self.count_refused(error, 'a frame')
            except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
                self.count_failed(error)
        return ()

    def count_without_pose(self, reason: str) -> None:
        """Count and log a frame without a pose, which is left out of the map."""
        self.counters.without_pose += 1
        self.note('pose', f'frames are left out of the map, since they have no pose: {reason}')

    def forget(self) -> None:
        """Forget what belongs to the former map, since there is another one."""
        self.fused = None
        self.publishers.forget()

    def publish(self) -> None:
        """Publish the map, and save it if that is due, unless it was done just before."""
        start = time.monotonic()
        if self.store.map is None or start < self.next_publication:
            return
        self._publish()
        end = time.monotonic()
        self.next_publication = end + (end - start) * (1 / PUBLISHING - 1)

    def _publish(self) -> None:
        header = Header(frame_id=self.map_frame(), stamp=(
            self.fused.stamp if self.fused is not None else self.clock.now().to_msg()))
        try:
            self.publishers.publish(self.store.map, self.place, header)
            period = self.parameters().map_save_period
            if self.store.folder is not None and period and self.store.unsaved_frames and (
                    time.monotonic() - self.store.saved_at >= period):
                self.store.saved_at = time.monotonic()  # a full disk is not tried at once again
                self.store.save()
                self.note('storage', '')
        except OSError as error:
            self.note('storage', f'the map cannot be saved: {error}')
        except Exception as error:  # noqa: BLE001 - mapping must continue
            self.counters.failed += 1
            self.log.warn('publishing', (
                f'the map cannot be published: {type(error).__name__}: {error}'))

    def _process(self, packet: FrameMessages) -> None:
        due = self._is_due(packet.stamp)
        if not due and not self.is_visual:
            self.counters.skipped += 1
            return
        space = self._label_space(packet)
        frame, prediction = frame_and_prediction(
            packet.messages, packet.camera_info, space, self.parameters().max_pixels)
        located = Located(packet.world_T_camera)
        if self.is_visual:
            located = self._by_odometry(frame, prediction, packet.header)
        if located.world_T_camera is None:
            self.count_without_pose(located.reason)
        elif not due:
            self.counters.skipped += 1
        else:
            self._fuse(packet, frame, prediction, located.world_T_camera)
            self.note('pose', '')

    def _fuse(self, packet: FrameMessages, frame: Frame, prediction: Prediction,
              world_T_camera: np.ndarray) -> None:
        self.store.for_labels(self.space).integrate(frame, prediction, world_T_camera)
        self.place, self.fused = world_T_camera[:3, 3].copy(), packet.header
        self.counters.published += 1
        self.counters.durations.append(time.monotonic() - packet.arrival)
        self.counters.ages.append((self.clock.now().nanoseconds - packet.stamp) / SECOND)

    def _is_due(self, stamp: int) -> bool:
        rate = self.parameters().map_rate
        if not rate or self.fused is None:
            return True
        since = stamp - stamp_nanoseconds(self.fused)
        return since < 0 or since >= EARLY * SECOND / rate

    def _label_space(self, packet: FrameMessages) -> LabelSpace:
        """Return the label space of a frame; that of a map without labels is a shipped one."""
        if self.space is None and 'labels' not in packet.messages:
            self.space = (LabelSpace.load(UNLABELLED) if self.store.map is None
                          else self.store.map.space)
        if self.space is None:
            raise MalformedInput(
                'label space', 'the label space is not known, expected it on sync/label_space or '
                'in the parameter label_space')
        return self.space

    def _by_odometry(
            self, frame: Frame, prediction: Prediction, header: Header) -> Located:
        if prediction.labels is None:
            raise MalformedInput('labels', 'visual odometry needs labels, got a frame without')
        if self.odometry is None or self.odometry.space is not self.space:
            values = self.parameters()
            self.odometry = LevelOdometry(
                self.space, values.camera_height, values.camera_pitch, pose_limits(values))
        restarts = self.odometry.restarts
        located = self.odometry.update(frame, prediction)
        if self.odometry.restarts > restarts:
            self.log.logger.warning(
                'visual odometry starts again at the place of the first frame, since time has '
                'gone back; the map is kept')
        if located.world_T_camera is not None:
            self.pose_publishers.publish(located.world_T_camera, header, self.map_frame())
        return located
