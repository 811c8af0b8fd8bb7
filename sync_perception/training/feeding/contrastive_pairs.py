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

"""LabelledCrops of depth and label maps of the same view, for contrastive learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import lightning
import numpy as np
from sync_perception.datasets.views import random_view
from sync_perception.datasets.vkitti2 import VKITTI2_VARIANTS
from sync_perception.files.checks import optional, whole
from sync_perception.labels import VOID
from sync_perception.training.feeding.mixture import check_batches, MixtureSource
from sync_perception.training.feeding.sampler import share_of, SharedBatches
import torch
from torch.utils.data import DataLoader, Dataset, Sampler


class LabelledCrops(Dataset):
    """
    Random crops of depth and labels, optionally mirrored, of all samples of some sources.

    :param sources: data sets with depth and labels.
    :param crop: height and width of the crops.
    :param stride: the maps are sampled at every stride-th pixel of the crop.
    :param seed: random seed for fixed crops; None draws them with torch's generator.
    :ivar frames: frame of each sample: two samples of one frame are not negatives.
    :raises ValueError: if a data set has no labels.
    """

    def __init__(
            self, sources: Sequence[MixtureSource], crop: tuple[int, int] = (224, 224),
            stride: int = 1, seed: int | None = None):
        self.sources, self.crop, self.stride, self.seed = list(sources), tuple(crop), stride, seed
        self.datasets = [source.load() for source in sources]
        for source, dataset in zip(self.sources, self.datasets):
            if dataset.label_space is None:
                raise ValueError(f'source {source.dataset}: expected a data set with labels')
        self.places = [(number, sample_id) for number, dataset in enumerate(self.datasets)
                       for sample_id in dataset.ids]
        self.frames = [f'{self.sources[number].dataset}:{frame_of(sample_id)}'
                       for number, sample_id in self.places]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.places)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """
        Return a crop of a sample.

        :param index: index of the sample, or a pair of index and seed of the crop.
        :return: depth float32 (1, h, w), metres, NaN unknown, inf sky; labels uint8 (h, w), ids of
            the label space that `space` names, 255 void; id.
        :raises ValueError: if the sample lacks its depth or its labels.
        """
        index, draw = index if isinstance(index, tuple) else (index, None)
        number, sample_id = self.places[index]
        source, dataset = self.sources[number], self.datasets[number]
        sample = dataset.read(sample_id)
        for name in ('depth', 'labels'):
            if getattr(sample, name) is None:
                raise ValueError(f'source {source.dataset}: {sample_id} has no {name}')
        seed = (self.seed, index)
        if self.seed is None:
            seed = int(torch.randint(2**62, ())) if draw is None else (draw, index)
        view = random_view(
            np.random.default_rng(seed), sample.image.shape[:2], self.crop,
            source.scale_range(sample))
        depth = np.ascontiguousarray(view.depth(sample.depth, self.stride), np.float32)
        labels = np.ascontiguousarray(view.nearest(sample.labels, self.stride, VOID))
        return {'depth': depth[None], 'labels': labels, 'space': dataset.label_space,
                'id': f'{source.dataset}:{sample_id}'}


def frame_of(sample_id: str) -> str:
    """
    Return the frame of a sample, independent of weather, angle and camera.

    Virtual KITTI 2's `scene/variant/Camera_n/frame` becomes `scene/frame`; other data sets show
    each frame once.
    """
    parts = sample_id.split('/')
    if len(parts) == 4 and parts[1] in VKITTI2_VARIANTS and parts[2].startswith('Camera_'):
        return f'{parts[0]}/{parts[3]}'
    return sample_id


class DistinctFrames(Sampler[list[int]]):
    """
    Sampler of batches without repeated frames, in a new order at every iteration.

    Samples of a source are drawn without replacement until all were drawn. A sample whose frame is
    already in the batch is skipped until its source's next round.

    :param pairs: data set to draw from.
    :param batch_size: pairs per batch.
    :param batches: number of batches.
    :param seed: random seed of the orders.
    :param repeat: whether every iteration has the same order.
    :raises ValueError: if there are fewer frames than a batch needs.
    """

    def __init__(
            self, pairs: LabelledCrops, batch_size: int, batches: int, seed: int = 0,
            repeat: bool = False):
        shares = np.array([source.share for source in pairs.sources], float)
        distinct = len({frame for (number, _), frame in zip(pairs.places, pairs.frames)
                        if shares[number] > 0})
        if distinct < batch_size:
            raise ValueError(
                f'a batch of {batch_size} pairs needs as many frames, but the sources have '
                f'{distinct}')
        self.frames, self.batch_size, self.batches = pairs.frames, batch_size, batches
        self.shares = shares / shares.sum()
        ends = np.cumsum([len(dataset) for dataset in pairs.datasets])
        self.members = np.split(np.arange(len(pairs)), ends[:-1])
        self.seed, self.repeat, self.epoch = seed, repeat, 0

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch's pairs."""
        rng = np.random.default_rng((self.seed, self.epoch))
        self.epoch += not self.repeat
        stream = self._stream(rng)
        for _ in range(self.batches):
            batch: dict[str, int] = {}
            while len(batch) < self.batch_size:
                index = next(stream)
                batch.setdefault(self.frames[index], index)
            yield list(batch.values())

    def _stream(self, rng: np.random.Generator) -> Iterator[int]:
        rounds = [_endless(rng, members) for members in self.members]
        while True:
            yield next(rounds[rng.choice(len(rounds), p=self.shares)])


def _endless(rng: np.random.Generator, members: np.ndarray) -> Iterator[int]:
    while True:
        yield from rng.permutation(members).tolist()


class ContinuedBatches(Sampler[list[tuple[int, int]]]):
    """
    Resumable batches of pairs of an index and the seed of its crop.

    :param batches: sampler with a new order at every iteration.
    :param seed: random seed of the crops.
    """

    def __init__(self, batches: DistinctFrames, seed: int):
        self.batches, self.seed, self.done = batches, seed, 0

    def continue_from(self, epoch: int, done: int) -> None:
        """Set the next iteration to an epoch, from 0, without its first `done` batches."""
        self.batches.epoch, self.done = epoch, done

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the batches; skipped batches are drawn, but not read."""
        offset, first, self.done = self.batches.epoch * len(self), self.done, 0
        for number, batch in islice(enumerate(self.batches, offset), first, None):
            draw = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
            yield [(index, draw) for index in batch]


class PairData(lightning.LightningDataModule):
    """
    Data module of pairs; a resumed training continues with the interrupted batch.

    :param sources: sources of the training, by their shares.
    :param validation: source for measuring retrieval, with the same crops at every epoch.
    :param batch_size: pairs per batch of each process. No frame occurs twice in a step over all
        processes: the pairs are those of a single process with the total batch size.
    :param samples: pairs of an epoch, of all processes; None for the size of the sources.
    :param crop: height and width of the crops, pixels of the image resized by the source's scale.
    :param stride: the maps are sampled at every stride-th pixel of the crop.
    :param workers: number of loader processes.
    :param seed: random seed of the orders, and of the crops in validation.
    """

    def __init__(
            self, sources: list[MixtureSource], validation: list[MixtureSource] | None = None,
            batch_size: int = 32, samples: int | None = None, crop: tuple[int, int] = (224, 224),
            stride: int = 1, workers: int = 1, seed: int = 0):
        super().__init__()
        check_batches(sources, batch_size, crop, stride, workers)
        optional(whole(1, 2 ** 30))(samples, 'data.samples')
        self.sources, self.validation, self.batch_size = sources, validation or [], batch_size
        self.samples, self.crop, self.stride = samples, tuple(crop), stride
        self.workers, self.seed = workers, seed
        self.progress = {'epoch': 0, 'done': 0}

    def train_dataloader(self) -> DataLoader:
        """Return the epoch's remaining batches."""
        pairs = LabelledCrops(self.sources, self.crop, self.stride)
        size = self.global_size
        batches = max((self.samples or len(pairs)) // size, 1)
        sampler = ContinuedBatches(DistinctFrames(pairs, size, batches, self.seed), self.seed)
        sampler.continue_from(**self.progress)
        return self._loader(pairs, sampler)

    @property
    def global_size(self) -> int:
        """Return the total batch size over all processes."""
        return self.batch_size * share_of(self.trainer)[0]

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its processed batches."""
        loop = self.trainer.fit_loop.epoch_loop
        epoch, done = divmod(
            loop.batch_progress.total.processed, int(self.trainer.num_training_batches))
        return {'epoch': epoch, 'done': done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue with the batches after a checkpoint's."""
        self.progress = state_dict

    def val_dataloader(self) -> DataLoader | list:
        """Return the batches for measuring retrieval; none without a validation source."""
        if not self.validation:
            return []
        pairs = LabelledCrops(self.validation, self.crop, self.stride, self.seed)
        size = self.global_size
        batches = max(len(pairs) // size, 1)
        return self._loader(pairs, DistinctFrames(pairs, size, batches, self.seed, repeat=True))

    def _loader(self, pairs: LabelledCrops, batches: Sampler) -> DataLoader:
        return DataLoader(
            pairs, self.batch_size, num_workers=self.workers, drop_last=True,
            sampler=SharedBatches(batches, self.batch_size, *share_of(self.trainer)),
            persistent_workers=self.workers > 0)
