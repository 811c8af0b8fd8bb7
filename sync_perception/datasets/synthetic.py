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


"""Synthetic data set of the street world, rendered on access."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from sync_perception.datasets.sample import DenseDataset, kept, NEIGHBOURS, Sample
from sync_perception.street_world.camera import draw_camera, KITTI_MOUNT
from sync_perception.street_world.world import StreetWorld

STRIDE = 12
BASELINE = 0.54  # metres, about KITTI's
LENGTHS = {'train': 10000, 'val': 200}


class Synthetic(DenseDataset):
    """
    Rendered street scenes with depth, labels, normals and intrinsics; needs no files.

    Read in order (shuffling is not needed, as every street is random), each street is built once,
    and neighbouring samples come from `interleave` different streets. Streets are built lazily, in
    the process that reads them, so that data-loading workers may be forked before the first read.
    The streets of `val` and `train` are disjoint; `all` is `train`. Neighbours are 0.1 s apart.

    :param root: not used, as there are no files.
    :param split: `train`, `val` or `all`.
    :param length: number of samples, by default 10000, for `val` 200; a large number costs
        nothing.
    :param size: height and width of the images.
    :param seed: random seed of all streets.
    :param frames_per_world: samples of one street, `STRIDE` frames apart.
    :param interleave: number of streets kept in memory, about 100 MB each.
    :param vary_camera: whether to draw focal length, principal point and mount for every
        street; otherwise KITTI's camera is used.
    :param weather: one of `weather.WEATHERS`; None draws one for each street.
    :raises ValueError: for an unknown split, or counts below one.
    """

    splits: ClassVar[tuple[str, ...]] = tuple(LENGTHS)
    label_space: ClassVar[str | None] = 'driving'
    layout: ClassVar[str] = 'nothing: frames are rendered'
    ordered: ClassVar[bool] = True

    def __init__(self, root: str | Path | None = None, split: str = 'all',
                 length: int | None = None, size: tuple[int, int] = (224, 384), seed: int = 0,
                 frames_per_world: int = 8, interleave: int = 4, vary_camera: bool = True,
                 weather: str | None = None):
        self.check_split(split)
        self.root, self.split = Path(root or ''), split
        length = LENGTHS.get(split, LENGTHS['train']) if length is None else length
        for name, value in (('length', length), ('frames_per_world', frames_per_world),
                            ('interleave', interleave), ('height', size[0]), ('width', size[1])):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        self.length, self.size, self.seed = length, tuple(size), seed
        self.frames_per_world, self.interleave = frames_per_world, interleave
        self.vary_camera, self.weather = vary_camera, weather
        self.worlds: OrderedDict[int, StreetWorld] = OrderedDict()
        self.chosen: list[str] | None = None

    def list_ids(self) -> list[str]:
        """Return the samples' names: number of the street and frame in it."""
        return [self.name(i) for i in range(self.length)]

    @property
    def ids(self) -> list[str]:
        """Return the samples' names, in order."""
        return self.list_ids() if self.chosen is None else self.chosen

    def keep(self, ids: Sequence[str]) -> None:
        """Keep only these samples."""
        self.chosen = kept(self.ids, ids, type(self).__name__)
        self.length = len(self.chosen)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.length

    def place(self, index: int) -> tuple[int, int]:
        """Return the numbers of a sample's street and of its frame there."""
        group, rest = divmod(index, self.interleave * self.frames_per_world)
        frame, member = divmod(rest, self.interleave)
        return group * self.interleave + member, frame * STRIDE

    def name(self, index: int) -> str:
        """Return a sample's name."""
        world, frame = self.place(index)
        start = 'val' if self.split == 'val' else ''
        return f'{start}{self.seed}_{world:06d}_{frame:05d}'

    def __getitem__(self, index: int) -> Sample:
        """
        Render the sample at a position.

        :raises IndexError: beyond the end.
        """
        if not 0 <= index < self.length:
            raise IndexError(f'sample {index} of {self.length}')
        return self.read(self.name(index) if self.chosen is None else self.chosen[index])

    def read(self, sample_id: str) -> Sample:
        """Render the sample of this name."""
        world, frame = self.moment(sample_id)
        rendered = world.render(frame)
        return Sample(id=sample_id, image=rendered.frame.image, K=rendered.frame.K,
                      depth=rendered.depth, labels=rendered.labels, normals=rendered.normals)

    def moment(self, sample_id: str, offset: int = 0) -> tuple[StreetWorld, int | None]:
        """Return a sample's street and the frame `offset` frames later, None beyond its ends."""
        _, number, frame = sample_id.split('_')
        moved = int(frame) + offset
        within = 0 <= moved < self.frames_per_world * STRIDE
        return self.world(int(number)), moved if within else None

    def neighbour_id(self, sample_id: str, offset: int) -> str | None:
        """Return the readable id of the frame `offset` frames later; None beyond the drive."""
        start, number, frame = sample_id.split('_')
        moved = int(frame) + offset
        within = 0 <= moved < self.frames_per_world * STRIDE
        return f'{start}_{number}_{moved:05d}' if within else None

    def has_neighbours(self, sample_id: str, offsets: Sequence[int] = NEIGHBOURS) -> bool:
        """Return whether all of these neighbours lie within the drive, without rendering them."""
        frame = int(sample_id.split('_')[2])
        moved = [frame + offset for offset in offsets]
        return min(moved) >= 0 and max(moved) < self.frames_per_world * STRIDE

    def neighbours(
            self, sample_id: str, offsets: Sequence[int] = NEIGHBOURS
            ) -> list[np.ndarray | None]:
        """Render the images before and after a sample; None beyond the drive's ends."""
        moments = [self.moment(sample_id, offset) for offset in offsets]
        return [None if frame is None else world.render(frame).frame.image
                for world, frame in moments]

    def pose(self, sample_id: str, offset: int = 0) -> np.ndarray | None:
        """Return world_T_camera, float64 (4, 4), metres, z up; None beyond the drive's ends."""
        world, frame = self.moment(sample_id, offset)
        return None if frame is None else world.pose(frame)

    def partner_pose(self, sample_id: str) -> np.ndarray | None:
        """Return partner_T_camera of a second camera, BASELINE to the right."""
        pose = np.eye(4)
        pose[0, 3] = -BASELINE
        return pose

    def partner_image(self, sample_id: str) -> np.ndarray:
        """Render the image of the camera to the right."""
        world, frame = self.moment(sample_id)
        return world.render(frame, right=BASELINE).frame.image

    def world(self, number: int) -> StreetWorld:
        """Return a street, built or from memory."""
        if number in self.worlds:
            self.worlds.move_to_end(number)
            return self.worlds[number]
        while len(self.worlds) >= self.interleave:
            self.worlds.popitem(last=False)
        place = [self.seed, number, 1] if self.split == 'val' else [self.seed, number]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        K, mount = draw_camera(seed, self.size) if self.vary_camera else (None, KITTI_MOUNT)
        self.worlds[number] = StreetWorld(
            seed, self.size, K, self.weather, self.frames_per_world * STRIDE, mount)
        return self.worlds[number]

    def __getstate__(self) -> dict:
        """Return the state without built streets: ray-casting scenes cannot be pickled."""
        return {**self.__dict__, 'worlds': OrderedDict()}
