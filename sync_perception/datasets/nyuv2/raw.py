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
Reader of NYU Depth v2: rooms, 640x480, with dense depth, 40 classes and surface normals.

Source: Silberman et al., "Indoor Segmentation and Support Inference from RGBD Images", ECCV
2012, and the camera parameters of its toolbox; the 40 classes are those of Gupta et al.,
"Perceptual Organization and Recognition of Indoor Scenes from RGB-D Images", CVPR 2013.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.datasets.files import identity_table, read_labels, read_list
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.geometry import pinhole
from sync_perception.images.reading import images_by_stem, read_image, read_stored
from sync_perception.images.single_channel import read_depth

LABELS = identity_table(40)
UNITS_PER_METRE = 5000
SIZE = 480, 640
# The toolbox counts pixels from 1.
K = pinhole(518.85790117450188, 519.46961112127485, 325.58244941119034 - 1, 253.73616633400465 - 1)
UNIT_TOLERANCE = 0.1
# In the files, x points right, y forward and z up.
OPTICAL_FROM_FILE = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)


class NyuDepthV2(DenseDataset):
    """
    Images with depth, labels and normals, each if its file exists. Ids: the image's number.

    A split is a text file of ids, one per line, beside the images.
    """

    splits = ('train', 'test')
    label_space = 'nyud40'
    layout = (
        'NNNNNN.(png|jpg) with depth_gt_NNNNNN.png, segm_gt_NNNNNN.png, norm_gt_NNNNNN.png, and '
        'for a split train.txt or test.txt')
    max_depth = 10.0

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the split's file, or by number."""
        self.images = {stem: path for stem, path in images_by_stem(self.root).items()
                       if stem.isdecimal()}
        if self.split == 'all':
            return list(self.images)
        path = self.root / f'{self.split}.txt'
        return read_list(path, self.split, 'the ids', self.images)

    def read(self, sample_id: str) -> Sample:
        """Read an image with its annotations."""
        image = read_image(self.images[sample_id])
        size = image.shape[:2]
        if size != SIZE:
            raise ValueError(
                f'{self.images[sample_id]} is {size[1]}x{size[0]}, expected {SIZE[1]}x{SIZE[0]}: '
                'the intrinsics are those of the whole image')
        depth, labels, normals = (
            self.root / f'{kind}_gt_{sample_id}.png' for kind in ('depth', 'segm', 'norm'))
        return Sample(
            id=sample_id, image=image, K=K.copy(),
            depth=read_depth(depth, size, UNITS_PER_METRE) if depth.is_file() else None,
            labels=read_labels(labels, size, LABELS) if labels.is_file() else None,
            normals=read_normals(normals, size) if normals.is_file() else None)

    def crop(self, sample_id: str) -> str:
        """Return the name of the crop of Eigen et al."""
        return 'eigen'


def read_normals(path: Path, size: tuple[int, int]) -> np.ndarray:
    """
    Read normals stored as (n + 1) / 2 x 255 in the axes right, forward, up.

    :param size: expected height and width.
    :return: float32 (H, W, 3), unit normals in the optical frame, towards the camera, NaN where
        the file has none (grey).
    :raises ValueError: if the file is broken or has another shape.
    """
    stored = read_stored(path)
    if stored.dtype != np.uint8 or stored.shape != (*size, 3):
        raise ValueError(
            f'{path} is {stored.dtype} {stored.shape}, expected uint8 {(*size, 3)}, normals')
    normals = stored.astype(np.float32) * np.float32(2 / 255) - 1
    normals = normals @ OPTICAL_FROM_FILE.T
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    known = np.abs(length - 1) < UNIT_TOLERANCE
    return np.where(known, normals / np.where(known, length, 1), np.float32(np.nan))
