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


"""Turns a KITTI raw drive into a rosbag2 bag; ROS itself need not be installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.files.locks import output_lock
from sync_perception.kitti.drive import (
    CAMERAS,
    find_drives,
    KittiDrive,
    read_rigid,
    read_scan,
    read_stamps,
    rigid,
)
from sync_perception.kitti.oxts import Oxts, poses
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.kitti_messages import KittiMessages

ODOM, BASE, IMU, VELO = 'odom', 'base_link', 'imu_link', 'velo_link'
IMAGE, ODOMETRY = rosbag2.IMAGE, 'nav_msgs/msg/Odometry'
COMPRESSED, CAMERA_INFO = rosbag2.COMPRESSED_IMAGE, rosbag2.CAMERA_INFO
CLOUD, TF = 'sensor_msgs/msg/PointCloud2', 'tf2_msgs/msg/TFMessage'
FIX, INERTIAL = 'sensor_msgs/msg/NavSatFix', 'sensor_msgs/msg/Imu'


def optical_frame(camera: int) -> str:
    """Name the frame of a camera's rectified images."""
    return f'camera_{camera}_optical_frame'


@dataclass(frozen=True)
class Item:
    """
    What goes into the bag at one moment.

    :param stamp: nanoseconds.
    :param topic: name and type of the topic.
    :param make: returns the message; raises ValueError where the file is broken.
    """

    stamp: int
    topic: tuple[str, str]
    make: Callable[[], Any]


def kitti_to_bag(
        drive: str | Path, out: str | Path, storage: str = 'mcap',
        cameras: Sequence[int] = (), compressed: bool = False,
        report: Callable[[str], None] = print) -> dict[str, Any]:
    """
    Write a bag of all that a drive has: images, scans, poses, calibration.

    What the drive has not is reported and absent from the bag; so is a file that is broken.

    :param drive: the drive's folder, `{date}_drive_{nnnn}_sync`, or a folder that holds one.
    :param out: the bag's folder; it must not be there yet.
    :param storage: mcap or sqlite3.
    :param cameras: 0 and 1 grey, 2 and 3 colour; all that the drive has, if empty.
    :param compressed: keep the image files as they are, as CompressedImage.
    :param report: takes lines for the user.
    :return: `topics`, the messages on each; `broken`, what was left out.
    :raises FileNotFoundError: if there is no drive or no calibration.
    :raises ValueError: if the drive's calibration or stamps are malformed, or another process
        writes the same bag.
    :raises OSError: if the disk is full; then nothing is left of the bag.
    """
    with output_lock(out):
        return convert(drive, out, storage, cameras, compressed, report)


def convert(drive: str | Path, out: str | Path, storage: str, cameras: Sequence[int],
            compressed: bool, report: Callable[[str], None]) -> dict[str, Any]:
    """Do the work of `kitti_to_bag`."""
    seen = open_cameras(drive, cameras)
    conversion = Conversion(seen, compressed, report)
    items = sorted(conversion.items(), key=lambda item: item.stamp)
    broken, counts = [], Counter()
    notes = {'kitti_drive': seen[0].name}
    with rosbag2.BagWriter(out, storage, notes) as bag:
        connections = {
            topic: bag.add_topic(*topic, profile_of(*topic), conversion.messages.store)
            for topic in dict.fromkeys(item.topic for item in items)}
        for item in track(items, f'{seen[0].name}', console=Console(stderr=True)):
            try:
                message = item.make()
            except (OSError, ValueError) as error:
                report(f'left out: {error}')
                broken.append(str(error))
                continue
            data = conversion.messages.serialize(message, item.topic[1])
            bag.write(connections[item.topic], item.stamp, data)
            counts[item.topic[0]] += 1
    return {'topics': dict(counts), 'broken': broken}


def open_cameras(folder: str | Path, cameras: Sequence[int]) -> list[KittiDrive]:
    """
    Open a drive as each of its cameras sees it.

    :param cameras: all that there are, if empty.
    :raises FileNotFoundError: if there is no drive, or no such camera.
    """
    wanted = tuple(sorted(set(cameras))) or tuple(
        camera for camera in CAMERAS if find_drives(folder, camera))
    if not wanted:
        raise FileNotFoundError(
            f'no KITTI raw drive in {folder}, expected {{date}}_drive_{{nnnn}}_sync with '
            'image_00, image_01, image_02 or image_03')
    drives = [KittiDrive(folder, camera) for camera in wanted]
    folders = {drive.folder for drive in drives}
    if len(folders) > 1:
        raise ValueError(f'{folder} holds {len(folders)} drives, expected one of '
                         f'{", ".join(sorted(each.name for each in folders))}')
    return drives


def profile_of(topic: str, _: str) -> Any:
    """Return the quality of service that the publisher of a topic has in ROS."""
    if topic == '/tf_static':
        return rosbag2.qos(depth=1, latched=True)
    return rosbag2.qos(depth=100 if topic == '/tf' else 5)


class Conversion:
    """
    Lists what a drive has as messages.

    :param drives: the drive, as each camera sees it.
    :param compressed: keep the image files as they are.
    :param report: takes a line on everything that the drive has not.
    """

    def __init__(self, drives: Sequence[KittiDrive], compressed: bool,
                 report: Callable[[str], None]):
        self.drives = drives
        self.compressed = compressed
        self.report = report
        self.folder = drives[0].folder
        self.calibration = drives[0].find_calibration()
        self.messages = KittiMessages()

    def items(self) -> list[Item]:
        """
        List everything; what comes first at one moment stands first.

        :raises ValueError: if calibration or stamps are malformed.
        """
        moving = [*self.oxts_items(), *self.scan_items(), *self.image_items()]
        begin = min(item.stamp for item in moving)
        transforms = self.static_transforms()
        make = self.messages.transforms
        return [Item(begin, ('/tf_static', TF), lambda: make(begin, transforms)), *moving]

    def image_items(self) -> Iterator[Item]:
        """List the images of all cameras, each after its calibration."""
        for drive in self.drives:
            base = f'/kitti/image_{drive.camera:02}'
            image = (f'{base}/image_rect', IMAGE)
            if self.compressed:
                image = (f'{base}/image_rect/compressed', COMPRESSED)
            for index, stamp in enumerate(drive.stamps):
                yield Item(stamp, (f'{base}/camera_info', CAMERA_INFO), self._info(drive, stamp))
                yield Item(stamp, image, self._image(drive, index))

    def _info(self, drive: KittiDrive, stamp: int) -> Callable[[], Any]:
        return lambda: self.messages.camera_info(
            stamp, optical_frame(drive.camera), drive.K, drive.size)

    def _image(self, drive: KittiDrive, index: int) -> Callable[[], Any]:
        stamp, frame_id = drive.stamps[index], optical_frame(drive.camera)

        def make() -> Any:
            pixels = drive.image(index)  # also where the file is kept: it must be whole
            if self.compressed:
                return self.messages.compressed(stamp, frame_id, drive.image_paths[index])
            return self.messages.image(stamp, frame_id, pixels, grey=drive.camera < 2)
        return make

    def scan_items(self) -> Iterator[Item]:
        """List the laser scans; where they have no stamps, those of the images of their number."""
        folder = self.folder / 'velodyne_points'
        paths = sorted(path for path in folder.glob('data/*.bin') if path.stem.isdigit())
        if not paths:
            self.report(f'no laser scans: {folder}/data has no .bin file')
            return
        numbers = [int(path.stem) for path in paths]
        if (folder / 'timestamps.txt').is_file():
            stamps = dict(zip(numbers, read_stamps(folder / 'timestamps.txt', numbers)))
        else:
            drive = self.drives[0]
            images = {int(path.stem): stamp
                      for path, stamp in zip(drive.image_paths, drive.stamps)}
            stamps = {number: images[number] for number in numbers if number in images}
            self.report(
                f'no {folder}/timestamps.txt: {len(stamps)} of {len(paths)} scans get the stamp '
                f'of the image of their number, the others are left out')
        for number, path in zip(numbers, paths):
            if number in stamps:
                yield Item(stamps[number], ('/kitti/velo/points', CLOUD),
                           self._scan(path, stamps[number]))

    def _scan(self, path: Path, stamp: int) -> Callable[[], Any]:
        return lambda: self.messages.cloud(stamp, VELO, read_scan(path))

    def oxts_items(self) -> list[Item]:
        """
        List poses, odometry, inertial measurements and fixes.

        :raises ValueError: if a packet is malformed: the poses hang on the first one.
        """
        folder = self.folder / 'oxts'
        paths = sorted(path for path in folder.glob('data/*.txt') if path.stem.isdigit())
        if not paths:
            self.report(f'no /tf and no odometry: {folder}/data has no .txt file')
            return []
        stamps = read_stamps(folder / 'timestamps.txt', [int(path.stem) for path in paths])
        packets = [Oxts.read(path) for path in paths]
        items = []
        for stamp, packet, pose in zip(stamps, packets, poses(packets)):
            items += self._packet_items(stamp, packet, pose)
        return items

    def _packet_items(self, stamp: int, packet: Oxts, pose: np.ndarray) -> list[Item]:
        messages = self.messages
        return [
            Item(stamp, ('/tf', TF), lambda: messages.transforms(stamp, [(ODOM, BASE, pose)])),
            Item(stamp, ('/kitti/oxts/odometry', ODOMETRY),
                 lambda: messages.odometry(stamp, ODOM, BASE, pose, packet)),
            Item(stamp, ('/kitti/oxts/imu', INERTIAL),
                 lambda: messages.inertial(stamp, IMU, packet)),
            Item(stamp, ('/kitti/oxts/fix', FIX), lambda: messages.fix(stamp, IMU, packet))]

    def static_transforms(self) -> list[tuple[str, str, np.ndarray]]:
        """
        List parent, child and float64 (4, 4) child to parent, of all that is calibrated.

        :raises ValueError: if a calibration is malformed.
        """
        transforms = [(BASE, IMU, np.eye(4))]
        imu_to_velo = self.calibration / 'calib_imu_to_velo.txt'
        if imu_to_velo.is_file():
            velo_T_imu = read_rigid(imu_to_velo)
            transforms.append((IMU, VELO, np.linalg.inv(velo_T_imu)))
        else:
            self.report(f'no {imu_to_velo}: no transform from {IMU} to {VELO}')
        calibration = self.drives[0].calibration
        if calibration.velo_to_cam is not None:
            rect_T_velo = rigid(calibration.R_rect, np.zeros(3)) @ calibration.velo_to_cam
            transforms.append((VELO, optical_frame(0), np.linalg.inv(rect_T_velo)))
        else:
            self.report(f'no {self.calibration}/calib_velo_to_cam.txt: no transform from {VELO} '
                        f'to {optical_frame(0)}')
        for drive in self.drives:
            if drive.camera:
                # P = K [I | t]: rectified camera 0 to this camera is a shift by t
                transforms.append((optical_frame(0), optical_frame(drive.camera),
                                   rigid(np.eye(3), -drive.calibration.shift)))
        return transforms
