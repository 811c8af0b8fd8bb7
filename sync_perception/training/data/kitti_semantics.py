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
KITTI's semantics benchmark: street scenes in the Cityscapes classes.

Source: Alhaija et al., "Augmented Reality Meets Computer Vision", IJCV 2018.
"""

from __future__ import annotations

from pathlib import Path

from sync_perception.images import read_image
from sync_perception.kitti import read_matrix
from sync_perception.training.data.cityscapes import TRAIN_IDS
from sync_perception.training.data.files import images_by_stem, read_labels, shifted
from sync_perception.training.data.sample import DenseDataset, Sample

HELD_OUT = 5
LABELLED = '_10'


class KittiSemantics(DenseDataset):
    """
    Images with dense labels; intrinsics where the stereo benchmark's calibration is unpacked.

    Ids are the images' names. Neighbours are there where the multi-view images of the scene flow
    benchmark lie beside them: `_09` and `_11` to each `_10`.

    `val` are the last five by name, `train` is the rest. Images that follow each other often show
    one street, so the cut must fall between two streets. Among the images 000018 to 000047 it
    does: 000043 to 000047 are five moments at one crossing, with different traffic, that 000042
    and those before do not show. A score on them is one crossing's.
    """

    splits = ('train', 'val')
    label_space = 'cityscapes19'
    layout = (
        'training/image_2/{:06d}_10.(png|jpg), training/semantic/{:06d}_10.png and, for '
        'intrinsics, training/calib_cam_to_cam/{:06d}.txt')

    def list_ids(self) -> list[str]:
        """Return the ids by name."""
        self.images = images_by_stem(self.root / 'training' / 'image_2')
        ids = [stem for stem in self.images if stem.endswith(LABELLED)]
        return {'all': ids, 'train': ids[:-HELD_OUT], 'val': ids[-HELD_OUT:]}[self.split]

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
                folder / 'semantic' / f'{sample_id}.png', image.shape[:2], TRAIN_IDS))

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Find the photograph some frames later in the same scene."""
        scene, number = sample_id.split('_')
        return self.images.get(f'{scene}_{shifted(number, offset)}')
