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

"""Batches from several data sets with unlike annotations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import os
from typing import Any

import lightning
import numpy as np
from sync_perception.training.data import DATASETS
from sync_perception.training.data.sample import DenseDataset, Sample
from sync_perception.training.transforms import random_view, training_arrays
from torch.utils.data import DataLoader, Dataset


@dataclass
class Source:
    """
    One data set's part in a mixture.

    :param dataset: a key of `sync_perception.training.data.DATASETS`.
    :param root: its folder; environment variables are expanded.
    :param share: how often its samples are drawn, relative to the other sources.
    :param scale: least and greatest size of the resized image over the recording's.
    :param focal: instead of `scale`, least and greatest focal length of the resized image in
        pixels, for data sets of several calibrated cameras.
    :param split: the data set's split.
    :raises ValueError: unless exactly one of `scale` and `focal` is given.
    """

    dataset: str
    root: str
    share: float
    scale: tuple[float, float] | None = None
    focal: tuple[float, float] | None = None
    split: str = 'train'

    def __post_init__(self):
        """Refuse a source whose crops have no size."""
        if (self.scale is None) == (self.focal is None):
            raise ValueError(
                f'source {self.dataset}: expected either scale or focal, got '
                f'scale={self.scale}, focal={self.focal}')

    def scale_range(self, sample: Sample) -> tuple[float, float]:
        """
        Return the least and greatest scale of a sample.

        :raises ValueError: if the scale depends on a focal length that the sample lacks.
        """
        if self.scale is not None:
            return self.scale
        if sample.K is None:
            raise ValueError(
                f'source {self.dataset}: {sample.id} has no intrinsics, give a scale, not a focal')
        return self.focal[0] / sample.K[0, 0], self.focal[1] / sample.K[0, 0]

    def load(self) -> DenseDataset:
        """
        List the data set's files.

        :raises ValueError: if there is no such data set or split.
        :raises FileNotFoundError: if the folder does not hold it.
        """
        if self.dataset not in DATASETS:
            raise ValueError(
                f'no data set {self.dataset!r}, there are: {", ".join(sorted(DATASETS))}')
        return DATASETS[self.dataset](os.path.expandvars(self.root), split=self.split)


class Mixture(Dataset):
    """
    A fixed sequence of random crops out of several sources, the same for the same seed.

    A source's samples are drawn without replacement until all of them were seen.

    :param sources: what to draw from.
    :param length: how many crops.
    :param crop: height and width of the crops.
    :param stride: targets are given at every stride-th pixel.
    :param seed: of the order and of the views.
    """

    def __init__(
            self, sources: list[Source], length: int, crop: tuple[int, int], stride: int,
            seed: int = 0):
        self.sources = sources
        self.datasets = [source.load() for source in sources]
        self.crop, self.stride, self.seed = crop, stride, seed
        shares = np.array([source.share for source in sources], float)
        rng = np.random.default_rng((seed, 0))
        self.source_of = rng.choice(len(sources), length, p=shares / shares.sum())
        self.turn_of = np.zeros(length, int)
        for index in range(len(sources)):
            drawn = self.source_of == index
            self.turn_of[drawn] = np.arange(drawn.sum())

    def __len__(self) -> int:
        """Count the crops."""
        return len(self.source_of)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return the crop at a position, as `training_arrays` gives it, with id and space."""
        index = int(self.source_of[position])
        source, dataset = self.sources[index], self.datasets[index]
        round_, place = divmod(int(self.turn_of[position]), len(dataset))
        sample = dataset[int(self._order(index, round_)[place])]
        rng = np.random.default_rng((self.seed, 2, position))
        scales = source.scale_range(sample)
        view = random_view(rng, sample.image.shape[:2], self.crop, scales)
        arrays = training_arrays(sample, view, self.stride)
        return {
            **arrays, 'id': f'{source.dataset}:{sample.id}', 'space': dataset.label_space or ''}

    @lru_cache(maxsize=64)  # noqa: B019 (a mixture lives as long as its training)
    def _order(self, index: int, round_: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 1, index, round_))
        return rng.permutation(len(self.datasets[index]))


class MixtureData(lightning.LightningDataModule):
    """
    Feeds a mixture to the trainer.

    :param sources: what to draw from.
    :param samples: crops of the whole training: an epoch is all of it.
    :param batch_size: crops in a batch.
    :param crop: height and width of the crops, multiples of 32.
    :param stride: the network's output stride, at which the targets are given.
    :param workers: processes that read and cut.
    :param seed: of the order and of the views.
    """

    def __init__(
            self, sources: list[Source], samples: int, batch_size: int = 8,
            crop: tuple[int, int] = (256, 416), stride: int = 2, workers: int = 1, seed: int = 0):
        super().__init__()
        self.sources, self.samples, self.batch_size = sources, samples, batch_size
        self.crop, self.stride, self.workers, self.seed = tuple(crop), stride, workers, seed

    def train_dataloader(self) -> DataLoader:
        """Return the batches in the mixture's order."""
        mixture = Mixture(self.sources, self.samples, self.crop, self.stride, self.seed)
        return DataLoader(
            mixture, self.batch_size, num_workers=self.workers, drop_last=True,
            persistent_workers=self.workers > 0)
