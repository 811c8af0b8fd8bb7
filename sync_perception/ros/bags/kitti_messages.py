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


"""KITTI data as messages of the library rosbags, without a ROS installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.geometry import quaternion
from sync_perception.images.frame_times import SECOND
from sync_perception.kitti.oxts import Oxts
from sync_perception.ros.bags import rosbag2

FLOAT32 = 7  # PointField.FLOAT32
KNOWN_APPROXIMATELY = 1  # NavSatFix.COVARIANCE_TYPE_APPROXIMATED
UNKNOWN_STATUS = -2  # NavSatStatus.STATUS_UNKNOWN
FORMATS = {'.png': 'png', '.jpg': 'jpeg'}


class KittiMessages:
    """
    Factory of messages; stamps are in nanoseconds, and frame_ids name the sensor.

    :ivar store: message types.
    """

    def __init__(self):
        self.store = rosbag2.typestore()

    def make(self, kind: str, **values: Any) -> Any:
        """Return a message of a type such as `std_msgs/msg/Header`."""
        return self.store.types[kind](**values)

    def serialize(self, message: Any, kind: str) -> memoryview:
        """Return a message of a type, serialized as CDR."""
        return self.store.serialize_cdr(message, kind)

    def header(self, stamp: int, frame_id: str) -> Any:
        """Return a header."""
        seconds, rest = divmod(stamp, SECOND)
        time = self.make('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)
        return self.make('std_msgs/msg/Header', stamp=time, frame_id=frame_id)

    def image(self, stamp: int, frame_id: str, pixels: np.ndarray, grey: bool) -> Any:
        """
        Return a raw image.

        :param pixels: uint8 (H, W, 3), RGB.
        :param grey: whether the camera is grey, so that all three channels are equal.
        """
        pixels = np.ascontiguousarray(pixels[..., 0] if grey else pixels)
        height, width = pixels.shape[:2]
        return self.make(
            rosbag2.IMAGE_TYPE, header=self.header(stamp, frame_id), height=height, width=width,
            encoding='mono8' if grey else 'rgb8', is_bigendian=0, step=pixels.nbytes // height,
            data=pixels.reshape(-1))

    def compressed(self, stamp: int, frame_id: str, path: Path) -> Any:
        """Return a compressed image with the bytes of a PNG or JPEG file."""
        return self.make(
            rosbag2.COMPRESSED_IMAGE, header=self.header(stamp, frame_id),
            format=FORMATS[path.suffix], data=np.fromfile(path, np.uint8))

    def camera_info(self, stamp: int, frame_id: str, K: np.ndarray,
                    size: tuple[int, int]) -> Any:
        """
        Return the calibration of a rectified camera in its own optical frame.

        :param K: float64 (3, 3), pixels.
        :param size: height and width, pixels.
        """
        region = self.make(
            'sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0,
            do_rectify=False)
        return self.make(
            rosbag2.CAMERA_INFO_TYPE, header=self.header(stamp, frame_id), height=size[0],
            width=size[1], distortion_model='plumb_bob', d=np.zeros(5), k=np.ravel(K),
            r=np.eye(3).ravel(), p=np.column_stack([K, np.zeros(3)]).ravel(), binning_x=0,
            binning_y=0, roi=region)

    def cloud(self, stamp: int, frame_id: str, scan: np.ndarray) -> Any:
        """
        Return the point cloud of a laser scan, with the fields x, y, z and intensity.

        :param scan: float32 (N, 4), metres and reflectance.
        """
        fields = [
            self.make('sensor_msgs/msg/PointField', name=name, offset=4 * index,
                      datatype=FLOAT32, count=1)
            for index, name in enumerate(('x', 'y', 'z', 'intensity'))]
        data = np.ascontiguousarray(scan, '<f4').view(np.uint8).reshape(-1)
        return self.make(
            'sensor_msgs/msg/PointCloud2', header=self.header(stamp, frame_id), height=1,
            width=len(scan), fields=fields, is_bigendian=False, point_step=16,
            row_step=data.size, data=data, is_dense=True)

    def transforms(self, stamp: int, transforms: list[tuple[str, str, np.ndarray]]) -> Any:
        """
        Return a message of transforms.

        :param transforms: parent, child and float64 (4, 4), child to parent, metres.
        """
        return self.make('tf2_msgs/msg/TFMessage', transforms=[
            self.make(
                'geometry_msgs/msg/TransformStamped', header=self.header(stamp, parent),
                child_frame_id=child, transform=self.make(
                    'geometry_msgs/msg/Transform', translation=self.vector(matrix[:3, 3]),
                    rotation=self.rotation(matrix[:3, :3])))
            for parent, child, matrix in transforms])

    def odometry(self, stamp: int, parent: str, child: str, pose: np.ndarray,
                 packet: Oxts) -> Any:
        """
        Return the odometry of a packet; covariances are zero, which means unknown.

        :param pose: float64 (4, 4), child to parent, metres.
        """
        unknown = np.zeros(36)
        place = self.make(
            'geometry_msgs/msg/Pose', position=self.vector(pose[:3, 3], kind='Point'),
            orientation=self.rotation(pose[:3, :3]))
        twist = self.make(
            'geometry_msgs/msg/Twist', linear=self.vector(packet.body_velocity),
            angular=self.vector(packet.angular_velocity))
        return self.make(
            'nav_msgs/msg/Odometry', header=self.header(stamp, parent), child_frame_id=child,
            pose=self.make(
                'geometry_msgs/msg/PoseWithCovariance', pose=place, covariance=unknown),
            twist=self.make(
                'geometry_msgs/msg/TwistWithCovariance', twist=twist, covariance=unknown))

    def inertial(self, stamp: int, frame_id: str, packet: Oxts) -> Any:
        """Return the inertial measurement; the orientation is relative to east, north, up."""
        unknown = np.zeros(9)
        return self.make(
            'sensor_msgs/msg/Imu', header=self.header(stamp, frame_id),
            orientation=self.rotation(packet.rotation), orientation_covariance=unknown,
            angular_velocity=self.vector(packet.angular_velocity),
            angular_velocity_covariance=unknown,
            linear_acceleration=self.vector(packet.acceleration),
            linear_acceleration_covariance=unknown)

    def fix(self, stamp: int, frame_id: str, packet: Oxts) -> Any:
        """Return the GNSS fix, with the accuracy stated by the unit."""
        return self.make(
            'sensor_msgs/msg/NavSatFix', header=self.header(stamp, frame_id),
            status=self.make(
                'sensor_msgs/msg/NavSatStatus', status=UNKNOWN_STATUS, service=0),
            latitude=packet.latitude, longitude=packet.longitude, altitude=packet.altitude,
            position_covariance=(np.eye(3) * packet.position_accuracy ** 2).ravel(),
            position_covariance_type=KNOWN_APPROXIMATELY)

    def vector(self, values: np.ndarray, kind: str = 'Vector3') -> Any:
        """Return a vector or a point from float64 (3,)."""
        x, y, z = values.tolist()
        return self.make(f'geometry_msgs/msg/{kind}', x=x, y=y, z=z)

    def rotation(self, matrix: np.ndarray) -> Any:
        """Return the quaternion of a rotation, float64 (3, 3)."""
        x, y, z, w = quaternion(matrix)
        return self.make('geometry_msgs/msg/Quaternion', x=x, y=y, z=z, w=w)
