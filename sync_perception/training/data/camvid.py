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
CamVid: 701 labelled frames of four drives through Cambridge.

Source: Brostow et al., "Semantic object classes in video", PRL 2009; the 11 classes and the
480x360 copies are those of Badrinarayanan et al., "SegNet", PAMI 2017.
"""

from __future__ import annotations

from sync_perception.images import read_image
from sync_perception.training.data.files import identity_table, images_by_stem, read_labels
from sync_perception.training.data.sample import DenseDataset, Sample

LABELS = identity_table(11, void=(11,))


class CamVid(DenseDataset):
    """
    Images with dense labels in 11 classes; neither depth nor intrinsics. Ids: `split/NAME`.

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
