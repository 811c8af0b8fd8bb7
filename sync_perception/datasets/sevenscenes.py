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


"""Reader of RGB-D sequences with poses in the layout of 7-Scenes."""

from __future__ import annotations

from pathlib import Path
import re

import numpy as np
from sync_perception.datasets.files import read_list, shifted
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.files.poses import read_pose
from sync_perception.images.reading import read_image
from sync_perception.images.seven_scenes import scene_depth, scene_images, SEVEN_SCENES_K

SPLIT_FILES = {'train': 'TrainSplit.txt', 'test': 'TestSplit.txt'}


class SevenScenes(DenseDataset):
    """
    Frames of hand-held Kinect sequences with depth and camera-to-world poses; no labels.

    Depth is the raw sensor depth, not registered to the colour image: it is some pixels off along
    edges. Ids: `sequence/frame-NNNNNN`, or `frame-NNNNNN` if the root is a sequence.

    :param root: a scene with sequences `seq-NN`, or one sequence.
    """

    splits = tuple(SPLIT_FILES)
    label_space = None
    layout = (
        'seq-NN/frame-NNNNNN.{color.(png|jpg),depth.png,pose.txt}, or the frames themselves, and '
        'for a split TrainSplit.txt or TestSplit.txt')

    def list_ids(self) -> list[str]:
        """Return the ids by sequence and frame."""
        self.images = {}
        for folder in self.sequences():
            for stem, path in scene_images(folder).items():
                self.images[(folder.relative_to(self.root) / stem).as_posix()] = path
        return list(self.images)

    def sequences(self) -> list[Path]:
        """Return the folders of the split's sequences."""
        if self.split == 'all':
            return [self.root, *sorted(self.root.glob('seq-*'))]
        path = self.root / SPLIT_FILES[self.split]
        lines = read_list(path, self.split, 'the sequences, such as sequence1,')
        numbers = [re.fullmatch(r'(?:sequence|seq-)?(\d+)', line) for line in lines]
        if None in numbers:
            raise ValueError(
                f'{path} lists {lines[numbers.index(None)]!r}, expected sequences such as '
                'sequence1')
        return [self.root / f'seq-{int(number[1]):02}' for number in numbers]

    def read(self, sample_id: str) -> Sample:
        """Read an image with its depth, if its file exists."""
        image = read_image(self.images[sample_id])
        return Sample(
            id=sample_id, image=image, depth=scene_depth(self.root, sample_id, image.shape[:2]),
            K=SEVEN_SCENES_K.copy())

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the image `offset` frames later in the same sequence."""
        return self.images.get(later_sevenscenes(sample_id, offset))

    def pose(self, sample_id: str, offset: int = 0) -> np.ndarray | None:
        """
        Return the camera's pose: world_T_camera, float64 (4, 4), metres.

        :return: None if the frame has no pose file.
        :raises ValueError: if the file does not contain a rigid transform.
        """
        path = self.root / f'{later_sevenscenes(sample_id, offset)}.pose.txt'
        return read_pose(path) if path.is_file() else None


def later_sevenscenes(sample_id: str, offset: int) -> str:
    """Return the id of the frame `offset` frames later in the same sequence."""
    start, number = sample_id.rsplit('-', 1)
    return f'{start}-{shifted(number, offset)}'
