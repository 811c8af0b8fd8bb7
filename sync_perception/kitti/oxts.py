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
Camera poses of KITTI raw drives, from their inertial and satellite navigation.

Source: Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013, and the data format
of its development kit: latitude and longitude are unrolled by a Mercator projection that keeps
lengths at the latitude where the drive began.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from sync_perception.kitti.drive import KittiCalibration, KittiDrive, read_rigid, rigid

EARTH_RADIUS = 6378137.0
"""Metres, at the equator."""
PACKET = 6
"""Numbers that are used of a packet: latitude, longitude, altitude, roll, pitch, yaw."""


def read_packet(path: Path) -> np.ndarray:
    """
    Read a packet.

    :param path: a file of oxts/data.
    :return: float64 (6,): latitude and longitude in degrees, altitude in metres, roll, pitch and
        yaw in radians (0 is east, counter-clockwise).
    :raises ValueError: if it holds something else.
    """
    words = path.read_text().split()
    try:
        packet = np.array(words[:PACKET], np.float64)
    except ValueError as error:
        raise ValueError(f'{path}: {error}, expected the numbers of an OXTS packet') from error
    if packet.shape != (PACKET,) or not np.isfinite(packet).all():
        raise ValueError(f'{path} has {len(words)} numbers, expected 30, an OXTS packet')
    return packet


def position(packet: np.ndarray, latitude: float) -> np.ndarray:
    """
    Unroll a packet's position.

    :param latitude: degrees, where lengths are kept.
    :return: float64 (3,): metres to the east and to the north of the map's origin, and up.
    """
    scale = EARTH_RADIUS * np.cos(np.radians(latitude))
    north = np.log(np.tan(np.radians(90 + packet[0]) / 2))
    return np.array([scale * np.radians(packet[1]), scale * north, packet[2]])


def imu_pose(packet: np.ndarray, first: np.ndarray) -> np.ndarray:
    """
    Return the pose of the navigation unit (x forward, y left, z up).

    :param packet: the frame's.
    :param first: the packet at the world's origin.
    :return: world_T_imu, float64 (4, 4); the world's x points east, y north, z up.
    """
    turns = np.diag(packet[3:6])
    roll, pitch, yaw = (cv2.Rodrigues(turn)[0] for turn in turns)
    pose = np.eye(4)
    pose[:3, :3] = yaw @ pitch @ roll
    pose[:3, 3] = position(packet, first[0]) - position(first, first[0])
    return pose


@lru_cache(maxsize=256)  # poses are asked for frame by frame
def imu_T_camera(calibration_folder: Path, camera: int) -> np.ndarray:
    """
    Chain the calibration of a day: navigation unit, laser scanner, camera 00, rectified camera.

    :return: float64 (4, 4).
    :raises FileNotFoundError: if a calibration file is missing.
    :raises ValueError: if an entry is missing or malformed.
    """
    velo_T_imu = read_rigid(calibration_folder / 'calib_imu_to_velo.txt')
    cam_T_velo = read_rigid(calibration_folder / 'calib_velo_to_cam.txt')
    calibration = KittiCalibration.read(calibration_folder, camera)
    camera_T_cam = rigid(calibration.R_rect, calibration.shift)
    return np.linalg.inv(camera_T_cam @ cam_T_velo @ velo_T_imu)


@lru_cache(maxsize=256)
def first_packet(folder: Path) -> np.ndarray:
    """Read the first packet of a drive: its world's origin."""
    return read_packet(min(folder.glob('*.txt')))


def camera_pose(drive: KittiDrive, number: str) -> np.ndarray | None:
    """
    Return a rectified camera's pose at a frame of a drive.

    :param number: ten digits.
    :return: world_T_camera, float64 (4, 4), metres; None where the frame has no packet.
    """
    folder = drive.folder / 'oxts' / 'data'
    path = folder / f'{number}.txt'
    if not path.is_file():
        return None
    world_T_imu = imu_pose(read_packet(path), first_packet(folder))
    return world_T_imu @ imu_T_camera(drive.find_calibration(), drive.camera)
