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

"""Farthest-point selection by feature distance and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sync_perception.studies.selection.features import Rows

LEAST_DEVIATION = 1e-6


def inverse_deviations(rows: Rows, usable: np.ndarray) -> np.ndarray:
    """
    Return 1 / standard deviation of each channel over images and positions; 0 if constant.

    :param usable: bool (N,), the images that count.
    :return: float32 (channels,).
    """
    count, total = 0, np.zeros((2, rows.channels))
    first = rows.row(int(np.flatnonzero(usable)[0])).mean(axis=1, keepdims=True)
    for place, values in rows.chunks():
        values = values[usable[place]] - first  # centred for numerical accuracy
        total += [values.sum(axis=(0, 2), dtype=np.float64),
                  np.square(values).sum(axis=(0, 2), dtype=np.float64)]
        count += len(values) * rows.places
    variance = total[1] / count - np.square(total[0] / count)
    deviation = np.sqrt(variance.clip(min=0))
    return np.divide(
        1, deviation, out=np.zeros_like(deviation), where=deviation > LEAST_DEVIATION
    ).astype(np.float32)


def distances(rows: Rows, scale: np.ndarray, index: int) -> np.ndarray:
    """
    Return the Euclidean distances of all images' features to those of one image.

    :param scale: float32 (channels,), factor of each channel.
    :return: float32 (N,).
    """
    centre = rows.row(index)
    result = np.empty(rows.count, np.float32)
    for place, values in rows.chunks():
        values -= centre
        values *= scale[:, None]
        flat = values.reshape(len(values), -1)
        result[place] = np.sqrt(np.einsum('nf,nf->n', flat, flat))
    return result


@dataclass
class Choice:
    """
    State of a selection: chosen images, and distances to them.

    :param chosen: indices of images, in the order of selection.
    :param distances: distances to the nearest image chosen before, NaN if not used.
    :param uncertainties: added uncertainties, NaN if not used.
    :param nearest: float32 (N,), each image's distance to the nearest chosen one; inf initially.
    :param compared: number of chosen images included in `nearest`.
    """

    chosen: list[int] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    uncertainties: list[float] = field(default_factory=list)
    nearest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    compared: int = 0

    def take(self, index: int, distance: float = np.nan, uncertainty: float = np.nan) -> None:
        """Choose an image."""
        self.chosen.append(int(index))
        self.distances.append(float(distance))
        self.uncertainties.append(float(uncertainty))

    def compare(self, rows: Rows, scale: np.ndarray) -> None:
        """Update the distances by the chosen images not yet compared."""
        if not self.compared:
            self.nearest = np.full(rows.count, np.inf, np.float32)
        for index in self.chosen[self.compared:]:
            np.minimum(self.nearest, distances(rows, scale, index), out=self.nearest)
        self.compared = len(self.chosen)

    def pick(
            self, usable: np.ndarray, rows: Rows | None, scale: np.ndarray | None,
            uncertainty: np.ndarray | None) -> None:
        """
        Choose the image with the greatest distance + uncertainty, the first one if equal.

        :param usable: bool (N,), the images to choose from.
        :param rows: the features; None if distance is not used.
        :param scale: factors of the channels, as for `distances`.
        :param uncertainty: float (N,); None if not used.
        """
        score = np.zeros(len(usable))
        if rows is not None:
            self.compare(rows, scale)
            score += self.nearest
        if uncertainty is not None:
            score += uncertainty
        score[~usable] = -np.inf
        score[self.chosen] = -np.inf
        index = int(score.argmax())
        self.take(
            index, np.nan if rows is None else self.nearest[index],
            np.nan if uncertainty is None else uncertainty[index])
