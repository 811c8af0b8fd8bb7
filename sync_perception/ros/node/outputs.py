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


"""What the node publishes of a frame: topics, what they need of the model, how they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
import json
from typing import Any

import cv2
import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from sync_perception.labels import FLAGS, LabelSpace, VOID
from sync_perception.ros.core import qos
from sync_perception.ros.io.camera_info import pinhole
from sync_perception.ros.io.conversions import (
    cloud_message,
    depth_message,
    image_message,
    labels_message,
    writable_cloud,
)
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.pictures import visualize
from sync_perception.runtime.pointcloud import cloud_size, point_cloud
from sync_perception.types import Prediction


@dataclass(frozen=True)
class Output:
    """
    One topic.

    :param topic: its name in the node's namespace.
    :param message_type: what is published there.
    :param needs: the maps of the Prediction without which there is no message: a model that does
        not give them has no such topic.
    :param build: makes the message.
    :param profile: makes the topic's quality of service.
    :param uses: further maps that go into the message where the model gives them.
    """

    topic: str
    message_type: type
    needs: frozenset[str]
    build: Callable[[FramePacket], Any]
    profile: Callable[[], QoSProfile] = field(default=qos.output)
    uses: frozenset[str] = frozenset()


def depth_output(packet: FramePacket) -> Image:
    """Metres or millimetres along z."""
    return depth_message(
        packet.prediction.depth, packet.header, packet.parameters.depth_encoding)


def uncertainty_output(packet: FramePacket) -> Image:
    """Give the standard deviation of the depth in metres."""
    return image_message(packet.prediction.uncertainty, packet.header, '32FC1')


def normals_output(packet: FramePacket) -> Image:
    """Give unit normals x, y, z in the optical frame."""
    return image_message(packet.prediction.normals, packet.header, '32FC3')


def semantics_output(packet: FramePacket) -> Image:
    """Label ids."""
    return labels_message(
        packet.prediction.labels, packet.header, packet.parameters.semantics_encoding)


def confidence_output(packet: FramePacket) -> Image:
    """Probability of the label: 0 to 1, or 0 to 255 in eight bits."""
    confidence, encoding = packet.prediction.confidence, packet.parameters.confidence_encoding
    if encoding == 'mono8':
        confidence = cv2.convertScaleAbs(confidence, alpha=255)
    return image_message(confidence, packet.header, encoding)


def dynamic_mask_output(packet: FramePacket) -> Image:
    """Mark with 1 what can move by itself, with 0 everything else."""
    movable = np.zeros(256, np.uint8)
    movable[:len(packet.labels)] = packet.labels.dynamic
    mask = cv2.LUT(packet.prediction.labels, movable)
    return image_message(mask, packet.header, 'mono8')


def color_output(packet: FramePacket) -> Image:
    """Paint the labels in their colours."""
    return image_message(
        packet.labels.colorize(packet.prediction.labels), packet.header, 'rgb8')


def overlay_output(packet: FramePacket) -> Image:
    """Lay the labels' colours over the camera image."""
    picture = visualize.overlay(packet.frame.image, packet.prediction.labels, packet.labels)
    return image_message(picture, packet.header, 'rgb8')


def rectified_image_output(packet: FramePacket) -> Image:
    """Return the camera image that the maps belong to pixel by pixel."""
    return image_message(packet.frame.image, packet.header, 'rgb8')


def points_output(packet: FramePacket) -> PointCloud2:
    """Backproject depth to points with colour, label and confidence."""
    frame, stride = packet.frame, packet.parameters.points_stride
    prediction, farthest = packet.prediction, packet.parameters.points_max_depth
    if farthest > 0:
        near = np.where(prediction.depth <= farthest, prediction.depth, np.float32('nan'))
        prediction = replace(prediction, depth=near)
    semantic_color = packet.parameters.points_semantic_color
    make = partial(point_cloud, frame, prediction, packet.labels, stride=stride,
                   color=packet.parameters.points_color, semantic_color=semantic_color)
    if not packet.parameters.points_organized:
        return cloud_message(make(organized=False), packet.header)
    message, data = writable_cloud(
        cloud_size(frame.size, stride), packet.header, semantic_color)
    make(out=data)
    return message


def camera_info_output(packet: FramePacket) -> CameraInfo:
    """
    Describe the camera that the outputs would be of.

    They belong to the rectified image as it came, so its intrinsics are both K and P, and there is
    neither distortion nor region nor binning left: consumers that read only one of them get the
    same geometry. Without the baseline of a stereo pair, since depth is this camera's own.
    """
    camera_info = pinhole(packet.frame.K, packet.frame.size)
    camera_info.header = packet.header
    return camera_info


# of models that have more than the two tasks
EXTRA_OUTPUTS = (
    Output('sync/depth/uncertainty', Image, frozenset({'uncertainty'}), uncertainty_output),
    Output('sync/normals', Image, frozenset({'normals'}), normals_output),
)

# while images are rectified here
RECTIFIED_OUTPUTS = (
    Output('sync/image_rect', Image, frozenset(), rectified_image_output),
)

# camera_info is published last: it tells whoever waits for a frame that the frame is done
OUTPUTS = (
    Output('sync/depth', Image, frozenset({'depth'}), depth_output),
    Output('sync/semantics', Image, frozenset({'labels'}), semantics_output),
    Output('sync/semantics/confidence', Image, frozenset({'confidence'}), confidence_output),
    Output('sync/semantics/color', Image, frozenset({'labels'}), color_output),
    Output('sync/overlay', Image, frozenset({'labels'}), overlay_output),
    Output('sync/dynamic_mask', Image, frozenset({'labels'}), dynamic_mask_output),
    Output('sync/points', PointCloud2, frozenset({'depth'}), points_output,
           uses=frozenset({'labels', 'confidence'})),
    Output('sync/camera_info', CameraInfo, frozenset(), camera_info_output,
           qos.camera_info_output),
)
# what one program reads beside all these
CONSUMER_OUTPUTS = {
    # the same camera_info as that of depth, under the name that goes with the mask
    'nvblox': (Output('sync/dynamic_mask/camera_info', CameraInfo, frozenset({'labels'}),
                      camera_info_output, qos.camera_info_output),),
}


def available_outputs(
        available: frozenset[str], parameters: PerceptionParameters) -> tuple[Output, ...]:
    """
    Return the topics of a model, in the order of publication.

    :param available: the maps that the model gives.
    :param parameters: name the consumer, and state whether images are rectified.
    """
    outputs = (*EXTRA_OUTPUTS, *CONSUMER_OUTPUTS.get(parameters.consumer, ()),
               *(RECTIFIED_OUTPUTS if parameters.rectify else ()), *OUTPUTS)
    return tuple(output for output in outputs if output.needs <= available)


def maps_of(outputs: Iterable[Output], available: frozenset[str],
            parameters: PerceptionParameters) -> frozenset[str]:
    """Return the maps that the model is to be asked for, to publish these topics."""
    maps = frozenset().union(*(output.needs | output.uses for output in outputs))
    if parameters.semantics_min_confidence > 0 and 'labels' in maps:
        maps |= {'confidence'}
    return maps & available


def void_uncertain_labels(prediction: Prediction, parameters: PerceptionParameters) -> Prediction:
    """Make labels void that are less probable than the parameters demand."""
    least = parameters.semantics_min_confidence
    if least <= 0 or prediction.labels is None or prediction.confidence is None:
        return prediction
    unsure = np.logical_not(prediction.confidence >= least).view(np.uint8)
    labels = np.bitwise_or(prediction.labels, unsure * np.uint8(VOID))
    return replace(prediction, labels=labels)


def label_space_json(space: LabelSpace, parameters: PerceptionParameters) -> str:
    """
    Describe the ids of the label image as JSON.

    :return: `name`; `void`, the id of pixels without a label; and `classes`, a list of `id`,
        `name`, `color` (red, green, blue, 0 to 255), `dynamic` (moves by itself), `infinite` (has
        no depth), `ground` (can be driven or walked on), `object` (a thing that can be counted).
    """
    void = -1 if parameters.semantics_encoding == '16SC1' else space.void
    classes = [
        {'id': index, 'name': name, 'color': space.colors[index].tolist(),
         **{flag: bool(getattr(space, name)[index]) for flag, name in FLAGS.items()}}
        for index, name in enumerate(space.names)]
    return json.dumps({'name': space.name, 'void': void, 'classes': classes})


def label_info_message(space: LabelSpace, header: Header) -> Any | None:
    """
    Name the ids as vision_msgs/LabelInfo does.

    :return: the message; None where the package vision_msgs is not installed.
    """
    try:
        # optional: comes only with a full ROS 2 installation
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    return LabelInfo(header=header, threshold=0.0, class_map=[
        VisionClass(class_id=index, class_name=name) for index, name in enumerate(space.names)])
