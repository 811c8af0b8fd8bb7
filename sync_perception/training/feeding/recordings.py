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


"""Whole recordings for the measurements during a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sync_perception.datasets import dataset_class, open_dataset
from sync_perception.datasets.sample import DenseDataset, Sample
from torch.utils.data import Dataset


@dataclass
class EvaluationSource:
    """
    A data set that the model is measured on while it is trained.

    :param dataset: a key of `sync_perception.datasets.DATASETS`.
    :param root: its folder; environment variables are expanded. Not needed by `synthetic`.
    :param split: the data set's split.
    :param arguments: further ones of the data set's class.
    :param samples: how many, spread evenly over the split; None for all.
    :param name: in the log; the data set's name by default.
    :param median_scaling: whether each depth map is scaled by its frame's median first, that of a
        model that gives metres, too: what only knows depth up to a factor is compared so.
    :param video: whether each frame is also compared with the one before it; `ablate` does, a
        training does not.
    :raises ValueError: if there is no such data set, or not a sample is asked for.
    """

    dataset: str
    root: str = ''
    split: str = 'val'
    arguments: dict[str, Any] | None = None
    samples: int | None = None
    name: str = ''
    median_scaling: bool = False
    video: bool = False

    def __post_init__(self):
        """Refuse what cannot be measured."""
        dataset_class(self.dataset)
        if self.samples is not None and self.samples < 1:
            raise ValueError(
                f'measured source {self.dataset}: expected at least 1 sample, got {self.samples}')
        self.name = self.name or self.dataset

    def load(self) -> DenseDataset:
        """
        List the data set's files.

        :raises ValueError: if there is no such split or argument.
        :raises FileNotFoundError: if the folder does not hold it.
        """
        return open_dataset(self.dataset, self.root, self.split, self.arguments)


class Measurement:
    """
    A sample as it passes through a loader: opaque, so that nothing takes it for tensors to move.

    :param sample: None where another process has one more to measure.
    """

    def __init__(self, sample: Sample | None):
        self.sample = sample


class EvaluationSamples(Dataset):
    """
    Samples of a source, as many as are asked for, in an order and choice that never changes.

    :param source: where they come from.
    :param processes: the length is made a multiple of this, with empty measurements at the end:
        processes that run different numbers of batches would wait for each other for ever.
    """

    def __init__(self, source: EvaluationSource, processes: int = 1):
        self.source, self.data = source, source.load()
        count = min(source.samples or len(self.data), len(self.data))
        self.chosen = np.linspace(0, len(self.data), count, endpoint=False).astype(int)
        self.length = -(-count // processes) * processes

    def __len__(self) -> int:
        """Count the measurements, with the empty ones."""
        return self.length

    def __getitem__(self, index: int) -> Measurement:
        """Read a sample."""
        if index >= len(self.chosen):
            return Measurement(None)
        return Measurement(self.data[int(self.chosen[index])])
