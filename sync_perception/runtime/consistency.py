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

"""Consistency score of a prediction's depth and labels, by a contrastive model."""

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
"""A strip narrower than this fraction of a window gets no window of its own."""


class ConsistencyScorer:
    """
    Contrastive model of depth maps and label maps that scores predictions.

    The model sees maps as in training: depth in metres and labels of its own label space, in
    windows with the aspect ratio of the training crops.

    :param folder: folder or hub id of a contrastive model.
    :param device: auto, cpu, cuda or cuda:N.
    :raises FileNotFoundError: if there is no such folder, or a file is missing.
    :raises ValueError: if it is not a contrastive model, transformers is not installed, or the
        machine has no such device.
    """

    def __init__(self, folder: str | Path, device: str = 'auto'):
        self.device = choose_device(device)
        try:
            self.model = contrastive.load_contrastive(folder, self.device)
        except ImportError as error:
            raise ValueError(
                f'{folder}: a contrastive model needs the extra `transformers`') from error
        except ValueError as error:
            raise ValueError(f'{folder} is not a contrastive model: {error}') from error
        self.crop = tuple(self.model.config.record.get('crop', SQUARE))
        self.tables: dict[tuple[str, ...], Tensor] = {}

    @torch.inference_mode()
    def score(self, prediction: Prediction, frame: Frame, labels: LabelSpace) -> float:
        """
        Return the consistency of a prediction's depth and labels.

        NaN depth is sky or beyond range; it counts as infinitely far, like the sky in training.

        :param prediction: prediction for the frame, with depth and labels.
        :param labels: label space of the prediction.
        :return: mean cosine similarity over the windows, in [-1, 1].
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
        for window in windows(frame.size, self.crop):  # one by one to save memory
            metres = torch.from_numpy(depth[window]).to(self.device)
            ids = torch.from_numpy(np.ascontiguousarray(prediction.labels[window]))
            probabilities = contrastive.matched_labels(ids.to(self.device), meanings)
            scores.append(self.model.score(metres[None, None], probabilities[None]))
        return float(torch.cat(scores).mean())

    def _meanings(self, labels: LabelSpace) -> Tensor:
        """Return the table from the ids of a label space to the classes of the model."""
        if labels.names not in self.tables:
            table = contrastive.class_meanings(labels, self.model.labels)
            self.tables[labels.names] = table.to(self.device)
        return self.tables[labels.names]


def windows(size: tuple[int, int], shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """
    Return the largest windows of an aspect ratio that cover an image.

    :param size: height and width of the image.
    :param shape: height and width that define the aspect ratio.
    :return: rows and columns of each window; necessary overlaps are distributed evenly.
    """
    ratio = shape[0] / shape[1]
    height = min(size[0], max(1, round(size[1] * ratio)))
    width = min(size[1], max(1, round(size[0] / ratio)))
    return [(slice(top, top + height), slice(left, left + width))
            for top in _starts(size[0], height) for left in _starts(size[1], width)]


def _starts(whole: int, part: int) -> list[int]:
    """Return the starts of parts that are spread evenly over a whole; a single part is centred."""
    count = max(1, math.ceil(whole / part - SPARED))
    if count == 1:
        return [(whole - part) // 2]
    return [round(index * (whole - part) / (count - 1)) for index in range(count)]
