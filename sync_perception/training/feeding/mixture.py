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

"""Mixtures of several data sets with different annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
import logging
import operator
from typing import Any, NamedTuple

import lightning
import numpy as np
from sync_perception.datasets import open_dataset
from sync_perception.datasets.derived.few_labels import Labelled, PartlyLabelled
from sync_perception.datasets.neighbours import (
    check_recordings,
    has_pose,
    Neighbour,
    neighbour_arrays,
    read_neighbours,
    STEREO,
)
from sync_perception.datasets.sample import DenseDataset, READ_ERRORS, Sample
from sync_perception.datasets.views import random_view, training_arrays
from sync_perception.files import checks
from sync_perception.training.feeding.recordings import EvaluationSamples, EvaluationSource
from sync_perception.training.feeding.sampler import ContinuedSampler, share_of
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

LOG = logging.getLogger(__name__)
MOST = 2 ** 30


@dataclass
class MixtureSource:
    """
    One data set in a mixture.

    :param dataset: a key of `sync_perception.datasets.DATASETS`.
    :param root: the data set's folder; environment variables are expanded. Not needed by
        `synthetic`.
    :param share: frequency of its samples relative to the other sources.
    :param scale: least and greatest size of the resized image relative to the recording's.
    :param focal: alternative to `scale`: least and greatest focal length of the resized image in
        pixels, for data sets of several calibrated cameras.
    :param split: the data set's split.
    :param arguments: further arguments of the data set's class: `{cameras: [0]}`, `{seed: 7}`.
    :param neighbours: whether samples include neighbours, if the mixture requests any.
    :param labels: whether samples include labels.
    :param labelled: samples that keep their labels: `{file: selection.json, budget: 25}`; None for
        all.
    :raises ValueError: unless exactly one of `scale` and `focal` is given, or if `labelled` is
        given without `labels`.
    """

    dataset: str
    root: str = ''
    share: float = 1.0
    scale: tuple[float, float] | None = None
    focal: tuple[float, float] | None = None
    split: str = 'train'
    arguments: dict[str, Any] | None = None
    neighbours: bool = True
    labels: bool = True
    labelled: Labelled | None = None

    def __post_init__(self):
        """Check that the settings are consistent."""
        if (self.scale is None) == (self.focal is None):
            raise ValueError(
                f'source {self.dataset}: expected either scale or focal, got '
                f'scale={self.scale}, focal={self.focal}')
        checks.number(0, MOST)(self.share, f'source {self.dataset}: share')
        for name in ('scale', 'focal'):
            checks.optional(checks.several(checks.number(1e-3, MOST), 2, order=operator.le))(
                getattr(self, name), f'source {self.dataset}: {name}')
        if self.labelled is not None and not self.labels:
            raise ValueError(
                f'source {self.dataset}: expected labels: true with labelled, got false')

    def scale_range(self, sample: Sample) -> tuple[float, float]:
        """
        Return the least and greatest scale for a sample.

        :raises ValueError: if the scale depends on a focal length that the sample lacks.
        """
        if self.scale is not None:
            return self.scale
        if sample.K is None:
            raise ValueError(
                f'source {self.dataset}: {sample.id} has no intrinsics: expected scale instead of '
                'focal')
        return self.focal[0] / sample.K[0, 0], self.focal[1] / sample.K[0, 0]

    def load(self) -> DenseDataset:
        """
        Open the data set.

        :raises ValueError: if the data set, split or an argument is unknown, or samples of
            `labelled` do not exist.
        :raises FileNotFoundError: if the folder does not contain the data set.
        """
        dataset = open_dataset(self.dataset, self.root, self.split, self.arguments)
        if self.labels and self.labelled is None:
            return dataset
        return PartlyLabelled(dataset, self.labelled.ids() if self.labelled else ())


def check_batches(
        sources: Sequence[MixtureSource], batch_size: int, crop: Sequence[int], stride: int,
        workers: int) -> None:
    """
    Check the settings of batches.

    :raises ValueError: naming the setting, what was expected and what was got.
    """
    if not sources:
        checks.refuse('data.sources', 'at least one', list(sources or ()))
    if not sum(source.share for source in sources) > 0:
        checks.refuse('data.sources', 'shares of which one is above 0', [s.share for s in sources])
    checks.whole(1, MOST)(batch_size, 'data.batch_size')
    checks.several(checks.whole(1, 2 ** 14), 2)(crop, 'data.crop')
    checks.whole(1, 2 ** 10)(stride, 'data.stride')
    if any(side % stride for side in crop):  # else targets of a batch differ in size
        checks.refuse('data.crop', f'sides divisible by data.stride, {stride}', tuple(crop))
    checks.whole(0, 2 ** 10)(workers, 'data.workers')


class Reading(NamedTuple):
    """A sample, and for each offset of its source a neighbour or None."""

    sample: Sample
    neighbours: list[Neighbour | None]


class Mixture(Dataset):
    """
    Reproducible sequence of random crops of several sources.

    A source's samples are drawn without replacement until all were drawn.

    :param sources: sources of the samples.
    :param length: number of crops.
    :param crop: height and width of the crops.
    :param stride: stride of the targets.
    :param seed: random seed of the order and of the views.
    :param skip_bad: whether an unreadable sample is logged, once, and replaced by the next one of
        its source; otherwise its error is raised.
    :param offsets: offsets of requested neighbours, in frames of the recording; 0 is the stereo
        partner.
    :raises ValueError: if the sources cannot provide the requested neighbours.
    """

    def __init__(
            self, sources: list[MixtureSource], length: int, crop: tuple[int, int], stride: int,
            seed: int = 0, skip_bad: bool = False, offsets: Sequence[int] = ()):
        self.sources, self.offsets = sources, tuple(offsets)
        self.datasets = [source.load() for source in sources]
        if self.offsets:
            check_recordings(self.recordings, self.offsets)
        self.crop, self.stride, self.seed, self.skip_bad = crop, stride, seed, skip_bad
        # shared memory: all workers skip bad samples, and the main process counts them
        self.bad = [torch.zeros(len(dataset) if skip_bad else 0, dtype=torch.bool).share_memory_()
                    for dataset in self.datasets]
        shares = np.array([source.share for source in sources], float)
        rng = np.random.default_rng((seed, 0))
        self.source_of = rng.choice(len(sources), length, p=shares / shares.sum())
        self.turn_of = np.zeros(length, int)
        for index in range(len(sources)):
            drawn = self.source_of == index
            self.turn_of[drawn] = np.arange(drawn.sum())

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.source_of)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """
        Return the crop at a position: the arrays of `training_arrays`, with id and label spaces.

        If neighbours are requested, those of `neighbour_arrays` are included.

        Positions from the length on belong to later epochs: the order of the sources is that of
        the first epoch, with their next samples and other views.
        """
        epoch, place = divmod(position, len(self))
        index = int(self.source_of[place])
        source, dataset = self.sources[index], self.datasets[index]
        turn = int(self.turn_of[place]) + epoch * int((self.source_of == index).sum())
        sample, neighbours = self._sample(index, turn)
        rng = np.random.default_rng((self.seed, 2, position))
        scales = source.scale_range(sample)
        view = random_view(rng, sample.image.shape[:2], self.crop, scales)
        arrays = training_arrays(sample, view, self.stride)
        if self.offsets:
            arrays.update(neighbour_arrays(sample, neighbours, self.offsets, view))
        return {
            **arrays, 'id': f'{source.dataset}:{sample.id}', 'space': dataset.label_space or '',
            'expert_space': dataset.expert_space}

    def skipped(self) -> dict[str, int]:
        """Return the number of bad samples by data set, over all processes."""
        return {source.dataset: int(bad.sum())
                for source, bad in zip(self.sources, self.bad) if bad.any()}

    @property
    def recordings(self) -> list[tuple[str, DenseDataset]]:
        """Return the names and data sets of the sources with neighbours."""
        return [(f'{source.dataset} ({source.root})' if source.root else source.dataset, dataset)
                for source, dataset in zip(self.sources, self.datasets) if source.neighbours]

    def knows_poses(self) -> bool:
        """Return whether the motion to a neighbour in time is known for any sample."""
        return any(has_pose(dataset, sample_id, self.offsets)
                   for _, dataset in self.recordings for sample_id in dataset.ids)

    def _read(self, index: int, number: int) -> Reading:
        dataset = self.datasets[index]
        sample = dataset[number]
        if not self.sources[index].neighbours:
            return Reading(sample, [None] * len(self.offsets))
        return Reading(sample, read_neighbours(dataset, sample.id, self.offsets))

    def _sample(self, index: int, turn: int) -> Reading:
        """Read a source's sample of a turn, or the next readable one."""
        dataset = self.datasets[index]
        round_, place = divmod(turn, len(dataset))
        order = self._order(index, round_)
        if not self.skip_bad:
            return self._read(index, int(order[place]))
        for number in np.roll(order, -place).tolist():
            if self.bad[index][number]:
                continue
            try:
                return self._read(index, number)
            except READ_ERRORS as error:
                self.bad[index][number] = True
                LOG.warning('skipped %s:%s: %s', self.sources[index].dataset, dataset.ids[number],
                            error)
        raise ValueError(
            f'source {self.sources[index].dataset}: none of {len(dataset)} samples can be read')

    @lru_cache(maxsize=64)  # noqa: B019 (a mixture lives as long as its training)
    def _order(self, index: int, round_: int) -> np.ndarray:
        if self.datasets[index].ordered:
            return np.arange(len(self.datasets[index]))
        rng = np.random.default_rng((self.seed, 1, index, round_))
        return rng.permutation(len(self.datasets[index]))


class MixtureData(lightning.LightningDataModule):
    """
    Data module of a training mixture and of recordings for validation.

    The order depends only on positions, so that a resumed training continues with the interrupted
    batch.

    :param sources: sources of the training.
    :param samples: crops per epoch; usually one epoch is the whole training.
    :param batch_size: crops per batch of each process.
    :param crop: height and width of the crops, multiples of 32.
    :param stride: stride of the targets: the network's output stride.
    :param workers: number of loader processes.
    :param seed: random seed of the order and of the views.
    :param skip_bad: whether unreadable samples are logged, counted and replaced by others;
        otherwise the first one stops the training.
    :param val_sources: data sets for validation.
    :param neighbours: offsets of neighbours for self-supervision, in frames of the recording,
        usually [-1, 1]; None for none.
    :param stereo: whether samples include the image of their stereo partner.
    :raises ValueError: if an offset is 0 or repeated.
    """

    def __init__(
            self, sources: list[MixtureSource], samples: int, batch_size: int = 8,
            crop: tuple[int, int] = (256, 416), stride: int = 2, workers: int = 1, seed: int = 0,
            skip_bad: bool = False, val_sources: list[EvaluationSource] | None = None,
            neighbours: list[int] | None = None, stereo: bool = False):
        super().__init__()
        check_batches(sources, batch_size, crop, stride, workers)
        checks.whole(1, MOST)(samples, 'data.samples')
        self.offsets = checked_offsets(neighbours or [], stereo)
        self.sources, self.samples, self.batch_size = sources, samples, batch_size
        self.crop, self.stride, self.workers, self.seed = tuple(crop), stride, workers, seed
        self.skip_bad, self.val_sources = skip_bad, val_sources or []
        self.mixture: Mixture | None = None
        self.measured: list[EvaluationSamples] = []
        self.progress = {'epoch': 0, 'done': 0}

    @property
    def share(self) -> tuple[int, int]:
        """Return the number of training processes and the rank of this one."""
        return share_of(self.trainer)

    def train_dataloader(self) -> DataLoader:
        """Return the remaining batches in the mixture's order."""
        self.mixture = Mixture(
            self.sources, self.samples, self.crop, self.stride, self.seed, self.skip_bad,
            self.offsets)
        sampler = ContinuedSampler(self.mixture, *self.share)
        sampler.continue_from(**self.progress)
        return DataLoader(
            self.mixture, self.batch_size, sampler=sampler, num_workers=self.workers,
            drop_last=True, persistent_workers=self.workers > 0)

    def val_dataloader(self) -> list[DataLoader]:
        """Return a loader of single recordings for each source, split among the processes."""
        processes, process = self.share
        self.measured = [EvaluationSamples(source, processes) for source in self.val_sources]
        return [
            DataLoader(
                measured, batch_size=None, num_workers=self.workers,
                sampler=DistributedSampler(measured, processes, process, shuffle=False))
            for measured in self.measured]

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its processed crops over all processes."""
        loop = self.trainer.fit_loop.epoch_loop
        epoch, batches = divmod(
            loop.batch_progress.total.processed, int(self.trainer.num_training_batches))
        return {'epoch': epoch, 'done': batches * self.batch_size * self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue with the batches after a checkpoint's."""
        self.progress = state_dict

    def teardown(self, stage: str) -> None:
        """Log the number of skipped samples."""
        for name, count in (self.mixture.skipped() if self.mixture else {}).items():
            LOG.warning('%d sample(s) of %s could not be read and were skipped', count, name)


def checked_offsets(neighbours: list[int], stereo: bool) -> tuple[int, ...]:
    """
    Return the offsets of neighbours in time, with that of the stereo partner if requested.

    :raises ValueError: if an offset is 0 or repeated.
    """
    if STEREO in neighbours or len(set(neighbours)) < len(neighbours):
        raise ValueError(
            f'neighbours: expected different offsets other than 0, such as [-1, 1], got '
            f'{list(neighbours)}')
    return (*neighbours, STEREO) if stereo else tuple(neighbours)
