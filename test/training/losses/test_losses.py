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


"""The registries: what they name can be called alike."""

from __future__ import annotations

import pytest
from sync_perception.training.losses import DEPTH_LOSSES, NORMALS_LOSSES, SEMANTIC_LOSSES
import torch
from torch.nn import functional

LOSSES = {'depth': DEPTH_LOSSES, 'semantics': SEMANTIC_LOSSES, 'normals': NORMALS_LOSSES}


def drawn(*shape, seed=0):
    return torch.rand(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.2


def arguments(task):
    """Return a prediction of three samples of the task, and what its losses take besides."""
    valid = drawn(3, 1, 4, 5, seed=2) > 0.4
    if task == 'depth':
        return drawn(3, 1, 4, 5), (drawn(3, 1, 4, 5, seed=1), valid)
    if task == 'normals':
        return drawn(3, 3, 4, 5), (functional.normalize(drawn(3, 3, 4, 5, seed=1), dim=1), valid)
    labels = (drawn(3, 4, 5) * 4).long().clamp(max=3).where(valid[:, 0], 255)
    return drawn(3, 4, 4, 5), (
        labels, torch.eye(4).bool(), drawn(4), drawn(3, 4, 5), torch.ones(3, 4).bool())


@pytest.mark.parametrize(
    'task, name', [(task, name) for task, losses in LOSSES.items() for name in losses])
def test_every_loss_is_a_positive_scalar_that_teaches_the_valid_pixels(task, name):
    predicted, rest = arguments(task)
    predicted.requires_grad_()
    loss = LOSSES[task][name](predicted, *rest)
    loss.backward()
    assert loss.shape == () and loss.item() > 0
    valid = rest[1] if task != 'semantics' else rest[0][:, None] != 255
    learns = (predicted.grad != 0).any(dim=1, keepdim=True)
    assert learns.any() and not (learns & ~valid).any()
