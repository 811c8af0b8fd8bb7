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

"""Mounts of the cameras, and the depth scale that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sync_perception.labels import LabelSpace
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.mount_scale import (
    missing_maps,
    Mount,
    MOUNT_SCALE_MAPS,
    MountScale,
    SCALED_MAPS,
    wheel_ground,
)

STATIC_TRANSFORMS = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL)


class StaticTransforms:
    """
    Camera mounts from static transforms.

    :param node: node that listens to /tf_static, if tf2_ros is installed.
    """

    def __init__(self, node: Node):
        self.node, self.buffer, self.subscription = node, None, None
        try:
            # optional: both come only with a full ROS 2 installation
            from tf2_msgs.msg import TFMessage
            from tf2_ros import Buffer, TransformException
        except ImportError:
            return
        self.buffer, self.error = Buffer(), TransformException
        # tf2_ros's own listener also subscribes to the busy topic /tf before Kilted
        self.subscription = node.create_subscription(
            TFMessage, '/tf_static', self._receive, STATIC_TRANSFORMS)

    def mount(self, ground_frame: str, frame_id: str) -> Mount:
        """
        Return the mount of a camera from the transform of its frame.

        :raises ValueError: if the transform is unknown, or is not a valid camera mount.
        """
        where = (f'ground_frame: the mount of the camera {frame_id!r:.80} above '
                 f'{ground_frame!r:.80}')
        if self.buffer is None:
            raise ValueError(f'{where} is not known: the package tf2_ros is not installed; '
                             'camera_height and camera_pitch can be set instead')
        try:
            transform = self.buffer.lookup_transform(ground_frame, frame_id, Time()).transform
        except self.error as error:
            raise ValueError(
                f'{where} is not known, expected static transforms between them: {error}'
                ) from error
        t, q = transform.translation, transform.rotation
        try:
            return Mount.from_transform((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
        except ValueError as error:
            raise ValueError(f'{where} cannot be used: {error}') from error

    def close(self) -> None:
        """Stop listening."""
        if self.subscription is not None:
            self.node.destroy_subscription(self.subscription)

    def _receive(self, message: Any) -> None:
        for transform in message.transforms:
            self.buffer.set_transform_static(transform, 'tf_static')


class Mounting:
    """
    Depth scale from the mount of one camera.

    :ivar scale: scale estimate; None while the mount is unknown.
    """

    def __init__(self):
        self.scale: MountScale | None = None
        self.space: LabelSpace | None = None

    def prepare(self, mount: Mount | None, space: LabelSpace) -> MountScale | None:
        """
        Return the scale estimate for the next frame; a new mount or model resets it.

        :param space: label space of the model.
        """
        if mount is None:
            self.scale = None
        elif self.scale is None or self.scale.mount != mount or self.space is not space:
            self.scale, self.space = MountScale(mount, wheel_ground(space)), space
        return self.scale

    def values(self) -> dict[str, str]:
        """Return the scale for diagnostics; empty while the mount is unknown."""
        scale = self.scale
        if scale is None:
            return {}
        mount = scale.mount
        return {
            'camera mount': f'height {mount.height:.3f} m, pitch {mount.pitch:.4f} rad, '
                            f'roll {mount.roll:.4f} rad',
            'scale from the mount': f'{scale.factor:.3f}',
            'frames whose ground was believed': f'{scale.frames} of {scale.seen}',
            'last rejection of the ground': scale.last_rejection}


def mount_of_camera(
        parameters: PerceptionParameters, frame_id: str, available: frozenset[str],
        transforms: Callable[[str, str], Mount] | None) -> tuple[Mount | None, str]:
    """
    Return the mount of a camera, and a warning or ''.

    Transforms take precedence over the parameters.

    :param frame_id: frame_id of the images.
    :param available: maps that the model provides.
    :param transforms: function from a ground frame and a camera frame to the mount.
    """
    mount, problem = None, ''
    if parameters.camera_height > 0:
        mount = Mount(
            parameters.camera_height, parameters.camera_pitch, parameters.camera_roll)
    if parameters.ground_frame and transforms is not None:
        try:
            mount = transforms(parameters.ground_frame, frame_id)
        except ValueError as error:
            problem = str(error)
    missing = missing_maps(available) if mount is not None else ''
    return (None, missing) if missing else (mount, problem)


def maps_to_scale(maps: frozenset[str], scale: MountScale | None) -> frozenset[str]:
    """Return the maps to request from the model, with those needed for the scale."""
    return maps | MOUNT_SCALE_MAPS if scale is not None and maps & SCALED_MAPS else maps
