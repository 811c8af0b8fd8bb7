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


"""Neighbouring frames of which everything is known, and a network that says what it is told."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
from sync_perception.types import DenseOutput
import torch
from torch import nn

SIZE = (40, 60)
K = torch.tensor([[50.0, 0, 29.5], [0, 50, 19.5], [0, 0, 1]])


class Said(nn.Module):
    """A network of which it is known what it says of the neighbour."""

    config = SimpleNamespace(canonical_focal=None, mean=[0.5] * 3, std=[0.5] * 3)

    def __init__(self, **maps):
        super().__init__()
        self.output = DenseOutput(**maps)

    def forward(self, images):
        """Say it, with a gradient if there may be one."""
        return DenseOutput(**{
            name: 1 * values for name, values in vars(self.output).items() if values is not None})


def moved(x=0.0, z=0.0):
    """Return neighbour_T_sample of a neighbour from where the points are displaced by x, z."""
    pose = torch.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return pose


def couple(image, neighbour, pose=None, depth=None, camera=K, **changes):
    """Return a batch of one sample with one earlier neighbour; images uint8 (H, W, 3)."""
    unknown = torch.full(image.shape[:2], torch.nan)
    return {
        'image': image[None], 'neighbours': neighbour[None, None],
        'neighbour_there': torch.tensor([[True]]), 'neighbour_offset': torch.tensor([[-1]]),
        'neighbour_pose': (torch.full((4, 4), torch.nan) if pose is None else pose)[None, None],
        'K': camera[None], 'focal': camera[None, 0, 0], 'id': ['a'],
        'depth': (unknown if depth is None else depth)[None], **changes}


def grey():
    return torch.full((*SIZE, 3), 100, dtype=torch.uint8)


def texture(shift=0):
    """Return a smooth pattern, moved to the left by so many pixels."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (40, 80, 3), dtype=np.uint8), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    return torch.from_numpy(wide[:, 10 + shift:70 + shift].copy())


def sharp(labels, classes=2):
    """Return logits (1, C, H, W) that are certain of labels (H, W)."""
    return 40 * nn.functional.one_hot(labels, classes).permute(2, 0, 1)[None].float()


def full(depth):
    return torch.full((1, 1, *SIZE), depth)
