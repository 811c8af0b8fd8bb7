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
Reader of Cityscapes: streets of 50 cities, 2048x1024, with fine labels and stereo disparity.

Every labelled image is the 20th of a sequence of 30, taken at 17 Hz.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR
2016, and the label table of its scripts.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sync_perception.datasets.files import identity_table, read_labels, shifted
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.geometry import pinhole
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.images.single_channel import read_gray
from sync_perception.labels import VOID

EVALUATED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
LAST_ID = 33
DISPARITY_UNITS = 256
BEFORE, AFTER = 19, 10
"""Frames of a sequence before and after the labelled one."""


def train_id_table() -> np.ndarray:
    """Return the table from label ids to train ids: int16 (256,), -1 for ids without label."""
    table = identity_table(0, void=range(LAST_ID + 1))
    table[list(EVALUATED_IDS)] = np.arange(len(EVALUATED_IDS))
    return table


TRAIN_IDS = train_id_table()


def wrong_label_ids(present: np.ndarray) -> str:
    """
    Return a warning if the values of a label file look like train ids, else ''.

    Train ids end at 18, and most files contain void, 255, or sky, 10. A file with label ids only
    in that range would show a street without plants, sky, signs, people and cars; 255 is not a
    label id, and 10 is rail track.

    :param present: the values in the file.
    """
    ids = present[present != VOID]
    if ids.size and ids.max() < len(EVALUATED_IDS) and {VOID, 10} & set(present.tolist()):
        return (
            f'holds the values {present.tolist()}, which are train ids (0 to 18, void 255); '
            'expected label ids (0 to 33), as in *_labelIds.png')
    return ''


def read_camera(path: Path) -> tuple[np.ndarray, float]:
    """
    Read a camera file.

    :param path: a file of `camera/`.
    :return: intrinsics float64 (3, 3) in pixels, and the stereo baseline in metres.
    :raises ValueError: if it is not JSON or an entry is missing.
    """
    try:
        camera = json.loads(path.read_text())
        fx, fy, u0, v0 = (float(camera['intrinsic'][name]) for name in ('fx', 'fy', 'u0', 'v0'))
        baseline = float(camera['extrinsic']['baseline'])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: {error!r}, expected JSON with intrinsic fx, fy, u0, v0 and extrinsic '
            'baseline') from error
    return pinhole(fx, fy, u0, v0), baseline


def disparity_to_depth(stored: np.ndarray, focal: float, baseline: float) -> np.ndarray:
    """
    Convert stored disparity to depth: d = (p - 1) / 256 pixels for p > 0, depth = b f / d.

    :param stored: uint16 (H, W), 0 invalid.
    :param focal: focal length fx in pixels.
    :param baseline: metres.
    :return: float32 (H, W), metres, NaN where disparity is missing or zero.
    """
    disparity = (stored.astype(np.float32) - 1) / DISPARITY_UNITS
    disparity[stored <= 1] = np.nan
    return np.float32(focal * baseline) / disparity


class Cityscapes(DenseDataset):
    """
    Cityscapes with fine labels; with intrinsics and depth if `camera` and `disparity` exist.

    Each of `gtFine`, `camera` and `disparity` that exists for a split must be complete. Neighbours
    exist if `leftImg8bit_sequence` is unpacked. Ids: `split/city/{city}_{seq}_{frame}`.
    """

    splits = ('train', 'val', 'test')
    label_space = 'cityscapes19'
    layout = (
        'leftImg8bit/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.(png|jpg) and '
        'gtFine/{split}/{city}/{city}_{seq}_{frame}_gtFine_labelIds.png')

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the splits, then by city and name."""
        self.images = self.photographs('leftImg8bit')
        self.sequences = self.photographs('leftImg8bit_sequence')
        return list(self.images)

    def photographs(self, kind: str) -> dict[str, Path]:
        """Return the split's images in a folder of the root by id."""
        return {
            f'{split}/{folder.name}/{stem}': path
            for split in (self.splits if self.split == 'all' else (self.split,))
            for folder in sorted(self.root.glob(f'{kind}/{split}/*'))
            for stem, path in images_by_stem(folder, '_leftImg8bit').items()}

    def read(self, sample_id: str) -> Sample:
        """Read an image with its annotations."""
        image = read_image(self.images[sample_id])
        size = image.shape[:2]
        labels = self.annotation('gtFine', sample_id, 'gtFine_labelIds.png')
        K, baseline = self.camera(sample_id)
        return Sample(
            id=sample_id, image=image, K=K,
            depth=self.depth('disparity', sample_id, size, K, baseline),
            labels=None if labels is None else read_labels(
                labels, size, TRAIN_IDS, wrong_label_ids))

    def camera(self, sample_id: str) -> tuple[np.ndarray | None, float | None]:
        """Return the intrinsics and the stereo baseline, or None for both."""
        path = self.annotation('camera', sample_id, 'camera.json')
        return (None, None) if path is None else read_camera(path)

    def depth(
            self, kind: str, sample_id: str, size: tuple[int, int], K: np.ndarray | None,
            baseline: float | None) -> np.ndarray | None:
        """Read the depth from stereo, float32 (H, W), metres; None without camera or disparity."""
        path = self.annotation(kind, sample_id, 'disparity.png')
        if K is None or path is None:
            return None
        stored = read_gray(path, np.uint16, size, 'disparity x 256 + 1')
        return disparity_to_depth(stored, K[0, 0], baseline)

    def annotation(self, kind: str, sample_id: str, ending: str) -> Path | None:
        """Return an annotation's file, or None if its kind is not unpacked for the split."""
        folder = self.root / kind / sample_id.split('/')[0]
        if not folder.is_dir():
            return None
        path = self.root / kind / f'{sample_id}_{ending}'
        if not path.is_file():
            raise FileNotFoundError(f'no file {path}, although {folder} is there')
        return path

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the image `offset` frames later in the same sequence."""
        moved = later_cityscapes(sample_id, offset)
        return self.sequences.get(moved, self.images.get(moved))

    def partner_file(self, sample_id: str) -> Path | None:
        """Return the right camera's image, if `rightImg8bit` is unpacked."""
        kind = self.images[sample_id].relative_to(self.root).parts[0].replace('left', 'right')
        path = self.root / kind / f'{sample_id}_rightImg8bit{self.images[sample_id].suffix}'
        return path if path.is_file() else None

    def partner_pose(self, sample_id: str) -> np.ndarray | None:
        """Return right_T_left, metres; None without `camera` or the right image."""
        baseline = self.camera(sample_id)[1]
        if baseline is None or self.partner_file(sample_id) is None:
            return None
        pose = np.eye(4)
        pose[0, 3] = -baseline
        return pose

    def partner_image(self, sample_id: str) -> np.ndarray:
        """Read the right camera's image."""
        path = self.partner_file(sample_id)
        return super().partner_image(sample_id) if path is None else read_image(path)


class CityscapesSequence(Cityscapes):
    """
    All frames of the 30-frame sequences, of which the 20th has fine labels.

    Other frames have no labels. Intrinsics are those of the sequence's labelled frame, if `camera`
    is unpacked. Depth requires a complete `disparity_sequence`. Ids:
    `split/city/{city}_{seq}_{frame}`.
    """

    layout = 'leftImg8bit_sequence/{split}/{city}/{city}_{seq}_{frame}_leftImg8bit.(png|jpg)'

    def list_ids(self) -> list[str]:
        """Return the ids in the order of the splits, then by city and name."""
        self.images = self.sequences = self.photographs('leftImg8bit_sequence')
        return list(self.images)

    def read(self, sample_id: str) -> Sample:
        """Read a frame with its annotations."""
        image = read_image(self.images[sample_id])
        size = image.shape[:2]
        labels = self.root / 'gtFine' / f'{sample_id}_gtFine_labelIds.png'
        K, baseline = self.camera(sample_id)
        return Sample(
            id=sample_id, image=image, K=K,
            depth=self.depth('disparity_sequence', sample_id, size, K, baseline),
            labels=read_labels(
                labels, size, TRAIN_IDS, wrong_label_ids) if labels.is_file() else None)

    def camera(self, sample_id: str) -> tuple[np.ndarray | None, float | None]:
        """Return the intrinsics and the baseline of the sequence, or None for both."""
        for offset in range(-AFTER, BEFORE + 1):
            path = self.root / 'camera' / f'{later_cityscapes(sample_id, offset)}_camera.json'
            if path.is_file():
                return read_camera(path)
        return None, None


def later_cityscapes(sample_id: str, offset: int) -> str:
    """Return the id of the frame `offset` frames later in the same sequence."""
    start, number = sample_id.rsplit('_', 1)
    return f'{start}_{shifted(number, offset)}'
