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


"""Outputs of the node: their topics, required maps and message builders."""

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
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import (
    cloud_message,
    depth_message,
    image_message,
    labels_message,
    writable_cloud,
)
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.clean_depth import clean_depth
from sync_perception.runtime.pictures import visualize
from sync_perception.runtime.pointcloud import cloud_size, point_cloud
from sync_perception.types import Prediction


@dataclass(frozen=True)
class Output:
    """
    Output topic of the node.

    :param topic: name relative to the node's namespace.
    :param message_type: type of the messages.
    :param needs: required maps of the Prediction; a model without them has no such topic.
    :param build: function that builds the message.
    :param profile: function that returns the topic's quality of service.
    :param uses: optional maps that are included if the model provides them.
    """

    topic: str
    message_type: type
    needs: frozenset[str]
    build: Callable[[FramePacket], Any]
    profile: Callable[[], QoSProfile] = field(default=qos.output)
    uses: frozenset[str] = frozenset()


def depth_output(packet: FramePacket) -> Image:
    """Return depth along z in metres or millimetres."""
    return depth_message(
        packet.prediction.depth, packet.header, packet.parameters.depth_encoding)


def uncertainty_output(packet: FramePacket) -> Image:
    """Return the standard deviation of the depth in metres."""
    return image_message(packet.prediction.uncertainty, packet.header, '32FC1')


def normals_output(packet: FramePacket) -> Image:
    """Return unit normals x, y, z in the optical frame."""
    return image_message(packet.prediction.normals, packet.header, '32FC3')


def semantics_output(packet: FramePacket) -> Image:
    """Return label ids."""
    return labels_message(
        packet.prediction.labels, packet.header, packet.parameters.semantics_encoding)


def confidence_output(packet: FramePacket) -> Image:
    """Return the probability of the label: 0 to 1, or 0 to 255 in eight bits."""
    confidence, encoding = packet.prediction.confidence, packet.parameters.confidence_encoding
    if encoding == 'mono8':
        confidence = cv2.convertScaleAbs(confidence, alpha=255)
    return image_message(confidence, packet.header, encoding)


def dynamic_mask_output(packet: FramePacket) -> Image:
    """Return a mask with 1 for classes that can move by themselves, and 0 for all others."""
    movable = np.zeros(256, np.uint8)
    movable[:len(packet.labels)] = packet.labels.dynamic
    mask = cv2.LUT(packet.prediction.labels, movable)
    return image_message(mask, packet.header, 'mono8')


def color_output(packet: FramePacket) -> Image:
    """Return the labels in their colours."""
    return image_message(
        packet.labels.colorize(packet.prediction.labels), packet.header, 'rgb8')


def overlay_output(packet: FramePacket) -> Image:
    """Return the camera image with coloured labels blended over it."""
    picture = visualize.overlay(packet.frame.image, packet.prediction.labels, packet.labels)
    return image_message(picture, packet.header, 'rgb8')


def rectified_image_output(packet: FramePacket) -> Image:
    """Return the rectified camera image, whose pixels correspond to those of the maps."""
    return image_message(packet.frame.image, packet.header, 'rgb8')


def points_output(packet: FramePacket) -> PointCloud2:
    """Return the point cloud with colour, label and confidence."""
    frame, parameters = packet.frame, packet.parameters
    stride, farthest = parameters.points_stride, parameters.points_max_depth
    cleaned = clean_depth(
        packet.prediction.depth, frame.K, parameters.points_surface_distance,
        packet.prediction.uncertainty, parameters.points_max_uncertainty)
    prediction = replace(packet.prediction, depth=cleaned)
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
    Return the calibration of the outputs.

    The outputs have the geometry of the rectified image, so both K and P are its intrinsics, and
    there is no distortion, region or binning. Consumers that read only K or only P get the same
    geometry. There is no stereo baseline, since depth is relative to this camera.
    """
    camera_info = pinhole_camera_info(packet.frame.K, packet.frame.size)
    camera_info.header = packet.header
    return camera_info


# outputs of models with more than the two tasks
EXTRA_OUTPUTS = (
    Output('sync/depth/uncertainty', Image, frozenset({'uncertainty'}), uncertainty_output),
    Output('sync/normals', Image, frozenset({'normals'}), normals_output),
)

# outputs while the node rectifies images
RECTIFIED_OUTPUTS = (
    Output('sync/image_rect', Image, frozenset(), rectified_image_output),
)

# camera_info is published last, so that it marks the end of a frame; the cloud comes before the
# pictures, so that its subscribers copy it while those are built
OUTPUTS = (
    Output('sync/depth', Image, frozenset({'depth'}), depth_output),
    Output('sync/semantics', Image, frozenset({'labels'}), semantics_output),
    Output('sync/semantics/confidence', Image, frozenset({'confidence'}), confidence_output),
    Output('sync/points', PointCloud2, frozenset({'depth'}), points_output,
           uses=frozenset({'labels', 'confidence'})),
    Output('sync/semantics/color', Image, frozenset({'labels'}), color_output),
    Output('sync/overlay', Image, frozenset({'labels'}), overlay_output),
    Output('sync/dynamic_mask', Image, frozenset({'labels'}), dynamic_mask_output),
    Output('sync/camera_info', CameraInfo, frozenset(), camera_info_output,
           qos.latched_output),
)
# additional outputs for one consumer
CONSUMER_OUTPUTS = {
    # the camera_info of depth, published beside the mask, too
    'nvblox': (Output('sync/dynamic_mask/camera_info', CameraInfo, frozenset({'labels'}),
                      camera_info_output, qos.latched_output),),
}


def available_outputs(
        available: frozenset[str], parameters: PerceptionParameters) -> tuple[Output, ...]:
    """
    Return the outputs of a model in the order of publication.

    :param available: maps that the model provides.
    :param parameters: source of the consumer, and of whether images are rectified.
    """
    outputs = (*EXTRA_OUTPUTS, *CONSUMER_OUTPUTS.get(parameters.consumer, ()),
               *(RECTIFIED_OUTPUTS if parameters.rectify else ()), *OUTPUTS)
    return tuple(output for output in outputs if output.needs <= available)


def required_maps(outputs: Iterable[Output], available: frozenset[str],
                  parameters: PerceptionParameters) -> frozenset[str]:
    """Return the maps to request from the model for these outputs."""
    maps = frozenset().union(*(output.needs | output.uses for output in outputs))
    if parameters.semantics_min_confidence > 0 and 'labels' in maps:
        maps |= {'confidence'}
    if parameters.points_max_uncertainty > 0 and any(
            output.build is points_output for output in outputs):
        maps |= {'uncertainty'}
    return maps & available


def void_uncertain_labels(prediction: Prediction, parameters: PerceptionParameters) -> Prediction:
    """Set labels to void whose probability is below the threshold in the parameters."""
    least = parameters.semantics_min_confidence
    if least <= 0 or prediction.labels is None or prediction.confidence is None:
        return prediction
    unsure = np.logical_not(prediction.confidence >= least).view(np.uint8)
    labels = np.bitwise_or(prediction.labels, unsure * np.uint8(VOID))
    return replace(prediction, labels=labels)


def label_space_json(space: LabelSpace, parameters: PerceptionParameters) -> str:
    """
    Return the label space of the label image as JSON.

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
    Return the label space as vision_msgs/LabelInfo.

    :return: the message; None if the package vision_msgs is not installed.
    """
    try:
        # optional: comes only with a full ROS 2 installation
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    return LabelInfo(header=header, threshold=0.0, class_map=[
        VisionClass(class_id=index, class_name=name) for index, name in enumerate(space.names)])
