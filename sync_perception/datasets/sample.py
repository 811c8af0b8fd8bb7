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

"""Sample and base class of all data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from sync_perception.images.reading import read_image

NEIGHBOURS = (-1, 1)
MAX_CLASSES = 4
"""Maximum number of an expert's classes per pixel with probabilities."""
PROBABILITY_UNITS = 255
"""Stored units of a probability."""
READ_ERRORS = (ValueError, OSError)
"""Errors raised for a missing, broken or wrong file of a sample."""


@dataclass(frozen=True)
class Sample:
    """
    One image with its annotations, at the size of the recording. Missing annotations are None.

    :param id: name of the sample in its data set, for messages and split files.
    :param image: uint8 (H, W, 3), RGB.
    :param K: float64 (3, 3), intrinsics in pixels of this image.
    :param depth: float32 (H, W), metres along z, NaN where unknown, inf where known to be sky.
    :param labels: uint8 (H, W), ids of the data set's label space, 255 void.
    :param expert_labels: uint8 (H, W), an expert network's labels, ids of the data set's
        `expert_space`, 255 where it is uncertain.
    :param expert_confidence: float32 (H, W) in [0, 1], probability of the expert's label.
    :param expert_classes: uint8 (H, W, K), K up to MAX_CLASSES: the expert's most probable
        classes, the first of which is its label; 255 for none.
    :param expert_probabilities: uint8 (H, W, K), probabilities of these classes, in
        PROBABILITY_UNITS.
    :param normals: float32 (H, W, 3), unit normals in the optical frame, NaN where unknown.
    """

    id: str  # noqa: A003
    image: np.ndarray
    K: np.ndarray | None = None
    depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    expert_labels: np.ndarray | None = None
    expert_confidence: np.ndarray | None = None
    expert_classes: np.ndarray | None = None
    expert_probabilities: np.ndarray | None = None
    normals: np.ndarray | None = None


class DenseDataset(ABC):
    """
    Base class of data sets: a folder in the layout in which the data set is distributed.

    It is a map-style torch data set. The constructor only lists files; samples are read on access.

    Data sets of sequences also provide a sample's neighbours in time and its camera's pose.
    Offsets count the frames of the original recording: if only every 20th frame was kept, no frame
    has neighbours at -1 and 1.

    :param root: the data set's folder.
    :param split: one of `splits`, or `all`.
    :raises FileNotFoundError: if the folder contains no recording of this layout.
    :raises ValueError: if the split does not exist; the message lists the existing ones.
    """

    splits: ClassVar[tuple[str, ...]]
    label_space: ClassVar[str | None]
    layout: ClassVar[str]
    expert_space: ClassVar[str] = 'cityscapes19'
    """Label space of the expert labels, if there are any: a name or a file."""
    max_depth: ClassVar[float] = 80.0
    """Upper limit of the true depth that the data set's protocol evaluates, metres."""
    ordered: ClassVar[bool] = False
    """Whether samples are already in random order, and slow to read in any other."""

    def __init__(self, root: str | Path, split: str = 'all'):
        self.check_split(split)
        self.root, self.split = Path(root), split
        if not self.root.is_dir():
            raise FileNotFoundError(f'{type(self).__name__}: no folder {self.root}')
        self.ids = self.list_ids()
        if not self.ids:
            raise FileNotFoundError(
                f'{type(self).__name__}: no recording of split {split!r} in {self.root}, '
                f'expected {self.layout}')

    @classmethod
    def check_split(cls, split: str) -> None:
        """Raise ValueError unless the data set has this split."""
        if split != 'all' and split not in cls.splits:
            raise ValueError(
                f'{cls.__name__} has the splits {(*cls.splits, "all")}, got {split!r}')

    @abstractmethod
    def list_ids(self) -> list[str]:
        """Return the ids of the split's samples, in a stable order."""

    @abstractmethod
    def read(self, sample_id: str) -> Sample:
        """Read one sample from its files."""

    def keep(self, ids: Sequence[str]) -> None:
        """
        Keep only these samples, in the order of the data set.

        :param ids: ids of samples of the split.
        :raises ValueError: if one is not in the split.
        """
        self.ids = kept(self.ids, ids, type(self).__name__)
        self.__dict__.pop('samples_of_files', None)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample at a position."""
        return self.read(self.ids[index])

    def crop(self, sample_id: str) -> str | None:
        """
        Return the name of the crop in which the data set's protocol evaluates depth.

        :return: a key of `sync_perception.evaluation.metrics.CROPS`; None for the whole image.
        """
        return None

    def pose(self, sample_id: str, offset: int = 0) -> np.ndarray | None:
        """
        Return the camera's pose at a sample, or some frames later.

        :param offset: frames of the recording; negative ones are earlier.
        :return: world_T_camera, float64 (4, 4), metres, in a world that all frames of the
            recording share; None where it is not known.
        """
        return None

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """
        Return the same camera's image `offset` frames later in the recording.

        :param offset: frames of the recording; negative ones are earlier.
        :return: an existing file; None if there is none.
        """
        return None

    @cached_property
    def samples_of_files(self) -> dict[Path | None, str]:
        """Return the samples' ids by their image files."""
        return {self.neighbour_file(sample_id, 0): sample_id for sample_id in self.ids}

    def neighbour_id(self, sample_id: str, offset: int) -> str | None:
        """
        Return the id of the same camera's sample `offset` frames later in the recording.

        :param offset: frames of the recording; negative ones are earlier.
        :return: a readable id; None if there is no such frame or it is not a sample.
        """
        path = self.neighbour_file(sample_id, offset)
        return None if path is None else self.samples_of_files.get(path)

    def has_neighbours(self, sample_id: str, offsets: Sequence[int] = NEIGHBOURS) -> bool:
        """Return whether a sample has all of these neighbours, without reading them."""
        return all(self.neighbour_file(sample_id, offset) is not None for offset in offsets)

    def neighbours(
            self, sample_id: str, offsets: Sequence[int] = NEIGHBOURS
            ) -> list[np.ndarray | None]:
        """
        Read the images before and after a sample.

        :param offsets: frames of the recording; negative ones are earlier.
        :return: uint8 (H, W, 3) images, RGB, with the sample's size and intrinsics; None for each
            missing one.
        :raises ValueError: if a file is broken.
        """
        files = (self.neighbour_file(sample_id, offset) for offset in offsets)
        return [None if path is None else read_image(path) for path in files]

    def partner_pose(self, sample_id: str) -> np.ndarray | None:
        """
        Return the pose of the stereo partner of a sample's camera, without reading its image.

        :return: partner_T_camera, float64 (4, 4), metres, of two synchronous cameras with the same
            intrinsics; None if there is no partner image.
        """
        return None

    def partner_image(self, sample_id: str) -> np.ndarray:
        """
        Read the stereo partner's image, if `partner_pose` is not None: uint8 (H, W, 3), RGB.

        :raises ValueError: if there is none, or its file is broken.
        """
        raise ValueError(f'{sample_id} has no stereo partner')


def kept(ids: Sequence[str], chosen: Sequence[str], name: str) -> list[str]:
    """
    Return those ids that are chosen.

    :param name: name of the data set, for the message.
    :raises ValueError: if a chosen id does not exist.
    """
    wanted = set(chosen)
    missing = wanted.difference(ids)
    if missing:
        raise ValueError(f'{name} has no sample {min(missing)!r}, which is expected to be kept '
                         f'({len(missing)} of {len(wanted)} are missing)')
    return [sample_id for sample_id in ids if sample_id in wanted]
