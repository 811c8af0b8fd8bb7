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

"""Disk cache of features and depth of images for selection; survives interruptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
import hashlib
import logging
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets.sample import DenseDataset, READ_ERRORS
from sync_perception.evaluation.predict_sample import enlarge
from sync_perception.files.resume import check_same_settings
from sync_perception.files.whole_files import read_json, write_json
from sync_perception.models.network_input import input_size_of, normalise, resize_image
from sync_perception.models.padnet import PadNet
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.refinenet import RefineNet
from sync_perception.models.sync import SyncNet
import torch
from torch import nn, Tensor
from torch.nn import functional

LOG = logging.getLogger(__name__)
POOLED = (4, 8)
SMALL = (64, 128)
"""Height and width of the student's images and depth."""
CHUNK = 32 << 20
"""Memory limit of float32 features, bytes."""
MANIFEST = 'cache.json'
UNKNOWN, KNOWN = 0, 1


def depth_features(network: nn.Module, image_b3hw: Tensor) -> list[Tensor]:
    """
    Return the features of a network's depth decoder, fine to coarse.

    :param image_b3hw: in the normalisation of the model, sides multiples of `network.multiple`.
    :return: features of the depth branch of a synchronised network, else of the shared encoder.
    :raises ValueError: for a network without depth, or without accessible features.
    """
    if isinstance(network, SyncNet) and network.depth is not None:
        return network.depth.encode(network.depth_input(image_b3hw))
    if isinstance(network, PadNet):
        return network.encode(image_b3hw)
    if isinstance(network, RefineNet):
        return network.encoder(image_b3hw)
    raise ValueError(
        f'expected a model with features of depth (a synchronised one with a depth branch, '
        f'padnet or refinenet), got {type(network).__name__}'
        + (' without depth' if isinstance(network, SyncNet) else ''))


class Describer:
    """
    Description of images by a model's features and depth.

    :param model: with `config` and `network`, in evaluation mode and on its device.
    :param level: level of the features, fine to coarse; negative ones count from the coarsest.
    :raises ValueError: if the model has no such level.
    """

    def __init__(self, model: PerceptionModel, level: int = -1):
        if not isinstance(model, PerceptionModel):
            raise ValueError(
                f'expected a model folder with its network, got a {type(model).__name__}: an '
                'exported file gives no features')
        self.model, self.level = model, level
        with torch.inference_mode():
            features = self.encode(np.full((64, 96, 3), 127, np.uint8))
        if not -len(features) <= level < len(features):
            raise ValueError(
                f'the model has {len(features)} levels of features, expected a level from '
                f'{-len(features)} to {len(features) - 1}, got {level}')
        self.channels = features[level].shape[1]

    def encode(self, image: np.ndarray) -> list[Tensor]:
        """Return the features of an image, uint8 (H, W, 3), as `depth_features`."""
        network = self.model.network
        batch = self.batch(image)
        height, width = batch.shape[-2:]
        right, down = -width % network.multiple, -height % network.multiple
        return depth_features(
            network, functional.pad(batch, (0, right, 0, down), mode='replicate'))

    def batch(self, image: np.ndarray) -> Tensor:
        """Return an image as the model's input."""
        config = self.model.config
        seen = torch.from_numpy(np.ascontiguousarray(
            resize_image(image, input_size_of(config, image.shape[:2]))))
        return normalise(seen[None].to(self.model.device), config.mean, config.std)

    @torch.inference_mode()
    def features(self, image: np.ndarray) -> np.ndarray:
        """Return the features of the level, averaged over 4 x 8 parts: float16 (C, 4, 8)."""
        feature = self.encode(image)[self.level].float()
        pooled = functional.adaptive_avg_pool2d(feature, POOLED)[0].cpu().numpy()
        limit = np.finfo(np.float16).max
        return pooled.clip(-limit, limit).astype(np.float16)

    @torch.inference_mode()
    def inverse_depth(self, image: np.ndarray) -> np.ndarray:
        """Return 1 / depth of the canonical camera at SMALL: float16, 1 / metres."""
        depth = self.model(self.batch(image)).depth
        inverse = enlarge(1 / depth.float().clamp(min=1e-3), SMALL)
        return inverse[0, 0].cpu().numpy().astype(np.float16)


@dataclass(frozen=True)
class Rows:
    """
    Rows of numbers in a file, read in chunks.

    :param path: file of raw float16.
    :param count: number of rows.
    :param channels: number of channels of a row.
    :param places: number of positions of a channel.
    """

    path: Path
    count: int
    channels: int
    places: int

    @property
    def width(self) -> int:
        """Return the number of values of a row."""
        return self.channels * self.places

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield slices and their float32 rows, (rows, channels, places), of CHUNK bytes."""
        step = max(CHUNK // (4 * self.width), 1)
        with self.path.open('rb') as file:
            for start in range(0, self.count, step):
                rows = min(step, self.count - start)
                values = np.fromfile(file, np.float16, rows * self.width).astype(np.float32)
                yield slice(start, start + rows), values.reshape(
                    rows, self.channels, self.places)

    def row(self, index: int) -> np.ndarray:
        """Return one row, float32 (channels, places)."""
        values = np.fromfile(
            self.path, np.float16, self.width, offset=2 * self.width * index)
        return values.astype(np.float32).reshape(self.channels, self.places)


class Cache:
    """
    Cache folder of descriptions of a data set's images.

    An image is marked as complete after its data were written, and then never computed again. A
    kill in between costs one image.

    :param folder: folder; created if missing.
    :param ids: ids of the images.
    :param facts: facts that the stored data depend on: data set, model and the like.
    :raises ValueError: if the folder contains data of other facts.
    """

    def __init__(self, folder: str | Path, ids: list[str], facts: dict[str, object]):
        self.folder, self.ids = Path(folder), list(ids)
        digest = hashlib.sha256('\n'.join(self.ids).encode()).hexdigest()
        facts = {**facts, 'images': len(self.ids), 'ids': digest}
        path = self.folder / MANIFEST
        if path.is_file():
            check_same_settings(
                self.folder, read_json(path), facts, 'choose another folder, or remove it')
        else:
            write_json(path, facts, indent=1, shared=True)

    def file(self, name: str, shape: tuple[int, ...], kind: type) -> Path:
        """Return the file of an array with one row per image; created with zeros if missing."""
        path = self.folder / f'{name}.raw'
        size = len(self.ids) * int(np.prod(shape)) * np.dtype(kind).itemsize
        if not path.is_file() or path.stat().st_size != size:
            with path.open('ab') as file:
                file.truncate(size)
        return path

    def array(self, name: str, shape: tuple[int, ...], kind: type) -> np.memmap:
        """Open such a file as a writable memory map (N, *shape)."""
        return np.memmap(
            self.file(name, shape, kind), kind, 'r+', shape=(len(self.ids), *shape))

    def describe(self, data: DenseDataset, describer: Describer, depth: bool) -> np.ndarray:
        """
        Compute the missing descriptions.

        :param depth: whether to store images and inverse depth for a student, too.
        :return: bool (N,), which images are readable.
        """
        writers = {'features': self.file(
            'features', (describer.channels, *POOLED), np.float16).open('r+b')}
        if depth:
            writers['images'] = self.file('images', (*SMALL, 3), np.uint8).open('r+b')
            writers['inverse_depth'] = self.file('inverse_depth', SMALL, np.float16).open('r+b')
        known = [self.array(f'{name}_known', (), np.uint8)
                 for name in ('features', *(('inverse_depth',) if depth else ()))]
        wanted = np.flatnonzero(np.any([flags == UNKNOWN for flags in known], axis=0))
        with ExitStack() as stack:
            for file in writers.values():
                stack.enter_context(file)
            for index in track(
                    wanted.tolist(), f'features of {len(wanted)} images',
                    console=Console(stderr=True)):
                try:
                    image = data.read(self.ids[index]).image
                except READ_ERRORS as error:
                    LOG.warning('skipped %s: %s', self.ids[index], error)
                    continue
                if known[0][index] == UNKNOWN:
                    write_row(writers['features'], index, describer.features(image))
                    known[0][index] = KNOWN
                if depth and known[1][index] == UNKNOWN:
                    write_row(writers['images'], index, resize_image(image, SMALL))
                    write_row(writers['inverse_depth'], index, describer.inverse_depth(image))
                    known[1][index] = KNOWN
        return np.all([flags == KNOWN for flags in known], axis=0)

    def rows(self, channels: int) -> Rows:
        """Return the features."""
        return Rows(
            self.folder / 'features.raw', len(self.ids), channels, POOLED[0] * POOLED[1])


def write_row(file: BinaryIO, index: int, row: np.ndarray) -> None:
    """Write a row at its position in the file, without buffering."""
    file.seek(index * row.nbytes)
    file.write(np.ascontiguousarray(row).data)
    file.flush()
