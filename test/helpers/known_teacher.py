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

"""A teacher whose answer is known, and images for it, for the tests of pseudo labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from sync_perception.datasets.sample import Sample
from sync_perception.labels import LabelSpace
from sync_perception.models import ModelConfig
from sync_perception.types import DenseOutput
import torch
from torch import nn

K = np.array([[100.0, 0, 47.5], [0, 100.0, 31.5], [0, 0, 1]])
SIZE = (64, 96)
SPACE = LabelSpace.load('driving')
ROAD, SKY, CAR = (SPACE.index(name) for name in ('road', 'sky', 'car'))


class KnownTeacher(nn.Module):
    """Sky above, road below, a car left of the middle of which it is half sure; 12 m."""

    device = torch.device('cpu')

    def __init__(self, canonical_focal: float | None = 50.0):
        super().__init__()
        self.labels = SPACE
        self.config = ModelConfig(
            'known', {}, SPACE.to_dict(), input_size=list(SIZE), canonical_focal=canonical_focal)
        probability = torch.full((len(SPACE), *SIZE), 1e-6)
        probability[SKY, :24] = 0.9
        probability[ROAD, 24:] = 0.9
        probability[:, 30:50, 10:40] = 1e-6
        probability[CAR, 30:50, 10:40] = 0.5
        probability[SPACE.index('truck'), 30:50, 10:40] = 0.4
        self.output = DenseOutput(
            depth=torch.full((1, 1, *SIZE), 12.0), logits=probability.log()[None],
            log_variance=torch.full((1, 1, *SIZE), 2 * np.log(0.1)))

    def forward(self, image_b3hw: torch.Tensor) -> DenseOutput:
        """Give the answer."""
        return self.output


def sample_of(intrinsics: np.ndarray | None) -> Sample:
    """Return a black image with the camera's intrinsics, if any."""
    return Sample('one', np.zeros((*SIZE, 3), np.uint8), K=intrinsics)


def write_drives(root: Path) -> Path:
    """Write three frames of CamVid's layout: labels, no camera."""
    for folder in ('train', 'trainannot'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(3):
        cv2.imwrite(
            str(root / f'train/{number}.png'), rng.integers(0, 256, (*SIZE, 3), np.uint8))
        cv2.imwrite(str(root / f'trainannot/{number}.png'), np.full(SIZE, number, np.uint8))
    return root
