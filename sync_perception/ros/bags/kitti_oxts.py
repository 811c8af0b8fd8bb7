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
KITTI's OXTS files: where the car was, how it moved, what its inertial unit measured.

Source: Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013, section "OXTS", and
dataformat.txt of the recordings. The frame of the unit is REP 103's body frame: x forward, y
left, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EARTH_RADIUS = 6378137.0  # metres, of the sphere that KITTI's Mercator projection is of
FIELDS = 30


@dataclass(frozen=True)
class Oxts:
    """
    One packet of the unit.

    :param latitude: degrees.
    :param longitude: degrees.
    :param altitude: metres above the sea.
    :param roll: radians, 0 level, positive: left side up.
    :param pitch: radians, 0 level, positive: front down.
    :param yaw: radians, 0 east, positive: counter-clockwise.
    :param velocity: float64 (3,), metres a second towards east, north and up.
    :param acceleration: float64 (3,), metres a second squared along the body's x, y, z.
    :param angular_velocity: float64 (3,), radians a second about the body's x, y, z.
    :param position_accuracy: metres.
    :param velocity_accuracy: metres a second.
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

        :raises ValueError: if it does not hold 30 finite numbers, or the place is no place.
        """
        try:
            values = np.array(Path(path).read_text().split(), np.float64)
        except ValueError as error:
            raise ValueError(f'{path} holds something else than numbers: {error}') from error
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
        """Return the rotation from the body to east, north and up, float64 (3, 3)."""
        return rotation_z(self.yaw) @ rotation_y(self.pitch) @ rotation_x(self.roll)

    def pose(self, scale: float) -> np.ndarray:
        """
        Return the body's pose in the plane of the Mercator projection.

        :param scale: cosine of the latitude at which the projection keeps lengths.
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
        """Return the velocity along the body's x, y, z, float64 (3,), metres a second."""
        return self.rotation.T @ self.velocity


def poses(packets: Sequence[Oxts]) -> np.ndarray:
    """
    Return where the body was, seen from where it was first.

    As KITTI's development kit does it: Mercator projection, with the scale of the first packet's
    latitude, then everything in the frame of the first pose.

    :return: float64 (N, 4, 4), body to the first body, metres.
    """
    if not packets:
        return np.empty((0, 4, 4))
    scale = np.cos(np.radians(packets[0].latitude))
    absolute = np.stack([packet.pose(scale) for packet in packets])
    return np.linalg.inv(absolute[0]) @ absolute


def rotation_x(angle: float) -> np.ndarray:
    """Return the rotation about x, float64 (3, 3); the angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> np.ndarray:
    """Return the rotation about y, float64 (3, 3); the angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle: float) -> np.ndarray:
    """Return the rotation about z, float64 (3, 3); the angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """
    Turn a rotation into a unit quaternion.

    By the eigenvector of Bar-Itzhack's matrix ("New method for extracting the quaternion from a
    rotation matrix", 2000), which is exact for rotations and nearest for what almost is one.

    :param rotation: float64 (3, 3).
    :return: x, y, z, w, with w not negative.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    matrix = np.array([
        [xx - yy - zz, yx + xy, zx + xz, zy - yz],
        [yx + xy, yy - xx - zz, zy + yz, xz - zx],
        [zx + xz, zy + yz, zz - xx - yy, yx - xy],
        [zy - yz, xz - zx, yx - xy, xx + yy + zz]]) / 3
    vector = np.linalg.eigh(matrix)[1][:, -1]
    x, y, z, w = (vector if vector[3] >= 0 else -vector).tolist()
    return x, y, z, w
