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


"""Data sets of which only some samples show their labels, as if the others had none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sync_perception.datasets.derived.selection_files import read_selection
from sync_perception.datasets.sample import DenseDataset, kept, Sample


@dataclass
class Labelled:
    """
    Which samples show their labels.

    :param file: a selection file of `sync_perception select`; environment variables are expanded.
    :param budget: how many of its samples, from its first on; None for all.
    """

    file: str  # noqa: A003 (its name in recipes)
    budget: int | None = None

    def ids(self) -> list[str]:
        """
        Return their ids.

        :raises FileNotFoundError: if there is no such file.
        :raises ValueError: if it is no selection file, or has fewer samples.
        """
        return read_selection(self.file, self.budget)


class PartlyLabelled:
    """
    A data set of which only some samples show their labels; in all else it is that data set.

    An expert's labels are hidden, too: some experts were told the truth. Image, intrinsics, depth,
    normals, neighbours and poses stay.

    :param base: the data set.
    :param shown: ids of samples that keep their labels.
    :raises ValueError: if one of them is none of the data set's.
    """

    def __init__(self, base: DenseDataset, shown: Collection[str]):
        self.base = base
        self.shown = frozenset(kept(base.ids, list(shown), type(base).__name__))

    def __getattr__(self, name: str) -> Any:
        """Ask the data set for all that is not here."""
        if name == 'base':  # not there yet, while a copy is made
            raise AttributeError(name)
        return getattr(self.base, name)

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample at a position."""
        return self.seen(self.base[index])

    def read(self, sample_id: str) -> Sample:
        """Read a sample."""
        return self.seen(self.base.read(sample_id))

    def seen(self, sample: Sample) -> Sample:
        """Return a sample without its labels, unless they are shown."""
        return sample if sample.id in self.shown else replace(
            sample, labels=None, expert_labels=None, expert_confidence=None, expert_classes=None,
            expert_probabilities=None)
