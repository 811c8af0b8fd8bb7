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


"""Whole recordings for validation during training."""

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
    A data set for validation.

    :param dataset: a key of `sync_perception.datasets.DATASETS`.
    :param root: the data set's folder; environment variables are expanded. Not needed by
        `synthetic`.
    :param split: the data set's split.
    :param arguments: further arguments of the data set's class.
    :param samples: number of samples, spread evenly over the split; None for all.
    :param name: name in the log; by default the data set's.
    :param median_scaling: whether each depth map is scaled by its frame's median, also that of a
        metric model, for comparison with models of relative depth.
    :param video: whether temporal consistency is measured; used by `ablate` only.
    :raises ValueError: if the data set is unknown, or the number of samples is less than one.
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
        """Check the settings."""
        dataset_class(self.dataset)
        if self.samples is not None and self.samples < 1:
            raise ValueError(
                f'measured source {self.dataset}: expected at least 1 sample, got {self.samples}')
        self.name = self.name or self.dataset

    def load(self) -> DenseDataset:
        """
        Open the data set.

        :raises ValueError: if the split or an argument is unknown.
        :raises FileNotFoundError: if the folder does not contain the data set.
        """
        return open_dataset(self.dataset, self.root, self.split, self.arguments)


class Measurement:
    """
    Wrapper of a sample for a loader, so that Lightning does not move it to a device.

    :param sample: the sample; None for padding, if another process has one more.
    """

    def __init__(self, sample: Sample | None):
        self.sample = sample


class EvaluationSamples(Dataset):
    """
    Fixed selection of a source's samples.

    :param source: source of the samples.
    :param processes: the length is padded to a multiple of this with empty measurements, because
        processes with different numbers of batches would deadlock.
    """

    def __init__(self, source: EvaluationSource, processes: int = 1):
        self.source, self.data = source, source.load()
        count = min(source.samples or len(self.data), len(self.data))
        self.chosen = np.linspace(0, len(self.data), count, endpoint=False).astype(int)
        self.length = -(-count // processes) * processes

    def __len__(self) -> int:
        """Return the number of measurements, including empty ones."""
        return self.length

    def __getitem__(self, index: int) -> Measurement:
        """Read a sample."""
        if index >= len(self.chosen):
            return Measurement(None)
        return Measurement(self.data[int(self.chosen[index])])
