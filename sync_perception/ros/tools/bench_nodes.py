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

"""Nodes that `bench --ros` compares with the perception node: copying and conventional."""

from __future__ import annotations

import array
from collections.abc import Callable
import sys
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header
from sync_perception.ros.core import executor, qos
from sync_perception.ros.core.stopping import leave, StopRequest
from sync_perception.ros.io.conversions import rectified_intrinsics, stamp_nanoseconds
from sync_perception.ros.node.model_loading import load_predictor
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.tools.bench_camera import BenchCamera
from sync_perception.types import Frame, Prediction

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
CONVENTIONAL_OUTPUTS = frozenset({'depth', 'labels', 'confidence'})
# packed layout, as from sensor_msgs' helpers
CONVENTIONAL_POINT = np.dtype([
    ('x', np.float32), ('y', np.float32), ('z', np.float32), ('rgb', np.uint32),
    ('label', np.uint32), ('confidence', np.float32)])
CONVENTIONAL_FIELDS = [
    PointField(name=name, offset=CONVENTIONAL_POINT.fields[name][1], count=1, datatype=datatype)
    for name, datatype in zip(CONVENTIONAL_POINT.names, (
        PointField.FLOAT32, PointField.FLOAT32, PointField.FLOAT32, PointField.UINT32,
        PointField.UINT32, PointField.FLOAT32))]


class CopyNode(Node):
    """Node that publishes a copy of every image: the lower bound for a node in Python."""

    def __init__(self, **node_arguments: Any):
        super().__init__('copy', **node_arguments)
        self.publisher = self.create_publisher(Image, 'sync/copy', qos.output())
        self.create_subscription(Image, 'image', self._copy, NEWEST)

    def close(self) -> None:
        """Do nothing, since no resources are held."""

    def _copy(self, image: Image) -> None:
        self.publisher.publish(Image(
            header=image.header, height=image.height, width=image.width, step=image.step,
            encoding=image.encoding, is_bigendian=image.is_bigendian, data=image.data[:]))


class ConventionalNode(Node):
    """
    Conventional Python node that publishes depth, labels, confidence and cloud.

    All work is done in the image callback. Images are converted by cv_bridge, or without it by
    rosbags' converter (input) and NumPy's `tobytes` (output). The cloud is a structured array.

    :param load: function that loads the predictor for the parameters, as in the perception node.
    """

    def __init__(self, load: Callable[[PerceptionParameters], Any] = load_predictor,
                 **node_arguments: Any):
        super().__init__('conventional', **node_arguments)
        self.predictor = load(PerceptionParameters(**{
            name: self.declare_parameter(name, default).value
            for name, default in (('model', ''), ('device', 'auto'), ('half', False),
                                  ('backend', 'auto'), ('precision', 'auto'))}))
        self.read, self.write, self.way = conventional_conversions()
        self.get_logger().info(f'images by {self.way}')
        self.outputs = {
            topic: self.create_publisher(kind, f'sync/{topic}', qos.output())
            for topic, kind in (('depth', Image), ('semantics', Image),
                                ('semantics/confidence', Image), ('points', PointCloud2))}
        self.camera_info: CameraInfo | None = None
        self.create_subscription(CameraInfo, 'camera_info', self._receive_camera_info, NEWEST)
        self.create_subscription(Image, 'image', self._answer, NEWEST)

    def close(self) -> None:
        """Do nothing, since no resources are held."""

    def _receive_camera_info(self, camera_info: CameraInfo) -> None:
        self.camera_info = camera_info

    def _answer(self, image: Image) -> None:
        if self.camera_info is None:
            return
        rgb = self.read(image)
        frame = Frame(rgb, rectified_intrinsics(self.camera_info, rgb.shape[:2]),
                      stamp_nanoseconds(image.header), image.header.frame_id)
        prediction = self.predictor.predict(frame, CONVENTIONAL_OUTPUTS)
        for topic, values, encoding in (
                ('depth', prediction.depth, '32FC1'), ('semantics', prediction.labels, 'mono8'),
                ('semantics/confidence', prediction.confidence, '32FC1')):
            self.outputs[topic].publish(self.write(values, encoding, image.header))
        self.outputs['points'].publish(conventional_cloud(frame, prediction, image.header))


def conventional_conversions() -> tuple[
        Callable[[Image], np.ndarray], Callable[[np.ndarray, str, Header], Image], str]:
    """
    Return the functions that convert messages to RGB images, and arrays to messages.

    :return: the two functions, and the name of their library.
    """
    try:
        from cv_bridge import CvBridge  # optional: comes only with a full ROS 2 installation
    except ImportError:
        pass
    else:
        bridge = CvBridge()
        return (lambda message: bridge.imgmsg_to_cv2(message, 'rgb8'),
                lambda values, encoding, header: bridge.cv2_to_imgmsg(values, encoding, header),
                'cv_bridge')
    try:
        from rosbags.image import image_to_cvimage  # optional
    except ImportError:
        def read(message: Image) -> np.ndarray:
            shape = (message.height, message.width, 3)
            bgr = np.frombuffer(message.data, np.uint8).reshape(shape)
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return read, by_tobytes, 'OpenCV and tobytes'
    return (lambda message: image_to_cvimage(message, 'rgb8')), by_tobytes, (
        'rosbags.image and tobytes')


def by_tobytes(values: np.ndarray, encoding: str, header: Header) -> Image:
    """Return an image message whose data are assigned as bytes."""
    message = Image(
        header=header, height=values.shape[0], width=values.shape[1], encoding=encoding,
        is_bigendian=sys.byteorder == 'big', step=values.strides[0])
    message.data = values.tobytes()
    return message


def conventional_cloud(frame: Frame, prediction: Prediction, header: Header) -> PointCloud2:
    """
    Return an organized cloud built from a structured array.

    This uses sensor_msgs_py.point_cloud2 if it is installed, and otherwise the same steps.
    """
    height, width = frame.size
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    (fx, _, cx), (_, fy, cy), _ = frame.K
    points = np.zeros((height, width), CONVENTIONAL_POINT)
    points['x'] = (u - cx) * prediction.depth / fx
    points['y'] = (v - cy) * prediction.depth / fy
    points['z'] = prediction.depth
    red, green, blue = (frame.image[..., channel].astype(np.uint32) for channel in range(3))
    points['rgb'] = red << 16 | green << 8 | blue
    points['label'] = prediction.labels
    points['confidence'] = prediction.confidence
    try:
        # optional: comes only with a full ROS 2 installation
        from sensor_msgs_py.point_cloud2 import create_cloud
    except ImportError:
        data = array.array('B', points.tobytes())
        message = PointCloud2(
            header=header, fields=CONVENTIONAL_FIELDS, is_bigendian=False, is_dense=False,
            point_step=CONVENTIONAL_POINT.itemsize, data=data)
    else:
        message = create_cloud(header, CONVENTIONAL_FIELDS, points.reshape(-1))
    message.height, message.width = height, width
    message.row_step = message.point_step * width
    return message


NODES: dict[str, Callable[[], Node]] = {
    'camera': BenchCamera, 'copy': CopyNode, 'conventional': ConventionalNode}


def main(arguments: list[str] | None = None) -> None:
    """Run the node in NODES that is named by the first word of the command line."""
    stop = StopRequest()
    name, *rest = sys.argv[1:] if arguments is None else arguments
    leave(executor.run_node(NODES[name], rest, stop))


if __name__ == '__main__':
    main()
