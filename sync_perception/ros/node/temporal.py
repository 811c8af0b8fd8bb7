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

"""Temporal fusion of a camera's frames: their poses, and the predictor that fuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from sync_perception.labels import LabelSpace
from sync_perception.mapping.level_odometry import LevelOdometry
from sync_perception.mapping.temporal_predictor import check_model, TemporalPredictor
from sync_perception.mapping.trajectory import Located
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.parameters.poses import pose_limits, VISUAL
from sync_perception.ros.poses.pose_sources import ros_pose_source
from sync_perception.ros.poses.waiting_frames import WaitingFrames
from sync_perception.types import Prediction


class TemporalFrames:
    """
    Predictions of one camera, each fused with the frames before.

    It belongs to the worker's thread.

    :ivar temporal: predictor that fuses; None before the first frame.
    """

    def __init__(self):
        self.temporal: TemporalPredictor | None = None

    def predict(self, packet: FramePacket, maps: frozenset[str], predictor: Any,
                parameters: PerceptionParameters) -> Prediction:
        """
        Return the requested maps of a frame.

        :param predictor: predictor of single frames; another one than before starts anew.
        """
        if self.temporal is None or self.temporal.predictor is not predictor:
            self.temporal = TemporalPredictor(
                predictor, make_odometry(parameters, predictor.labels))
        scale = 1.0 if packet.scale is None else packet.scale.factor
        return self.temporal.predict(packet.frame, maps, packet.located, scale)

    @property
    def problem(self) -> str:
        """Return why the latest frame was predicted alone, as a sentence; empty if it was not."""
        reason = self.temporal.reason if self.temporal is not None else ''
        return f'the frame is not fused with those before: {reason}' if reason else ''

    def values(self) -> dict[str, str]:
        """Return the counts for diagnostics; empty before the first frame."""
        if self.temporal is None:
            return {}
        temporal = self.temporal
        return {
            'frames predicted alone': f'{temporal.alone} of {temporal.frames}',
            'last reason to predict alone': temporal.last_reason}


def make_odometry(parameters: PerceptionParameters, space: LabelSpace) -> LevelOdometry | None:
    """Return visual odometry if the parameters name it; None for other poses."""
    if parameters.poses_source != VISUAL:
        return None
    return LevelOdometry(space, limits=pose_limits(parameters))


def check_fusible(parameters: PerceptionParameters, predictor: Any) -> None:
    """
    Check that frames can be fused, if that is wanted.

    :raises ValueError: if the model is unsuitable, or the poses cannot be those of all cameras.
    """
    if parameters.temporal == 'off':
        return
    check_model(predictor)
    source = parameters.poses_source
    if len(parameters.cameras) > 1 and source not in (VISUAL, 'tf'):
        raise ValueError(
            f'poses.source: got {source} with {len(parameters.cameras)} cameras, whose poses '
            f'differ; expected tf or {VISUAL}')


def waiting_frames(
        node: Node, parameters: Callable[[], PerceptionParameters],
        deliver: Callable[[FramePacket, Located], None], dropped: Callable[[FramePacket], None],
        refuse: Callable[[ValueError], None]) -> WaitingFrames[FramePacket] | None:
    """
    Return the frames of a camera that wait for poses from elsewhere; None if none need wait.

    :raises ValueError: if the poses cannot be had.
    """
    values = parameters()
    if values.temporal == 'off' or values.poses_source == VISUAL:
        return None
    frame = values.poses_frame if values.poses_source == 'tf' else ''
    poses = ros_pose_source(node, values, frame, lambda: waiting.advance(), refuse)
    waiting: WaitingFrames[FramePacket] = WaitingFrames(
        poses, deliver, dropped, lambda: parameters().poses_patience, values.offline)
    return waiting
