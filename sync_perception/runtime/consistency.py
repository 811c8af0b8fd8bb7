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

"""Tells whether a prediction's depth and labels fit together: a contrastive model's opinion."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.runtime.backends import choose_device
from sync_perception.types import Frame, Prediction
import torch
from torch import Tensor

SQUARE = (1, 1)
SPARED = 0.1
"""A strip narrower than this share of a window needs no window of its own."""


class ConsistencyScorer:
    """
    A contrastive model of depth maps and label maps, ready to judge predictions.

    It sees maps as it did in training: metres and labels of windows with the shape of the
    training's crops, the labels matched to its own label space.

    :param folder: of a contrastive model, or a hub id.
    :param device: auto, cpu, cuda or cuda:N.
    :raises FileNotFoundError: if there is no such folder, or a file is missing.
    :raises ValueError: if it is not a contrastive model, transformers is not installed, or the
        device is not there.
    """

    def __init__(self, folder: str | Path, device: str = 'auto'):
        self.device = choose_device(device)
        try:
            self.model = contrastive.load(folder, self.device)
        except ImportError as error:
            raise ValueError(
                f'{folder}: a contrastive model needs the extra `transformers`') from error
        except ValueError as error:
            raise ValueError(f'{folder} is no contrastive model: {error}') from error
        self.crop = tuple(self.model.config.record.get('crop', SQUARE))
        self.tables: dict[tuple[str, ...], Tensor] = {}

    @torch.inference_mode()
    def score(self, prediction: Prediction, frame: Frame, labels: LabelSpace) -> float:
        """
        Say how well a prediction's depth and labels fit together.

        Where depth is NaN it is sky or beyond range, so it counts as infinitely far, as the sky
        did in training.

        :param prediction: of the frame, with depth and labels.
        :param labels: label space of the prediction.
        :return: the mean of the windows' cosines, in [-1, 1].
        :raises ValueError: if a map is missing or not of the frame's size, or the label space has
            no relation to the model's.
        """
        for name in ('depth', 'labels'):
            found = getattr(prediction, name)
            if found is None or found.shape != frame.size:
                raise ValueError(
                    f'expected {name} of the frame, {frame.size}, got '
                    f'{None if found is None else found.shape}')
        depth = np.where(np.isnan(prediction.depth), np.float32(np.inf), prediction.depth)
        meanings = self._meanings(labels)
        scores = []
        for window in windows(frame.size, self.crop):  # one by one: probabilities take room
            metres = torch.from_numpy(depth[window]).to(self.device)
            ids = torch.from_numpy(np.ascontiguousarray(prediction.labels[window]))
            probabilities = contrastive.matched_labels(ids.to(self.device), meanings)
            scores.append(self.model.score(metres[None, None], probabilities[None]))
        return float(torch.cat(scores).mean())

    def _meanings(self, labels: LabelSpace) -> Tensor:
        """Return what the ids of a label space mean in the model's."""
        if labels.names not in self.tables:
            table = contrastive.class_meanings(labels, self.model.labels)
            self.tables[labels.names] = table.to(self.device)
        return self.tables[labels.names]


def windows(size: tuple[int, int], shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """
    Cover an image with windows of a shape, as large as they can be.

    :param size: height and width of the image.
    :param shape: height and width of which the windows have the ratio.
    :return: rows and columns of each; they overlap where they must, evenly.
    """
    ratio = shape[0] / shape[1]
    height = min(size[0], max(1, round(size[1] * ratio)))
    width = min(size[1], max(1, round(size[0] / ratio)))
    return [(slice(top, top + height), slice(left, left + width))
            for top in _starts(size[0], height) for left in _starts(size[1], width)]


def _starts(whole: int, part: int) -> list[int]:
    """Place parts evenly on a whole; a single one in its middle."""
    count = max(1, math.ceil(whole / part - SPARED))
    if count == 1:
        return [(whole - part) // 2]
    return [round(index * (whole - part) / (count - 1)) for index in range(count)]
