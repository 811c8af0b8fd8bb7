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


"""Conversion of KITTI raw drives to rosbag2 bags, without a ROS installation."""

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
    find_drives,
    KITTI_CAMERAS,
    KittiDrive,
    read_rigid,
    read_scan,
    read_stamps,
    rigid_transform,
)
from sync_perception.kitti.oxts import Oxts, poses
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.kitti_messages import KittiMessages

ODOM, BASE, IMU, VELO = 'odom', 'base_link', 'imu_link', 'velo_link'
IMAGE, ODOMETRY = rosbag2.IMAGE_TYPE, 'nav_msgs/msg/Odometry'
COMPRESSED, CAMERA_INFO = rosbag2.COMPRESSED_IMAGE, rosbag2.CAMERA_INFO_TYPE
CLOUD, TF = 'sensor_msgs/msg/PointCloud2', 'tf2_msgs/msg/TFMessage'
FIX, INERTIAL = 'sensor_msgs/msg/NavSatFix', 'sensor_msgs/msg/Imu'


def optical_frame(camera: int) -> str:
    """Return the frame_id of a camera's rectified images."""
    return f'camera_{camera}_optical_frame'


@dataclass(frozen=True)
class TimedMessage:
    """
    Message to be written at one time.

    :param stamp: nanoseconds.
    :param topic: name and type of the topic.
    :param make: function that returns the message, or raises ValueError for a damaged file.
    """

    stamp: int
    topic: tuple[str, str]
    make: Callable[[], Any]


def kitti_to_bag(
        drive: str | Path, out: str | Path, storage: str = 'mcap',
        cameras: Sequence[int] = (), compressed: bool = False,
        report: Callable[[str], None] = print) -> dict[str, Any]:
    """
    Write a bag with all data of a drive: images, laser scans, poses and calibration.

    Missing data and damaged files are reported and left out.

    :param drive: the drive's folder, `{date}_drive_{nnnn}_sync`, or a folder that contains one.
    :param out: folder of the bag, which must not exist.
    :param storage: mcap or sqlite3.
    :param cameras: 0 and 1 are grey, 2 and 3 are colour; empty for all cameras of the drive.
    :param compressed: write the image files unchanged, as CompressedImage.
    :param report: receives lines for the user.
    :return: `topics`, the number of messages on each; `broken`, the files left out.
    :raises FileNotFoundError: if there is no drive or no calibration.
    :raises ValueError: if the drive's calibration or stamps are malformed, or another process
        writes the same bag.
    :raises OSError: if the disk is full; the partial bag is removed.
    """
    with output_lock(out):
        return write_kitti_bag(drive, out, storage, cameras, compressed, report)


def write_kitti_bag(drive: str | Path, out: str | Path, storage: str, cameras: Sequence[int],
                    compressed: bool, report: Callable[[str], None]) -> dict[str, Any]:
    """Write the bag for `kitti_to_bag`."""
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
                report(f'skipped: {error}')
                broken.append(str(error))
                continue
            data = conversion.messages.serialize(message, item.topic[1])
            bag.write(connections[item.topic], item.stamp, data)
            counts[item.topic[0]] += 1
    return {'topics': dict(counts), 'broken': broken}


def open_cameras(folder: str | Path, cameras: Sequence[int]) -> list[KittiDrive]:
    """
    Return a drive as seen by each of its cameras.

    :param cameras: numbers of the cameras; empty for all.
    :raises FileNotFoundError: if there is no drive, or no such camera.
    """
    wanted = tuple(sorted(set(cameras))) or tuple(
        camera for camera in KITTI_CAMERAS if find_drives(folder, camera))
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
    """Return the quality of service of the usual ROS publisher of a topic."""
    if topic == '/tf_static':
        return rosbag2.qos(depth=1, latched=True)
    return rosbag2.qos(depth=100 if topic == '/tf' else 5)


class Conversion:
    """
    List of the data of a drive as messages.

    :param drives: the drive as seen by each camera.
    :param compressed: keep the image files unchanged.
    :param report: receives a line on each kind of missing data.
    """

    def __init__(self, drives: Sequence[KittiDrive], compressed: bool,
                 report: Callable[[str], None]):
        self.drives = drives
        self.compressed = compressed
        self.report = report
        self.folder = drives[0].folder
        self.calibration = drives[0].find_calibration()
        self.messages = KittiMessages()

    def items(self) -> list[TimedMessage]:
        """
        Return all items in chronological order.

        :raises ValueError: if calibration or stamps are malformed.
        """
        moving = [*self.oxts_items(), *self.scan_items(), *self.image_items()]
        begin = min(item.stamp for item in moving)
        transforms = self.static_transforms()
        make = self.messages.transforms
        return [TimedMessage(begin, ('/tf_static', TF), lambda: make(begin, transforms)), *moving]

    def image_items(self) -> Iterator[TimedMessage]:
        """Yield the images of all cameras, each after its calibration."""
        for drive in self.drives:
            base = f'/kitti/image_{drive.camera:02}'
            image = (f'{base}/image_rect', IMAGE)
            if self.compressed:
                image = (f'{base}/image_rect/compressed', COMPRESSED)
            for index, stamp in enumerate(drive.stamps):
                yield TimedMessage(stamp, (f'{base}/camera_info', CAMERA_INFO),
                                   self._info(drive, stamp))
                yield TimedMessage(stamp, image, self._image(drive, index))

    def _info(self, drive: KittiDrive, stamp: int) -> Callable[[], Any]:
        return lambda: self.messages.camera_info(
            stamp, optical_frame(drive.camera), drive.K, drive.size)

    def _image(self, drive: KittiDrive, index: int) -> Callable[[], Any]:
        stamp, frame_id = drive.stamps[index], optical_frame(drive.camera)

        def make() -> Any:
            pixels = drive.image(index)  # also if the file is copied, to check that it is complete
            if self.compressed:
                return self.messages.compressed(stamp, frame_id, drive.image_paths[index])
            return self.messages.image(stamp, frame_id, pixels, grey=drive.camera < 2)
        return make

    def scan_items(self) -> Iterator[TimedMessage]:
        """Yield the laser scans; without own stamps they get those of the images."""
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
                'of the image with the same number, the others are skipped')
        for number, path in zip(numbers, paths):
            if number in stamps:
                yield TimedMessage(stamps[number], ('/kitti/velo/points', CLOUD),
                                   self._scan(path, stamps[number]))

    def _scan(self, path: Path, stamp: int) -> Callable[[], Any]:
        return lambda: self.messages.cloud(stamp, VELO, read_scan(path))

    def oxts_items(self) -> list[TimedMessage]:
        """
        Return poses, odometry, inertial measurements and GNSS fixes.

        :raises ValueError: if a packet is malformed.
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

    def _packet_items(self, stamp: int, packet: Oxts, pose: np.ndarray) -> list[TimedMessage]:
        messages = self.messages
        return [
            TimedMessage(stamp, ('/tf', TF),
                         lambda: messages.transforms(stamp, [(ODOM, BASE, pose)])),
            TimedMessage(stamp, ('/kitti/oxts/odometry', ODOMETRY),
                         lambda: messages.odometry(stamp, ODOM, BASE, pose, packet)),
            TimedMessage(stamp, ('/kitti/oxts/imu', INERTIAL),
                         lambda: messages.inertial(stamp, IMU, packet)),
            TimedMessage(stamp, ('/kitti/oxts/fix', FIX),
                         lambda: messages.fix(stamp, IMU, packet))]

    def static_transforms(self) -> list[tuple[str, str, np.ndarray]]:
        """
        Return all calibrated transforms as parent, child and float64 (4, 4) child to parent.

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
            rectified = rigid_transform(calibration.R_rect, np.zeros(3))
            rect_T_velo = rectified @ calibration.velo_to_cam
            transforms.append((VELO, optical_frame(0), np.linalg.inv(rect_T_velo)))
        else:
            self.report(f'no {self.calibration}/calib_velo_to_cam.txt: no transform from {VELO} '
                        f'to {optical_frame(0)}')
        for drive in self.drives:
            if drive.camera:
                # P = K [I | t]: from rectified camera 0 to this camera is a translation by t
                transforms.append((optical_frame(0), optical_frame(drive.camera),
                                   rigid_transform(np.eye(3), -drive.calibration.shift)))
        return transforms
