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

"""Neighbours of a sample: earlier and later frames, and the stereo partner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.datasets.views import View

STEREO = 0
"""Offset that denotes the stereo partner."""
MIRROR = np.diag([-1.0, 1, 1, 1])


@dataclass(frozen=True)
class Neighbour:
    """
    Neighbouring image of a sample, with the sample's size and intrinsics.

    :param image: uint8 (H, W, 3), RGB.
    :param pose: neighbour_T_sample, float64 (4, 4), metres, in optical frames; None if unknown.
    """

    image: np.ndarray
    pose: np.ndarray | None


def read_neighbours(
        dataset: DenseDataset, sample_id: str, offsets: Sequence[int]) -> list[Neighbour | None]:
    """
    Read a sample's neighbours.

    :param offsets: frames of the recording, negative ones earlier; STEREO for the partner.
    :return: one for each offset, None if it does not exist.
    :raises ValueError: if a file is broken.
    """
    times = [offset for offset in offsets if offset != STEREO]
    images = dict(zip(times, dataset.neighbours(sample_id, times)))
    here = dataset.pose(sample_id) if times else None
    found: list[Neighbour | None] = []
    for offset in offsets:
        if offset == STEREO:
            found.append(read_partner(dataset, sample_id))
        elif images[offset] is None:
            found.append(None)
        else:
            there = None if here is None else dataset.pose(sample_id, offset)
            pose = None if there is None else np.linalg.inv(there) @ here
            found.append(Neighbour(images[offset], pose))
    return found


def read_partner(dataset: DenseDataset, sample_id: str) -> Neighbour | None:
    """Read the image of a sample's stereo partner, if there is one."""
    pose = dataset.partner_pose(sample_id)
    return None if pose is None else Neighbour(dataset.partner_image(sample_id), pose)


def has_any(dataset: DenseDataset, sample_id: str, offsets: Sequence[int]) -> bool:
    """Return whether a sample has one of these neighbours, without reading it."""
    return any(
        dataset.partner_pose(sample_id) is not None if offset == STEREO
        else dataset.has_neighbours(sample_id, [offset]) for offset in offsets)


def check_recordings(recordings: Sequence[tuple[str, DenseDataset]], offsets: Sequence[int]
                     ) -> None:
    """
    Check that data sets can provide the requested neighbours, without reading any.

    A data set without neighbours is allowed beside others, but not alone.

    :param recordings: names of data sets, for the messages, and the data sets.
    :param offsets: offsets of the neighbours in frames; STEREO for the partner.
    :raises ValueError: if no sample has a requested neighbour in time or stereo partner, or if a
        recording is too short.
    """
    times = [offset for offset in offsets if offset != STEREO]
    names = ', '.join(name for name, _ in recordings) or 'no source'
    if STEREO in offsets and not any(
            has_any(dataset, name, [STEREO]) for _, dataset in recordings
            for name in dataset.ids):
        raise ValueError(
            f'stereo: no sample has a stereo partner in {names}: expected the images of the '
            'second camera and its calibration, or `stereo: false`')
    if not times:
        return
    moving = [(name, dataset) for name, dataset in recordings
              if any(has_any(dataset, sample_id, times) for sample_id in dataset.ids)]
    least = max(0, *times) - min(0, *times) + 1
    if not moving:
        raise ValueError(
            f'neighbours: no sample has a neighbour at {times} in {names}: expected recordings of '
            f'{least} or more frames that follow each other, as they were taken')
    for name, dataset in moving:
        if not any(dataset.has_neighbours(sample_id, times) for sample_id in dataset.ids):
            raise ValueError(
                f'neighbours: no sample of {name} has all of its neighbours {times}: its '
                f'recordings, of {len(dataset.ids)} frames in all, are too short, expected '
                f'{least} or more frames that follow each other in one of them')


def has_pose(dataset: DenseDataset, sample_id: str, offsets: Sequence[int]) -> bool:
    """Return whether the motion to one of a sample's neighbours in time is known."""
    return dataset.pose(sample_id) is not None and any(
        has_any(dataset, sample_id, [offset]) and dataset.pose(sample_id, offset) is not None
        for offset in offsets if offset != STEREO)


def neighbour_arrays(
        sample: Sample, neighbours: Sequence[Neighbour | None], offsets: Sequence[int],
        view: View) -> dict[str, Any]:
    """
    Return a sample's view of its neighbours as arrays, whose shapes depend only on the offsets.

    Resizing and cropping change K, not the poses. Mirroring negates the x axis of both cameras, so
    that the pose T becomes S T S, S = diag(-1, 1, 1, 1).

    :param sample: the sample.
    :param neighbours: its neighbours, one for each offset, None if missing.
    :param offsets: offsets in frames from the sample.
    :param view: the sample's view.
    :return: neighbours uint8 (N, h, w, 3); neighbour_there bool (N,); neighbour_offset int64
        (N,); neighbour_pose float32 (N, 4, 4), neighbour_T_sample in metres, NaN where unknown; K
        float32 (3, 3), intrinsics of the view in pixels, NaN where unknown.
    :raises ValueError: if a neighbour has another size.
    """
    count, size = len(offsets), sample.image.shape[:2]
    arrays = {
        'neighbours': np.zeros((count, *view.size, 3), np.uint8),
        'neighbour_there': np.array([neighbour is not None for neighbour in neighbours]),
        'neighbour_offset': np.array(offsets, np.int64),
        'neighbour_pose': np.full((count, 4, 4), np.nan, np.float32),
        'K': np.full((3, 3), np.nan, np.float32)}
    if sample.K is not None:
        arrays['K'] = view.intrinsics(sample.K, size).astype(np.float32)
    for place, neighbour in enumerate(neighbours):
        if neighbour is None:
            continue
        if neighbour.image.shape[:2] != size:
            height, width = neighbour.image.shape[:2]
            raise ValueError(
                f'the neighbour {offsets[place]} of {sample.id} is {width}x{height}, expected '
                f'{size[1]}x{size[0]} as the sample')
        arrays['neighbours'][place] = view.image(neighbour.image)
        if neighbour.pose is not None:
            pose = MIRROR @ neighbour.pose @ MIRROR if view.mirror else neighbour.pose
            arrays['neighbour_pose'][place] = pose
    return arrays
