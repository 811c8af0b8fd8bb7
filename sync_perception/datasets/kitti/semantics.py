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
Reader of KITTI's semantics benchmark: street scenes in the Cityscapes classes.

Source: Alhaija et al., "Augmented Reality Meets Computer Vision", IJCV 2018.
"""

from __future__ import annotations

from pathlib import Path

from sync_perception.datasets.cityscapes import TRAIN_IDS, wrong_label_ids
from sync_perception.datasets.files import read_labels, read_list, shifted
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.kitti.drive import read_matrix

HELD_OUT = tuple(f'{number:06}_10' for number in (*range(18, 22), *range(43, 48)))
LABELLED = '_10'


class KittiSemantics(DenseDataset):
    """
    Images with dense labels; intrinsics require the stereo benchmark's calibration.

    Ids are the images' names. Neighbours, `_09` and `_11` of each `_10`, require the scene flow
    benchmark's multi-view images in the same folder.

    The benchmark has no validation set of its own. A split is the list of ids in a file
    `{split}.txt` in the root; without such a file, `val` contains 000018 to 000021 and 000043 to
    000047, and `train` all others. Consecutive images often show one street; of the images 000018
    to 000047, each of these two groups shows a street (a green one with fences, and a crossing)
    that no other image shows.
    """

    splits = ('train', 'val')
    label_space = 'cityscapes19'
    layout = (
        'training/image_2/{:06d}_10.(png|jpg), training/semantic/{:06d}_10.png; for intrinsics, '
        'training/calib_cam_to_cam/{:06d}.txt; and perhaps {split}.txt')

    def list_ids(self) -> list[str]:
        """Return the ids by name."""
        self.images = images_by_stem(self.root / 'training' / 'image_2')
        ids = [stem for stem in self.images if stem.endswith(LABELLED)]
        if self.split == 'all':
            return ids
        path = self.root / f'{self.split}.txt'
        if path.is_file():
            return read_list(path, self.split, 'the ids', ids)
        return [name for name in ids if (name in HELD_OUT) == (self.split == 'val')]

    def read(self, sample_id: str) -> Sample:
        """Read an image, its labels and its intrinsics."""
        image = read_image(self.images[sample_id])
        folder = self.root / 'training'
        calibration = folder / 'calib_cam_to_cam' / f'{sample_id.split("_")[0]}.txt'
        K = None
        if calibration.is_file():
            K = read_matrix(calibration, 'P_rect_02', (3, 4))[:, :3]
        return Sample(
            id=sample_id, image=image, K=K,
            labels=read_labels(
                folder / 'semantic' / f'{sample_id}.png', image.shape[:2], TRAIN_IDS,
                wrong_label_ids))

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the image `offset` frames later in the same scene."""
        scene, number = sample_id.split('_')
        return self.images.get(f'{scene}_{shifted(number, offset)}')
