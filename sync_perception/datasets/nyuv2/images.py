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
Reader of NYU Depth v2 as folders of images, depth maps and labels, at any size.

Source: Silberman et al., "Indoor Segmentation and Support Inference from RGBD Images", ECCV
2012; the 40 classes are those of Gupta et al., "Perceptual Organization and Recognition of Indoor
Scenes from RGB-D Images", CVPR 2013.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.datasets.files import identity_table, read_intrinsics, read_labels
from sync_perception.datasets.nyuv2.crop import EIGEN_CROP, EIGEN_SIZE
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.images.single_channel import read_depth
from sync_perception.labels import VOID

LABELS = identity_table(40)
UNITS_PER_METRE = 5000
IMAGES, DEPTH, CLASSES = 'rgb', 'depth', 'label40'
TENTHS = ('without', 'only')


class NyuDepthV2Images(DenseDataset):
    """
    Images with depth and 40 classes. Ids: `split/NAME`, or NAME if the root has no splits.

    A split is a folder of the root; a root that contains `rgb` itself is the split `all`. Depth
    and labels of the white border, outside of the crop of Eigen et al., are unknown.

    :param tenth: `only` keeps every tenth image by name, `without` the others: a fixed validation
        set if the official test images are not available; None keeps all.
    :raises ValueError: for another value of `tenth`.
    """

    splits = ('train', 'val', 'test')
    label_space = 'nyud40'
    layout = '{split}/{rgb,depth,label40}/NAME.(png|jpg) and intrinsics.txt'
    max_depth = 10.0

    def __init__(self, root: str | Path, split: str = 'all', tenth: str | None = None):
        if tenth is not None and tenth not in TENTHS:
            raise ValueError(f'tenth: expected one of {", ".join(TENTHS)}, got {tenth!r}')
        self.tenth = tenth
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the splits, then by name."""
        self.images = dict(images_by_stem(self.root / IMAGES))
        for split in self.splits if self.split == 'all' else (self.split,):
            self.images.update({
                f'{split}/{stem}': path
                for stem, path in images_by_stem(self.root / split / IMAGES).items()})
        if self.split != 'all':
            self.images = {
                name: path for name, path in self.images.items()
                if name.startswith(f'{self.split}/')}
        if self.images:
            self.K = read_intrinsics(self.root / 'intrinsics.txt')
        ids = list(self.images)
        if self.tenth is None:
            return ids
        return [name for place, name in enumerate(ids)
                if (place % 10 == 9) == (self.tenth == 'only')]

    def read(self, sample_id: str) -> Sample:
        """Read an image with its intrinsics, and depth and labels if they exist."""
        path = self.images[sample_id]
        image = read_image(path)
        size = image.shape[:2]
        depth, labels = (
            path.parent.parent / kind / f'{path.stem}.png' for kind in (DEPTH, CLASSES))
        outside = outside_of_picture(size)
        metres = classes = None
        if depth.is_file():
            metres = read_depth(depth, size, UNITS_PER_METRE)
            metres[outside] = np.nan
        if labels.is_file():
            classes = read_labels(labels, size, LABELS)
            classes[outside] = VOID
        return Sample(id=sample_id, image=image, K=self.K.copy(), depth=metres, labels=classes)


def outside_of_picture(size: tuple[int, int]) -> np.ndarray:
    """Return the white border of an image, outside of Eigen's crop at any size: bool (H, W)."""
    outside = np.ones(size, bool)
    rows, columns = (
        slice(int(np.ceil(part.start * side / whole)), int(part.stop * side / whole))
        for part, side, whole in zip(EIGEN_CROP, size, EIGEN_SIZE))
    outside[rows, columns] = False
    return outside
