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

"""The one contract that every data set keeps: what is known about an image, and what is not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Sample:
    """
    One image with its annotations, at the size of the recording. What is missing is None.

    :param id: names the sample within its data set, for messages and split files.
    :param image: uint8 (H, W, 3), RGB.
    :param K: float64 (3, 3), intrinsics in pixels of this image.
    :param depth: float32 (H, W), metres along z, NaN where unknown, inf where known to be sky.
    :param labels: uint8 (H, W), ids of the data set's label space, 255 void.
    :param expert_labels: uint8 (H, W), an expert network's labels (Cityscapes train ids, the
        space `cityscapes19`), 255 where it is not sure.
    :param expert_confidence: float32 (H, W) in [0, 1], probability of the expert's label.
    :param normals: float32 (H, W, 3), unit normals in the optical frame, NaN where unknown.
    """

    id: str  # noqa: A003
    image: np.ndarray
    K: np.ndarray | None = None
    depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    expert_labels: np.ndarray | None = None
    expert_confidence: np.ndarray | None = None
    normals: np.ndarray | None = None


class DenseDataset(ABC):
    """
    A folder of recordings in the layout in which the data set is distributed.

    Usable as a map-style torch data set. The constructor only lists files; a sample is read when
    it is asked for.

    :param root: the data set's folder.
    :param split: one of `splits`, or `all`.
    :raises FileNotFoundError: if the folder holds no recording of this layout.
    :raises ValueError: if the split does not exist; the message lists those that do.
    """

    splits: ClassVar[tuple[str, ...]]
    label_space: ClassVar[str | None]

    def __init__(self, root: str | Path, split: str = 'all'):
        self.root = Path(root)
        self.split = split
        if split != 'all' and split not in self.splits:
            raise ValueError(
                f'{type(self).__name__} has the splits {(*self.splits, "all")}, got {split!r}')
        if not self.root.is_dir():
            raise FileNotFoundError(f'{type(self).__name__}: no folder {self.root}')
        self.ids = self.list_ids()
        if not self.ids:
            raise FileNotFoundError(
                f'{type(self).__name__}: no recording of split {split!r} in {self.root}, '
                f'expected {self.layout}')

    layout: ClassVar[str]

    @abstractmethod
    def list_ids(self) -> list[str]:
        """Return the ids of the split's samples, in a stable order."""

    @abstractmethod
    def read(self, sample_id: str) -> Sample:
        """Read one sample from its files."""

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample at a position."""
        return self.read(self.ids[index])
