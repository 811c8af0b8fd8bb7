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
Reader of NYU Depth v2's labelled images in the authors' MATLAB file.

Source: Silberman et al., "Indoor Segmentation and Support Inference from RGBD Images", ECCV
2012; the 40 classes are those of Gupta et al., "Perceptual Organization and Recognition of Indoor
Scenes from RGB-D Images", CVPR 2013.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.datasets.nyuv2.raw import K
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.labels import VOID

IMAGES = 'nyu_depth_v2_labeled.mat'
SPLITS = 'splits.mat'
CLASSES = 'classMapping40.mat'
DEPTHS = {'filled': 'depths', 'raw': 'rawDepths'}


class NyuDepthV2Labeled(DenseDataset):
    """
    The 1449 labelled images with depth, and with 40 classes if their mapping exists.

    `nyu_depth_v2_labeled.mat` has hundreds of classes; `classMapping40.mat` maps them to the 40.
    The splits are those of `splits.mat`: 795 for training, 654 for testing. There are no normals.
    Ids: the image's number, from 0001.

    :param depth: `filled`, the sensor's depth with inpainted holes, or `raw`, with holes.
    :raises ValueError: for another kind of depth, or an invalid file.
    """

    splits = ('train', 'test')
    label_space = 'nyud40'
    layout = f'{IMAGES}, {CLASSES} for labels, and for a split {SPLITS}'
    max_depth = 10.0

    def __init__(self, root: str | Path, split: str = 'all', depth: str = 'filled'):
        if depth not in DEPTHS:
            raise ValueError(f'depth: expected one of {", ".join(DEPTHS)}, got {depth!r}')
        self.kind = DEPTHS[depth]
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the split's list, or by number."""
        path = self.root / IMAGES
        if not path.is_file():
            return []
        count = self.load(lambda file: len(file['images']))
        self.table = self.class_table()
        numbers = range(1, count + 1)
        if self.split != 'all':
            numbers = read_integers(self.root / SPLITS, f'{self.split}Ndxs')
        if max(numbers) > count:
            raise ValueError(
                f'{self.root / SPLITS} lists image {max(numbers)}, but {path} has {count} images')
        return [f'{number:04}' for number in numbers]

    def class_table(self) -> np.ndarray | None:
        """Return the table of the file's classes to the 40, uint8, 255 for 0, if it exists."""
        path = self.root / CLASSES
        if not path.is_file():
            return None
        classes = np.array(read_integers(path, 'mapClass'))
        if classes.min() < 0 or classes.max() > 40:
            raise ValueError(
                f'{path} maps to {classes.min()} to {classes.max()}, expected 1 to 40, 0 for none')
        return np.where(np.r_[0, classes] == 0, VOID, np.r_[0, classes] - 1).astype(np.uint8)

    def read(self, sample_id: str) -> Sample:
        """Read an image with its depth and labels."""
        index = int(sample_id) - 1
        image, depth, labels = self.load(lambda file: tuple(
            file[name][index].T for name in ('images', self.kind, 'labels')))
        if self.table is not None and labels.max() >= len(self.table):
            raise ValueError(
                f'image {sample_id} of {self.root / IMAGES} has the label {labels.max()}, '
                f'{CLASSES} knows {len(self.table) - 1}')
        return Sample(
            id=sample_id, image=np.ascontiguousarray(image), K=K.copy(),
            depth=np.where(depth > 0, depth, np.nan).astype(np.float32),
            labels=None if self.table is None else self.table[labels])

    def crop(self, sample_id: str) -> str:
        """Return the name of the crop of Eigen et al."""
        return 'eigen'

    def load(self, pick: Callable[[Any], Any]) -> Any:
        """
        Read from the file of images.

        The file is opened each time, because an open file cannot be shared with loader processes.

        :raises ValueError: if the file is broken or lacks an array.
        """
        import h5py  # optional: only this data set needs it
        path = self.root / IMAGES
        try:
            with h5py.File(path, 'r') as file:
                return pick(file)
        except (OSError, KeyError) as error:
            raise ValueError(
                f'{path}: {error}, expected a complete MATLAB 7.3 file with images, depths, '
                'rawDepths and labels') from error


def read_integers(path: Path, name: str) -> list[int]:
    """
    Read an array of integers from a MATLAB file.

    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if it is not a MATLAB file or lacks the array.
    """
    from scipy.io import loadmat  # optional: only this data set needs it
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}, expected the array {name} in it')
    try:
        return loadmat(path)[name].ravel().astype(int).tolist()
    except (KeyError, ValueError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f'{path}: {error!r}, expected a MATLAB file with the array {name}') from error
