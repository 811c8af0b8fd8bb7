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
Readers of CamVid: 701 labelled frames of four drives through Cambridge.

Source: Brostow et al., "Semantic object classes in video", PRL 2009; the 11 classes, their
grouping, the splits and the 480x360 copies are those of Badrinarayanan et al., "SegNet", PAMI
2017.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.datasets.files import (
    identity_table,
    read_color_labels,
    read_labels,
    read_list,
)
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.labels import LabelSpace

LABELS = identity_table(11, void=(11,))
GROUPS = {
    'sky': ('Sky',),
    'building': ('Building', 'Wall', 'Bridge', 'Tunnel', 'Archway'),
    'pole': ('Column_Pole', 'TrafficCone'),
    'road': ('Road', 'LaneMkgsDriv', 'LaneMkgsNonDriv'),
    'pavement': ('Sidewalk', 'ParkingBlock', 'RoadShoulder'),
    'tree': ('Tree', 'VegetationMisc'),
    'sign': ('SignSymbol', 'Misc_Text', 'TrafficLight'),
    'fence': ('Fence',),
    'car': ('Car', 'SUVPickupTruck', 'Truck_Bus', 'Train', 'OtherMoving'),
    'pedestrian': ('Pedestrian', 'Child', 'CartLuggagePram', 'Animal'),
    'bicyclist': ('Bicyclist', 'MotorcycleScooter'),
}
"""The 11 classes, each with the classes of the 31 that it comprises."""
IMAGES, ANNOTATIONS = '701_StillsRaw_full', 'LabeledApproved_full'
VAL_DRIVE, VAL_FRAMES = '0016E5', (7959, 8159)
LAST_TRAINING_DUSK = 8520
"""Last training frame of the drive 0001TP; its later frames are test frames."""


class CamVid(DenseDataset):
    """
    CamVid with dense labels in 11 classes, without depth and intrinsics. Ids: `split/NAME`.

    Validation frames come from one of the drives that the training frames come from.
    """

    splits = ('train', 'val', 'test')
    label_space = 'camvid11'
    layout = '{split}/NAME.(png|jpg) and {split}annot/NAME.png'

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the splits, then by name."""
        self.images = {
            f'{split}/{stem}': path
            for split in (self.splits if self.split == 'all' else (self.split,))
            for stem, path in images_by_stem(self.root / split).items()}
        return list(self.images)

    def read(self, sample_id: str) -> Sample:
        """Read an image and its labels."""
        split, stem = sample_id.split('/')
        image = read_image(self.images[sample_id])
        labels = read_labels(
            self.root / f'{split}annot' / f'{stem}.png', image.shape[:2], LABELS)
        return Sample(id=sample_id, image=image, labels=labels)


class CamVidFull(DenseDataset):
    """
    CamVid at full size, 960x720, with labels in its own 31 classes or grouped into 11.

    Ids are the images' names. A split is the list of names in a file `{split}.txt` in the root;
    without such a file, SegNet's splits apply: 367, 101 and 233 frames. Colours of no class are
    void, as is the 32nd class, Void. A `label_colors.txt` in the root must contain the colours of
    the label space `camvid32`.

    :param classes: 32 or 11.
    :raises ValueError: for another number of classes, or other colours.
    """

    splits = ('train', 'val', 'test')
    label_space = 'camvid32'
    layout = f'{IMAGES}/NAME.(png|jpg), {ANNOTATIONS}/NAME_L.png and perhaps {{split}}.txt'

    def __init__(self, root: str | Path, split: str = 'all', classes: int = 32):
        if classes not in (11, 32):
            raise ValueError(f'CamVid has 11 or 32 classes, got {classes}')
        self.space = LabelSpace.load('camvid32')
        self.table = np.arange(256, dtype=np.uint8)
        if classes == 11:
            self.label_space, self.table = 'camvid11', grouping()
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the split's file, or by name."""
        self.images = images_by_stem(self.root / IMAGES)
        colors = self.root / 'label_colors.txt'
        if colors.is_file():
            check_colors(colors, self.space)
        if self.split == 'all':
            return list(self.images)
        path = self.root / f'{self.split}.txt'
        if not path.is_file():
            return [name for name in self.images if customary_split(name) == self.split]
        return read_list(path, self.split, 'the names', self.images)

    def read(self, sample_id: str) -> Sample:
        """Read an image and its labels."""
        image = read_image(self.images[sample_id])
        labels = read_color_labels(
            self.root / ANNOTATIONS / f'{sample_id}_L.png', image.shape[:2], self.space)
        return Sample(id=sample_id, image=image, labels=self.table[labels])


def grouping() -> np.ndarray:
    """Return the table from the ids of `camvid32` to those of `camvid11`: uint8 (256,)."""
    fine, coarse = LabelSpace.load('camvid32'), LabelSpace.load('camvid11')
    table = np.full(256, coarse.void, np.uint8)
    for group, members in GROUPS.items():
        table[[fine.index(name) for name in members]] = coarse.index(group)
    return table


def customary_split(name: str) -> str:
    """
    Return the one of SegNet's splits that a frame belongs to.

    :param name: `drive_number`, the number optionally after an f.
    :raises ValueError: if the name has another form.
    """
    drive, _, number = name.partition('_')
    if not number.lstrip('f').isdecimal():
        raise ValueError(f'image {name}: expected a name such as 0016E5_07959')
    frame = int(number.lstrip('f'))
    if drive == VAL_DRIVE and VAL_FRAMES[0] <= frame <= VAL_FRAMES[1]:
        return 'val'
    late = drive == '0001TP' and frame > LAST_TRAINING_DUSK
    return 'test' if late or drive == 'Seq05VD' else 'train'


def check_colors(path: Path, space: LabelSpace) -> None:
    """
    Compare a file of lines `red green blue name` with a label space.

    :raises ValueError: naming the first line that disagrees.
    """
    known = {'Void': '0 0 0'}
    for name, color in zip(space.names, space.colors):
        known[name] = ' '.join(map(str, color))
    for line in path.read_text().splitlines():
        *color, name = line.split() or ('0', '0', '0', 'Void')
        if known.get(name) != ' '.join(color):
            raise ValueError(
                f'{path} has the line {line!r}, expected the names and colours of '
                f'the label space {space.name}')
