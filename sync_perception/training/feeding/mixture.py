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
class Source:
    """
    One data set's part in a mixture.

    :param dataset: a key of `sync_perception.datasets.DATASETS`.
    :param root: its folder; environment variables are expanded. Not needed by `synthetic`.
    :param share: how often its samples are drawn, relative to the other sources.
    :param scale: least and greatest size of the resized image over the recording's.
    :param focal: instead of `scale`, least and greatest focal length of the resized image in
        pixels, for data sets of several calibrated cameras.
    :param split: the data set's split.
    :param arguments: further ones of the data set's class: `{cameras: [0]}`, `{seed: 7}`.
    :param neighbours: whether its samples bring their neighbours, where the mixture asks for any.
    :param labels: whether its samples bring their labels.
    :param labelled: which of its samples do: `{file: selection.json, budget: 25}`; None for all.
    :raises ValueError: unless exactly one of `scale` and `focal` is given, or if labels are both
        chosen and refused.
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
        """Refuse a source whose crops have no size."""
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
                f'source {self.dataset}: expected labels: true beside labelled, got false')

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

        :raises ValueError: if there is no such data set, split or argument, or the samples chosen
            to be labelled are not in it.
        :raises FileNotFoundError: if the folder does not hold it.
        """
        dataset = open_dataset(self.dataset, self.root, self.split, self.arguments)
        if self.labels and self.labelled is None:
            return dataset
        return PartlyLabelled(dataset, self.labelled.ids() if self.labelled else ())


def check_batches(
        sources: Sequence[Source], batch_size: int, crop: Sequence[int], stride: int, workers: int
        ) -> None:
    """
    Refuse settings of which no batch can be made.

    :raises ValueError: naming the setting, what was expected and what was got.
    """
    if not sources:
        checks.refuse('data.sources', 'at least one', list(sources or ()))
    if not sum(source.share for source in sources) > 0:
        checks.refuse('data.sources', 'shares of which one is above 0', [s.share for s in sources])
    checks.whole(1, MOST)(batch_size, 'data.batch_size')
    checks.several(checks.whole(1, 2 ** 14), 2)(crop, 'data.crop')
    checks.whole(1, 2 ** 10)(stride, 'data.stride')
    checks.whole(0, 2 ** 10)(workers, 'data.workers')


class Reading(NamedTuple):
    """A sample, and one of its neighbours or None for each offset that its source brings."""

    sample: Sample
    neighbours: list[Neighbour | None]


class Mixture(Dataset):
    """
    A fixed sequence of random crops out of several sources, the same for the same seed.

    A source's samples are drawn without replacement until all of them were seen.

    :param sources: what to draw from.
    :param length: how many crops.
    :param crop: height and width of the crops.
    :param stride: targets are given at every stride-th pixel.
    :param seed: of the order and of the views.
    :param skip_bad: whether a sample that cannot be read is logged, once, and the next one of its
        source is drawn instead; otherwise its error is raised.
    :param offsets: neighbours that samples bring where they have them, in frames of the
        recording; 0 is the stereo partner.
    :raises ValueError: if the sources do not bring the neighbours that are asked for.
    """

    def __init__(
            self, sources: list[Source], length: int, crop: tuple[int, int], stride: int,
            seed: int = 0, skip_bad: bool = False, offsets: Sequence[int] = ()):
        self.sources, self.offsets = sources, tuple(offsets)
        self.datasets = [source.load() for source in sources]
        if self.offsets:
            check_recordings(self.recordings, self.offsets)
        self.crop, self.stride, self.seed, self.skip_bad = crop, stride, seed, skip_bad
        # shared memory: what one worker finds bad, the others skip and the main process counts
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
        """Count the crops."""
        return len(self.source_of)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """
        Return the crop at a position, as `training_arrays` gives it, with id and spaces.

        Where neighbours are asked for, with what `neighbour_arrays` gives, too.

        Positions from the length on are those of later epochs: the sources take turns as in the
        first one, with their next samples and other views.
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
        """Count the samples that were found bad, in whichever process, by data set."""
        return {source.dataset: int(bad.sum())
                for source, bad in zip(self.sources, self.bad) if bad.any()}

    @property
    def recordings(self) -> list[tuple[str, DenseDataset]]:
        """Return the data sets whose samples bring their neighbours, with their names."""
        return [(f'{source.dataset} ({source.root})' if source.root else source.dataset, dataset)
                for source, dataset in zip(self.sources, self.datasets) if source.neighbours]

    def knows_poses(self) -> bool:
        """Say whether the motion from any sample to one of its neighbours in time is known."""
        return any(has_pose(dataset, sample_id, self.offsets)
                   for _, dataset in self.recordings for sample_id in dataset.ids)

    def _read(self, index: int, number: int) -> Reading:
        dataset = self.datasets[index]
        sample = dataset[number]
        if not self.sources[index].neighbours:
            return Reading(sample, [None] * len(self.offsets))
        return Reading(sample, read_neighbours(dataset, sample.id, self.offsets))

    def _sample(self, index: int, turn: int) -> Reading:
        """Read the sample of a source whose turn it is; or the next that can be read."""
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
    Feeds a mixture to the trainer, and recordings to measure on.

    The order depends on positions alone, so that a resumed training goes on with the batch at
    which it was interrupted.

    :param sources: what to draw from.
    :param samples: crops of an epoch; usually one epoch is all of the training.
    :param batch_size: crops in a batch, of each process.
    :param crop: height and width of the crops, multiples of 32.
    :param stride: the network's output stride, at which the targets are given.
    :param workers: processes that read and cut.
    :param seed: of the order and of the views.
    :param skip_bad: whether samples that cannot be read are logged, counted and replaced by
        others; otherwise the first one stops the training.
    :param val_sources: what the model is measured on whenever the trainer validates.
    :param neighbours: which neighbours samples bring, for self-supervision: offsets in frames of
        the recording, usually [-1, 1]; None for none.
    :param stereo: whether they also bring the image of their stereo partner.
    :raises ValueError: if an offset is 0 or comes twice.
    """

    def __init__(
            self, sources: list[Source], samples: int, batch_size: int = 8,
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
        """Return how many processes learn together, and which of them this is."""
        return share_of(self.trainer)

    def train_dataloader(self) -> DataLoader:
        """Return the batches in the mixture's order, from where the training is."""
        self.mixture = Mixture(
            self.sources, self.samples, self.crop, self.stride, self.seed, self.skip_bad,
            self.offsets)
        sampler = ContinuedSampler(self.mixture, *self.share)
        sampler.continue_from(**self.progress)
        return DataLoader(
            self.mixture, self.batch_size, sampler=sampler, num_workers=self.workers,
            drop_last=True, persistent_workers=self.workers > 0)

    def val_dataloader(self) -> list[DataLoader]:
        """Return each source's recordings, one at a time, shared among the processes."""
        processes, process = self.share
        self.measured = [EvaluationSamples(source, processes) for source in self.val_sources]
        return [
            DataLoader(
                measured, batch_size=None, num_workers=self.workers,
                sampler=DistributedSampler(measured, processes, process, shuffle=False))
            for measured in self.measured]

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its crops all processes together have learned from."""
        loop = self.trainer.fit_loop.epoch_loop
        epoch, batches = divmod(
            loop.batch_progress.total.processed, int(self.trainer.num_training_batches))
        return {'epoch': epoch, 'done': batches * self.batch_size * self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next batches be those that come after a checkpoint's."""
        self.progress = state_dict

    def teardown(self, stage: str) -> None:
        """Say how many samples were skipped."""
        for name, count in (self.mixture.skipped() if self.mixture else {}).items():
            LOG.warning('%d sample(s) of %s could not be read and were skipped', count, name)


def checked_offsets(neighbours: list[int], stereo: bool) -> tuple[int, ...]:
    """
    Join the offsets of neighbours in time and that of the stereo partner.

    :raises ValueError: if an offset is 0 or comes twice.
    """
    if STEREO in neighbours or len(set(neighbours)) < len(neighbours):
        raise ValueError(
            f'neighbours: expected different offsets other than 0, such as [-1, 1], got '
            f'{list(neighbours)}')
    return (*neighbours, STEREO) if stereo else tuple(neighbours)
