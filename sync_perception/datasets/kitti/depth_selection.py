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
Reader of KITTI's depth selection: cropped frames with LiDAR depth and intrinsics.

Source: Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017 (`val_selection_cropped`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import re

from sync_perception.datasets.files import read_confidence, read_expert_labels, read_intrinsics
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.images.single_channel import read_depth

UNITS_PER_METRE = 256
FOLDER = 'val_selection_cropped'
NAME = re.compile(r'(?P<scene>.+)_image_(?P<frame>\d+_image_\d+)')
DDAD, KITTI = 'ddad', 'kitti'
HELD_OUT = 5


class KittiDepthSelection(DenseDataset):
    """
    Images with intrinsics and sparse depth, in the layout of KITTI's depth selection.

    Ids are the images' names. Names with the prefix `ddad` are DDAD frames in the same layout. The
    splits are `kitti` and `ddad` by camera car; `val`, the last five KITTI frames by name; and
    `train`, all others. In the available data these five frames (object_train 000031, 000038,
    000114, 000134, 007347) show streets that no other frame shows.

    DDAD's side cameras see their car's bonnet, which has no depth. About a hundred of a frame's
    ten thousand laser points, of the ground behind it, fall on its edge; and experts label it
    road.

    Only names with the prefix `kitti` are evaluated within Garg's crop.

    :param root: the folder `val_selection_cropped`, or its parent.
    :param exclude: ids to omit, such as frames of streets in another data set's validation set.
    :raises ValueError: if an excluded id does not exist.
    """

    splits = ('train', 'val', 'kitti', 'ddad')
    label_space = None
    layout = (
        'val_selection_cropped/image/{scene}_image_{frame}_image_{camera}.(png|jpg), '
        'groundtruth_depth/{scene}_groundtruth_depth_{frame}_image_{camera}.png and '
        'intrinsics/{scene}_image_{frame}_image_{camera}.txt')

    def __init__(self, root: str | Path, split: str = 'all', exclude: Sequence[str] = ()):
        self.exclude = frozenset(exclude)
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the ids by name."""
        nested = self.root / FOLDER
        self.folder: Path = nested if nested.is_dir() else self.root
        images = images_by_stem(self.folder / 'image')
        self.images = {stem: path for stem, path in images.items() if NAME.fullmatch(stem)}
        missing = sorted(self.exclude.difference(self.images))
        if missing:
            raise ValueError(f'{self.folder} has no image {missing[0]!r} to exclude')
        self.images = {
            stem: path for stem, path in self.images.items() if stem not in self.exclude}
        ddad = [stem for stem in self.images if stem.startswith(DDAD)]
        kitti = [stem for stem in self.images if not stem.startswith(DDAD)]
        return {
            'all': list(self.images),
            'train': [stem for stem in self.images if stem not in kitti[-HELD_OUT:]],
            'val': kitti[-HELD_OUT:],
            'kitti': kitti,
            'ddad': ddad,
        }[self.split]

    def read(self, sample_id: str) -> Sample:
        """Read an image with its intrinsics, depth and expert labels."""
        image = read_image(self.images[sample_id])
        size = image.shape[:2]
        depth_stem = NAME.fullmatch(sample_id).expand(
            r'\g<scene>_groundtruth_depth_\g<frame>')
        labels, confidence = (
            self.folder / folder / f'{sample_id}.png'
            for folder in ('expert_semantics', 'expert_confidence'))
        return Sample(
            id=sample_id, image=image,
            K=read_intrinsics(self.folder / 'intrinsics' / f'{sample_id}.txt'),
            depth=read_depth(
                self.folder / 'groundtruth_depth' / f'{depth_stem}.png', size, UNITS_PER_METRE),
            expert_labels=read_expert_labels(labels, size) if labels.is_file() else None,
            expert_confidence=read_confidence(confidence, size)
            if confidence.is_file() else None)

    def crop(self, sample_id: str) -> str | None:
        """Return Garg's crop for KITTI's frames, None for others."""
        return 'garg' if sample_id.startswith(KITTI) else None
