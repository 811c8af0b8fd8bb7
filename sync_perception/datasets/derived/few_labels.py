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


"""Data sets with the labels of most samples hidden, for semi-supervised training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sync_perception.datasets.derived.selection_files import read_selection
from sync_perception.datasets.sample import DenseDataset, kept, Sample


@dataclass
class Labelled:
    """
    Selection of the samples that keep their labels.

    :param file: a selection file of `sync_perception select`; environment variables are expanded.
    :param budget: number of samples, from the first of the file; None for all.
    """

    file: str  # noqa: A003 (its name in recipes)
    budget: int | None = None

    def ids(self) -> list[str]:
        """
        Return the ids of these samples.

        :raises FileNotFoundError: if there is no such file.
        :raises ValueError: if it is no selection file, or has fewer samples.
        """
        return read_selection(self.file, self.budget)


class PartlyLabelled:
    """
    Wrapper of a data set that hides the labels of all but some samples.

    Expert labels are hidden, too, as some experts used the true labels. Image, intrinsics, depth,
    normals, neighbours and poses are kept.

    :param base: the data set.
    :param shown: ids of samples that keep their labels.
    :raises ValueError: if an id is not in the data set.
    """

    def __init__(self, base: DenseDataset, shown: Collection[str]):
        self.base = base
        self.shown = frozenset(kept(base.ids, list(shown), type(base).__name__))

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped data set."""
        if name == 'base':  # not yet set while the object is copied
            raise AttributeError(name)
        return getattr(self.base, name)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample at a position."""
        return self.seen(self.base[index])

    def read(self, sample_id: str) -> Sample:
        """Read a sample."""
        return self.seen(self.base.read(sample_id))

    def seen(self, sample: Sample) -> Sample:
        """Return a sample without its labels, unless it keeps them."""
        return sample if sample.id in self.shown else replace(
            sample, labels=None, expert_labels=None, expert_confidence=None, expert_classes=None,
            expert_probabilities=None)
