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

"""Packet of a frame, from its image message to the published outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
import time
from typing import Any, Generic, TypeVar

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from sync_perception.labels import LabelSpace
from sync_perception.mapping.trajectory import Located
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.mount_scale import MountScale
from sync_perception.types import Frame, Prediction

CameraType = TypeVar('CameraType')


@dataclass(eq=False)
class FramePacket(Generic[CameraType]):
    """
    Data of one frame; every stage adds the fields that later stages need.

    Outputs are built only from `header`, `frame`, `prediction`, `labels` and `parameters`, so a
    frame of a bag needs no other fields.

    :param image: the message as received.
    :param camera: the `Camera` that received it; None for a frame of a bag.
    :param arrival: time of arrival, seconds of the monotonic clock.
    :param cancelled: set when the frame is abandoned; it is then neither published nor counted.
    :param wanted: outputs with subscribers, each with its publisher.
    :param maps: maps that the model computes for this frame.
    :param located: pose of the camera, or why there is none; None if it is not needed.
    :param frame: decoded image with its intrinsics.
    :param scale: scale correction, if the camera's mount is known.
    :param judged: whether the consistency monitor checks this frame.
    :param prediction: predicted maps at the frame's size.
    :param labels: label space of the prediction.
    :param parameters: the node's parameters when the outputs are built.
    """

    image: Image | CompressedImage
    camera: CameraType | None = None
    arrival: float = 0.0
    cancelled: Event = field(default_factory=Event)
    wanted: list[tuple[Any, Any]] = field(default_factory=list)
    maps: frozenset[str] = frozenset()
    located: Located | None = None
    frame: Frame | None = None
    scale: MountScale | None = None
    judged: bool = False
    prediction: Prediction | None = None
    labels: LabelSpace | None = None
    parameters: PerceptionParameters | None = None

    @property
    def age(self) -> float:
        """Return the seconds since the image arrived."""
        return time.monotonic() - self.arrival

    @property
    def header(self) -> Header:
        """Return the header of the image, which all outputs share."""
        return self.image.header
