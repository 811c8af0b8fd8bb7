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


"""
KITTI's OXTS packets: position, orientation, velocity and inertial measurements of the car.

Source: Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013, section "OXTS", and
dataformat.txt of the recordings. The unit's frame is the body frame of REP 103: x forward, y left,
z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from sync_perception.kitti.drive import KittiCalibration, KittiDrive, read_rigid, rigid_transform

EARTH_RADIUS = 6378137.0
"""Radius in metres of the sphere of KITTI's Mercator projection."""
FIELDS = 30


@dataclass(frozen=True)
class Oxts:
    """
    OXTS packet.

    :param latitude: degrees.
    :param longitude: degrees.
    :param altitude: metres above sea level.
    :param roll: radians; 0 is level, positive is left side up.
    :param pitch: radians; 0 is level, positive is front down.
    :param yaw: radians; 0 is east, positive is counter-clockwise.
    :param velocity: float64 (3,), m/s towards east, north and up.
    :param acceleration: float64 (3,), m/s^2 along the body's x, y, z.
    :param angular_velocity: float64 (3,), rad/s about the body's x, y, z.
    :param position_accuracy: metres.
    :param velocity_accuracy: m/s.
    """

    latitude: float
    longitude: float
    altitude: float
    roll: float
    pitch: float
    yaw: float
    velocity: np.ndarray
    acceleration: np.ndarray
    angular_velocity: np.ndarray
    position_accuracy: float
    velocity_accuracy: float

    @classmethod
    def read(cls, path: str | Path) -> Oxts:
        """
        Read a file of oxts/data.

        :raises ValueError: if it does not contain 30 finite numbers, or the position is invalid.
        """
        try:
            values = np.array(Path(path).read_text().split(), np.float64)
        except ValueError as error:
            raise ValueError(f'{path} contains values that are not numbers: {error}') from error
        if values.size != FIELDS or not np.isfinite(values).all():
            raise ValueError(
                f'{path} has {values.size} numbers, expected {FIELDS} finite ones (lat, lon, '
                'alt, roll, pitch, yaw, ...)')
        if abs(values[0]) >= 90:
            raise ValueError(f'{path} has the latitude {values[0]}, expected one between the '
                             'poles, in degrees')
        latitude, longitude, altitude, roll, pitch, yaw, north, east = values[:8].tolist()
        return cls(
            latitude, longitude, altitude, roll, pitch, yaw,
            velocity=np.array([east, north, values[10]]), acceleration=values[11:14],
            angular_velocity=values[17:20], position_accuracy=float(values[23]),
            velocity_accuracy=float(values[24]))

    @property
    def rotation(self) -> np.ndarray:
        """Return the rotation from the body frame to (east, north, up), float64 (3, 3)."""
        roll, pitch, yaw = (
            cv2.Rodrigues(turn)[0] for turn in np.diag([self.roll, self.pitch, self.yaw]))
        return yaw @ pitch @ roll

    def pose(self, scale: float) -> np.ndarray:
        """
        Return the body's pose in the Mercator projection.

        :param scale: cosine of the latitude at which the projection preserves lengths.
        :return: float64 (4, 4), body to (east, north, up), metres.
        """
        pose = np.eye(4)
        pose[:3, :3] = self.rotation
        north = np.log(np.tan(np.radians(90 + self.latitude) / 2))
        pose[:3, 3] = (scale * EARTH_RADIUS * np.radians(self.longitude),
                       scale * EARTH_RADIUS * north, self.altitude)
        return pose

    @property
    def body_velocity(self) -> np.ndarray:
        """Return the velocity along the body's x, y, z, float64 (3,), m/s."""
        return self.rotation.T @ self.velocity


def poses(packets: Sequence[Oxts]) -> np.ndarray:
    """
    Return the poses of the body relative to its first pose.

    As in KITTI's development kit, positions are Mercator projected with the scale at the first
    packet's latitude, and then transformed to the frame of the first pose.

    :return: float64 (N, 4, 4), body to first body, metres.
    """
    if not packets:
        return np.empty((0, 4, 4))
    scale = np.cos(np.radians(packets[0].latitude))
    absolute = np.stack([packet.pose(scale) for packet in packets])
    return np.linalg.inv(absolute[0]) @ absolute


@lru_cache(maxsize=256)  # called once per frame
def imu_T_camera(calibration_folder: Path, camera: int) -> np.ndarray:
    """
    Return the transform from a rectified camera to the navigation unit, from a day's calibration.

    It chains camera, rectified camera 00, camera 00, laser scanner and navigation unit.

    :return: float64 (4, 4), metres.
    :raises FileNotFoundError: if a calibration file is missing.
    :raises ValueError: if an entry is missing or malformed.
    """
    velo_T_imu = read_rigid(calibration_folder / 'calib_imu_to_velo.txt')
    cam_T_velo = read_rigid(calibration_folder / 'calib_velo_to_cam.txt')
    calibration = KittiCalibration.read(calibration_folder, camera)
    camera_T_cam = rigid_transform(calibration.R_rect, calibration.shift)
    return np.linalg.inv(camera_T_cam @ cam_T_velo @ velo_T_imu)


@lru_cache(maxsize=256)
def first_packet(folder: Path) -> Oxts:
    """Read the first packet of a drive, whose pose is the origin of the drive."""
    return Oxts.read(min(folder.glob('*.txt')))


def camera_pose(drive: KittiDrive, number: str) -> np.ndarray | None:
    """
    Return the pose of a rectified camera at a frame of a drive.

    :param number: number of the frame, ten digits.
    :return: world_T_camera, float64 (4, 4), metres; the world frame is the navigation unit's frame
        at the first packet. None if the frame has no packet.
    """
    folder = drive.folder / 'oxts' / 'data'
    path = folder / f'{number}.txt'
    if not path.is_file():
        return None
    world_T_imu = poses([first_packet(folder), Oxts.read(path)])[1]
    return world_T_imu @ imu_T_camera(drive.find_calibration(), drive.camera)
