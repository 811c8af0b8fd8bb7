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

"""Nodes of `bench --ros` beside the perception node: camera, copying and conventional node."""

from __future__ import annotations

import array
from collections.abc import Callable
import json
import sys
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header, String
from sync_perception.images.reading import read_image
from sync_perception.ros.core import executor, qos
from sync_perception.ros.core.stopping import leave, StopRequest
from sync_perception.ros.io.camera_info import pinhole
from sync_perception.ros.io.conversions import image_message, intrinsics, stamp_nanoseconds
from sync_perception.ros.node.model_loading import load_predictor
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.types import Frame, Prediction

FRAME_ID = 'camera_optical_frame'
TURN, SENT = 'bench/turn', 'bench/sent'
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


class BenchCamera(Node):
    """
    Camera that sends one picture repeatedly to a selected subject.

    It receives orders on `bench/turn` as JSON: `turn`, a number; `subject`, a namespace; `frames`.
    After an order is completed, it publishes `turn` and the `stamps` of its images in nanoseconds
    on `bench/sent`. A stamp is the time just before the image is published.

    :raises ValueError: if the file in the parameter `image` cannot be read.
    """

    def __init__(self, **node_arguments: Any):
        super().__init__('bench_camera', **node_arguments)
        values = {
            name: self.declare_parameter(name, default).value for name, default in (
                ('subjects', ['copy']), ('rate', 5.0), ('width', 1242), ('height', 375),
                ('image', ''))}
        size = (values['height'], values['width'])
        self.image = image_message(picture(size, values['image']), Header(), 'bgr8')
        self.camera_info = calibration(size)
        self.publishers_of = {
            subject: (self.create_publisher(CameraInfo, f'{subject}/camera_info', qos.output()),
                      self.create_publisher(Image, f'{subject}/image', qos.output()))
            for subject in values['subjects']}
        self.order: dict[str, Any] = {}
        self.stamps: list[int] = []
        self.sent_publisher = self.create_publisher(String, SENT, qos.latched())
        self.create_subscription(String, TURN, self._begin, qos.latched())
        self.timer = self.create_timer(1 / values['rate'], self._tick, autostart=False)

    def close(self) -> None:
        """Stop sending."""
        self.timer.cancel()

    def _begin(self, message: String) -> None:
        self.order, self.stamps = json.loads(message.data), []
        self.timer.reset()

    def _tick(self) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)
        self.camera_info.header = self.image.header = header
        info_publisher, image_publisher = self.publishers_of[self.order['subject']]
        info_publisher.publish(self.camera_info)
        image_publisher.publish(self.image)
        self.stamps.append(stamp_nanoseconds(header))
        if len(self.stamps) == self.order['frames']:
            self.timer.cancel()
            self.sent_publisher.publish(String(data=json.dumps(
                {'turn': self.order['turn'], 'stamps': self.stamps})))


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
        super().__init__('usual', **node_arguments)
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
        frame = Frame(rgb, intrinsics(self.camera_info, rgb.shape[:2]),
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


def picture(size: tuple[int, int], path: str = '') -> np.ndarray:
    """
    Return the camera's picture: uint8 (H, W, 3), BGR.

    :param size: height and width, pixels.
    :param path: photograph to use, resized; empty for a synthetic street image.
    :raises ValueError: if there is no such image.
    """
    if path:
        rgb = cv2.resize(read_image(path), size[::-1])
    else:
        # imports torch, which takes seconds and much memory
        from sync_perception.runtime.benchmark.stages import drawn_street
        rgb = drawn_street(size)
    return np.ascontiguousarray(rgb[..., ::-1])


def calibration(size: tuple[int, int]) -> CameraInfo:
    """Return the calibration of a camera with the field of view of KITTI's cameras."""
    focal = 0.58 * size[1]
    return pinhole(np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]]), size)


NODES: dict[str, Callable[[], Node]] = {
    'camera': BenchCamera, 'copy': CopyNode, 'usual': ConventionalNode}


def main(arguments: list[str] | None = None) -> None:
    """Run the node in NODES that is named by the first word of the command line."""
    stop = StopRequest()
    name, *rest = sys.argv[1:] if arguments is None else arguments
    leave(executor.run(NODES[name], rest, stop))


if __name__ == '__main__':
    main()
