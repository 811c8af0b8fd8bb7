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
Reader of KITTI raw: drives with sparse depth from a laser scanner.

Sources: Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013; depth maps of
Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
import re

import numpy as np
from sync_perception.datasets.files import read_confidence, read_expert_labels, read_list, shifted
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import read_image
from sync_perception.images.single_channel import read_depth
from sync_perception.kitti import oxts
from sync_perception.kitti.drive import find_drives, KittiCalibration, KittiDrive, read_scan

UNITS_PER_METRE = 256
BENCHMARK_SPLITS = ('train', 'val')
LISTED_SPLITS = ('eigen_train', 'eigen_val', 'eigen_test')
LISTED_FRAME = re.compile(
    r'(?:.*/)?(?P<drive>\d{4}_\d\d_\d\d_drive_\d+_sync)(?:/image_0(?P<camera>\d)/data/|\s+)'
    r'(?P<frame>\d+)(?:\.\w+)?(?:\s+(?P<side>[lr]))?(?:\s.*)?')
SIDES = {'l': 2, 'r': 3}
PARTNERS = {0: 1, 1: 0, 2: 3, 3: 2}


def lidar_depth(
        points_xyz: np.ndarray, velo_to_cam: np.ndarray, R_rect: np.ndarray, P_rect: np.ndarray,
        size: tuple[int, int]) -> np.ndarray:
    """
    Project a laser scan into a rectified image; the nearest point wins a pixel.

    :param points_xyz: (N, 3), metres in the scanner's frame.
    :param velo_to_cam: (4, 4), scanner to unrectified camera 00.
    :param R_rect: (3, 3), rotation of camera 00 into the rectified frame.
    :param P_rect: (3, 4), rectified camera-00 coordinates to homogeneous pixels.
    :param size: height and width in pixels.
    :return: float32 (H, W), metres along the camera's z, NaN where no point falls.
    :raises ValueError: if the points are not (N, 3).
    """
    if points_xyz.ndim != 2 or points_xyz.shape[1] != 3:
        raise ValueError(f'a scan needs points (N, 3), got {points_xyz.shape}')
    rectified = (points_xyz @ velo_to_cam[:3, :3].T + velo_to_cam[:3, 3]) @ R_rect.T
    homogeneous = rectified @ P_rect[:, :3].T + P_rect[:, 3]
    homogeneous = homogeneous[homogeneous[:, 2] > 0]
    z = homogeneous[:, 2]
    u, v = np.rint(homogeneous[:, :2].T / z)
    height, width = size
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    depth = np.full(size, np.inf)
    pixels = v[inside].astype(np.intp), u[inside].astype(np.intp)
    np.minimum.at(depth, pixels, z[inside])
    depth[np.isinf(depth)] = np.nan
    return depth.astype(np.float32)


@lru_cache(maxsize=64)
def shift(folder: Path, camera: int) -> np.ndarray:
    """Return t of P_rect = K [1 | t], the translation from camera 00 to a camera, metres."""
    return KittiCalibration.read(folder, camera).shift


class KittiRaw(DenseDataset):
    """
    Frames of KITTI raw drives. Ids: `drive/frame`.

    Depth comes from `proj_depth` if it exists, in the drive or in the depth benchmark's tree under
    the same root; otherwise from the frame's laser scan, if it exists. Expert labels and their
    confidence are read if they exist. Poses require `oxts`.

    The splits `train` and `val` are those of the depth benchmark and need its tree: `train`
    contains the drives below `train/`. The splits `eigen_train`, `eigen_val` and `eigen_test` are
    lists of frames in a file of that name, `eigen_test.txt`, in the root: each line names a drive
    and a frame, and may name the camera, as `2011_09_26/2011_09_26_drive_0002_sync 69 l` or as the
    path of an image.

    :param root: a folder of days, a day, or a drive.
    :param camera: 2 left colour, 3 right colour, 0 and 1 grey.
    """

    splits = (*BENCHMARK_SPLITS, *LISTED_SPLITS)
    label_space = None
    layout = (
        '{date}/{date}_drive_{nnnn}_sync/image_02/data/{:010d}.(png|jpg), '
        '{date}/calib_cam_to_cam.txt, and for a split {split}/{date}_drive_{nnnn}_sync/proj_depth')

    def __init__(self, root: str | Path, split: str = 'all', camera: int = 2):
        self.camera = camera
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the ids by drive and frame."""
        drives = (KittiDrive(folder, self.camera)
                  for folder in find_drives(self.root, self.camera)
                  if self.split not in BENCHMARK_SPLITS
                  or (self.root / self.split / folder.name).is_dir())
        self.drives = {drive.name: drive for drive in drives}
        self.positions = {
            f'{drive.name}/{path.stem}': index
            for drive in self.drives.values() for index, path in enumerate(drive.image_paths)}
        return self.listed() if self.split in LISTED_SPLITS else list(self.positions)

    def listed(self) -> list[str]:
        """
        Return the ids of this camera's frames in the split's file, in its order.

        :raises FileNotFoundError: if the file or one of its frames is missing.
        :raises ValueError: if a line does not name a frame.
        """
        path = self.root / f'{self.split}.txt'
        ids = []
        for line in read_list(path, self.split, 'the frames'):
            match = LISTED_FRAME.fullmatch(line)
            if match is None:
                raise ValueError(f'{path} has the line {line!r}, expected a drive and a frame')
            if int(match['camera'] or SIDES.get(match['side'], self.camera)) == self.camera:
                ids.append(f'{match["drive"]}/{int(match["frame"]):010}')
        missing = [name for name in ids if name not in self.positions]
        if missing:
            raise FileNotFoundError(
                f'{path} lists {missing[0]}, and {len(missing) - 1} other(s) of {len(ids)}, for '
                f'which there is no image of camera {self.camera} in {self.root}')
        return list(dict.fromkeys(ids))

    def read(self, sample_id: str) -> Sample:
        """Read an image with its intrinsics, depth and expert labels."""
        name, stem = sample_id.split('/')
        drive, index = self.drives[name], self.positions[sample_id]
        image = drive.image(index)
        size = image.shape[:2]
        labels, confidence = (
            drive.folder / folder / f'{stem}.png'
            for folder in ('expert_semantics', 'expert_confidence'))
        left_colour = self.camera == 2  # expert labels exist only for this camera
        return Sample(
            id=sample_id, image=image, K=drive.K, depth=self.read_depth(drive, index),
            expert_labels=read_expert_labels(labels, size)
            if left_colour and labels.is_file() else None,
            expert_confidence=read_confidence(confidence, size)
            if left_colour and confidence.is_file() else None)

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the image `offset` frames later in the same drive."""
        name, number = sample_id.split('/')
        position = self.positions.get(f'{name}/{shifted(number, offset)}')
        return None if position is None else self.drives[name].image_paths[position]

    def pose(self, sample_id: str, offset: int = 0) -> np.ndarray | None:
        """
        Return the camera's pose from the drive's GPS/IMU data (OXTS).

        :return: world_T_camera, float64 (4, 4), metres; the world's x points east, y north, z up
            from where the drive's first packet was taken. None without `oxts` of that frame.
        :raises FileNotFoundError: if `oxts` exists, but a calibration between the devices is
            missing.
        :raises ValueError: if a file is malformed.
        """
        name, number = sample_id.split('/')
        return oxts.camera_pose(self.drives[name], shifted(number, offset))

    def partner_file(self, sample_id: str) -> Path | None:
        """Return the image of the other grey or colour camera at the same time."""
        name, _ = sample_id.split('/')
        image = self.drives[name].image_paths[self.positions[sample_id]]
        folder = self.drives[name].folder / f'image_{PARTNERS[self.camera]:02}' / 'data'
        files = (folder / f'{image.stem}{suffix}' for suffix in ('.png', '.jpg'))
        return next((path for path in files if path.is_file()), None)

    def partner_pose(self, sample_id: str) -> np.ndarray | None:
        """Return partner_T_camera, metres: nearly a translation along x."""
        if self.partner_file(sample_id) is None:
            return None
        drive = self.drives[sample_id.split('/')[0]]
        folder = drive.find_calibration()
        pose = np.eye(4)
        pose[:3, 3] = shift(folder, PARTNERS[self.camera]) - shift(folder, self.camera)
        return pose

    def partner_image(self, sample_id: str) -> np.ndarray:
        """Read the other camera's image."""
        path = self.partner_file(sample_id)
        return super().partner_image(sample_id) if path is None else read_image(path)

    def crop(self, sample_id: str) -> str:
        """Return the name of Garg's crop."""
        return 'garg'

    def read_depth(self, drive: KittiDrive, index: int) -> np.ndarray | None:
        """
        Read or project a frame's depth.

        :return: float32 (H, W), metres, NaN where unknown; None if there is no measurement.
        """
        below = Path('proj_depth', 'groundtruth', f'image_{self.camera:02}',
                     f'{drive.image_paths[index].stem}.png')
        trees = (self.root / split / drive.name for split in BENCHMARK_SPLITS)
        for folder in (drive.folder, *trees):
            if (folder / below).is_file():
                return read_depth(folder / below, drive.size, UNITS_PER_METRE)
        scan, calibration = drive.velodyne_paths[index], drive.calibration
        if scan is None:
            return None
        if calibration.velo_to_cam is None:
            raise FileNotFoundError(
                f'{scan} needs calib_velo_to_cam.txt next to calib_cam_to_cam.txt of {drive.name}')
        return lidar_depth(
            read_scan(scan)[:, :3], calibration.velo_to_cam, calibration.R_rect,
            calibration.P_rect, drive.size)
