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

"""Reader of images and label images in any label space: LabelMeFacade, RUGD, own data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sync_perception.datasets.cityscapes import TRAIN_IDS, wrong_label_ids
from sync_perception.datasets.files import identity_table, read_labels
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.labels import LabelSpace

CODINGS = ('ids', 'cityscapes_label_ids')


class LabelledImages(DenseDataset):
    """
    Images and label images of the same names, without depth. Ids: the images' names.

    :param root: the folder that contains both.
    :param split: only `all`.
    :param images: subfolder of the images.
    :param labels: subfolder of the label images, 8-bit PNG.
    :param label_space: the labels' space: a name or a YAML file.
    :param coding: coding of the label images: `ids` of the label space, 255 for void; or
        `cityscapes_label_ids`, 0 to 33, of which those without a train id are void.
    :param exclude: ids of images to omit.
    :raises ValueError: if the coding is unknown or does not match the label space, or an excluded
        id does not exist.
    """

    splits = ()
    label_space = 'cityscapes19'
    layout = '{images}/NAME.(png|jpg) and {labels}/NAME.png'

    def __init__(
            self, root: str | Path, split: str = 'all', images: str = 'images',
            labels: str = 'labels', label_space: str = 'cityscapes19', coding: str = 'ids',
            exclude: Sequence[str] = ()):
        if coding not in CODINGS:
            raise ValueError(f'coding: expected one of {", ".join(CODINGS)}, got {coding!r}')
        if coding == 'cityscapes_label_ids' and label_space != 'cityscapes19':
            raise ValueError(
                f'coding {coding!r} is of the label space cityscapes19, got {label_space!r}')
        self.label_space, self.folders = label_space, (images, labels)
        self.exclude = frozenset(exclude)
        self.table = TRAIN_IDS if coding == 'cityscapes_label_ids' else identity_table(
            len(LabelSpace.load(label_space)))
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the names of the images that have labels, sorted."""
        self.images = images_by_stem(self.root / self.folders[0])
        labels = images_by_stem(self.root / self.folders[1])
        missing = sorted(self.exclude.difference(self.images))
        if missing:
            raise ValueError(f'{self.root} has no image {missing[0]!r} to exclude')
        return [name for name in self.images if name in labels and name not in self.exclude]

    def read(self, sample_id: str) -> Sample:
        """Read an image and its labels."""
        image = read_image(self.images[sample_id])
        path = self.root / self.folders[1] / f'{sample_id}.png'
        return Sample(
            id=sample_id, image=image, labels=read_labels(
                path, image.shape[:2], self.table,
                wrong_label_ids if self.table is TRAIN_IDS else None))
