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

"""Student network trained on a model's disparity, whose error measures uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.models.network_input import normalise
from sync_perception.models.resizing import resize_bilinear
from sync_perception.models.unet.decoder import LightUNet
from sync_perception.models.unet.mobilenet import MobileNetV2
from sync_perception.training.losses.depth import berhu
import torch
from torch import nn, Tensor

WIDTHS = (16, 24, 32, 48, 64)
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
NEAREST = 0.99
"""Quantile of inverse depth that is scaled to a disparity of 1."""
BATCH_SCORED = 32


@dataclass(frozen=True)
class StudentSettings:
    """
    Settings of the student's training, and the weight of its errors.

    :param steps: training steps, from scratch in each round.
    :param batch: images per step.
    :param rate: Adam's learning rate, with cosine decay to zero.
    :param threshold: threshold of berHu, as a share of the greatest error.
    :param weight: weight of the uncertainty relative to the feature distance.
    """

    steps: int = 400
    batch: int = 8
    rate: float = 2e-3
    threshold: float = 0.2
    weight: float = 1000.0

    def __post_init__(self):
        """Check the settings."""
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f'the student needs a {name} above 0, got {value}')


class Student(LightUNet):
    """MobileNetV2 with batch norms and the light UNet decoder; outputs one map at half size."""

    def __init__(self):
        encoder = MobileNetV2(normalised=True)
        super().__init__(1, encoder, encoder.channels, encoder.strides, WIDTHS)

    def disparity(self, images_bhw3: Tensor) -> Tensor:
        """Return disparities (B, 1, h, w) in (0, 1) of uint8 images (B, h, w, 3)."""
        raw = self(normalise(images_bhw3, MEAN, STD))
        return resize_bilinear(torch.sigmoid(raw), images_bhw3.shape[1:3])


def nearest_inverse_depth(inverse: np.ndarray, usable: np.ndarray) -> float:
    """
    Return the inverse depth that is scaled to a disparity of 1, from every 16th pixel.

    Disparities thus do not depend on the unit of the teacher's depth.

    :param inverse: float16 (N, h, w).
    :param usable: bool (N,), the images that count.
    """
    some = inverse[:, ::4, ::4][usable]
    return max(float(np.quantile(some.astype(np.float32), NEAREST)), 1e-6)


def to_disparity(inverse: np.ndarray, nearest: float) -> Tensor:
    """Convert inverse depths (B, h, w) to disparities in [0, 1], float32 (B, 1, h, w)."""
    share = np.clip(inverse.astype(np.float32) / nearest, 0, 1)
    return torch.from_numpy(share)[:, None]


def teach(
        images: np.ndarray, inverse: np.ndarray, chosen: list[int], nearest: float,
        settings: StudentSettings, seed: int, device: torch.device) -> Student:
    """
    Train a student from scratch on the teacher's disparity of the chosen images.

    :param images: uint8 (N, h, w, 3), RGB.
    :param inverse: float16 (N, h, w), the teacher's inverse depth.
    :param chosen: indices of the training images.
    :param nearest: the inverse depth that is scaled to a disparity of 1.
    :param seed: random seed of weights, order and mirroring; training is reproducible.
    :return: the student in evaluation mode.
    """
    rng = np.random.default_rng((seed, len(chosen)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2 ** 31)))
        student = Student()
    student.to(device)
    optimizer = torch.optim.Adam(student.parameters(), settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for _ in track(
            range(settings.steps), f'student of {len(chosen)} images',
            console=Console(stderr=True)):
        batch = np.sort(rng.choice(chosen, settings.batch, replace=True))
        mirror = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
        seen = torch.from_numpy(np.ascontiguousarray(images[batch][:, :, mirror])).to(device)
        true = to_disparity(inverse[batch][:, :, mirror], nearest).to(device)
        loss = berhu(
            student.disparity(seen), true, torch.ones_like(true, dtype=torch.bool),
            settings.threshold)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return student.eval()


@torch.inference_mode()
def uncertainties(
        student: nn.Module, images: np.ndarray, inverse: np.ndarray, nearest: float,
        weight: float, device: torch.device) -> np.ndarray:
    """
    Return weight * mean |log(1 + d_student) - log(1 + d_teacher)| of every image: float32 (N,).

    :param student: module with a method `disparity` of uint8 images.
    """
    scores = np.empty(len(images), np.float32)
    for start in range(0, len(images), BATCH_SCORED):
        part = slice(start, start + BATCH_SCORED)
        said = student.disparity(torch.from_numpy(np.array(images[part])).to(device))
        true = to_disparity(inverse[part], nearest).to(device)
        error = (torch.log1p(said) - torch.log1p(true)).abs()
        scores[part] = weight * error.mean(dim=(1, 2, 3)).cpu().numpy()
    return scores
