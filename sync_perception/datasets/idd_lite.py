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
Reader of IDD-lite: Indian roads, 320x227, in seven coarse classes.

Source: Mishra et al., "Semantic segmentation datasets for resource constrained training",
NCVPRIPG 2019; a subset of Varma et al., "IDD", WACV 2019.
"""

from __future__ import annotations

from sync_perception.datasets.files import identity_table, read_expert_labels, read_labels
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import images_by_stem, read_image

LABELS = identity_table(7)


class IddLite(DenseDataset):
    """
    IDD-lite with coarse labels, and an expert's finer labels where they exist.

    An expert's label is one of the Cityscapes classes that the coarse label comprises. There are
    no depth and no intrinsics. Ids: `split/sequence/N`.
    """

    splits = ('train', 'val')
    label_space = 'idd7'
    layout = (
        'leftImg8bit/{split}/{sequence}/N_image.(jpg|png), '
        'gtFine/{split}/{sequence}/N_label.png and, where there is an expert, '
        'expert_semantics/{split}/{sequence}/N_label.png')

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the splits, then by sequence and name."""
        self.images = {}
        for split in self.splits if self.split == 'all' else (self.split,):
            for folder in sorted(self.root.glob(f'leftImg8bit/{split}/*')):
                for stem, path in images_by_stem(folder, '_image').items():
                    self.images[f'{split}/{folder.name}/{stem}'] = path
        return list(self.images)

    def read(self, sample_id: str) -> Sample:
        """Read an image, its coarse labels and its expert labels."""
        image = read_image(self.images[sample_id])
        size = image.shape[:2]
        expert = self.root / 'expert_semantics' / f'{sample_id}_label.png'
        return Sample(
            id=sample_id, image=image,
            labels=read_labels(self.root / 'gtFine' / f'{sample_id}_label.png', size, LABELS),
            expert_labels=read_expert_labels(expert, size) if expert.is_file() else None)
