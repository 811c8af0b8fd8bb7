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

"""The student: its errors by hand, what it learns, and the unit of what it learns from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sync_perception.studies.selection.student import (
    nearest_inverse_depth,
    StudentSettings,
    teach,
    to_disparity,
    uncertainties,
)
import torch
from torch import nn

CPU = torch.device('cpu')


class Constant(nn.Module):
    """Says one disparity everywhere."""

    def disparity(self, images_bhw3):
        """Return 0.5 (B, 1, h, w)."""
        return torch.full((len(images_bhw3), 1, *images_bhw3.shape[1:3]), 0.5)


def test_uncertainty_by_hand():
    """1000 times the mean of |log 1.5 - log(1 + d)|, whatever the number of images."""
    inverse = np.zeros((70, 4, 8), np.float16)
    inverse[1], inverse[2, :, :4], inverse[69] = 0.1, 0.4, 0.2
    scores = uncertainties(
        Constant(), np.zeros((70, 4, 8, 3), np.uint8), inverse, 0.2, 1000, CPU)
    expected = np.full(70, 1000 * math.log(1.5))
    expected[1] = 0
    expected[[2, 69]] = [500 * (math.log(1.5) + math.log(2 / 1.5)), 1000 * math.log(2 / 1.5)]
    np.testing.assert_allclose(scores, expected, rtol=2e-3, atol=0.2)


def test_disparity_does_not_depend_on_the_unit():
    """Depth in another unit, or in none, gives the same disparities."""
    rng = np.random.default_rng(0)
    inverse, usable = rng.gamma(2, 0.05, (6, 16, 32)), np.arange(6) > 0
    inverse[0] = 90
    maps = []
    for unit in (1, 8):
        stored = (inverse * unit).astype(np.float16)
        maps.append(to_disparity(stored, nearest_inverse_depth(stored, usable)))
    torch.testing.assert_close(maps[0], maps[1], atol=2e-3, rtol=0)
    assert maps[0].shape == (6, 1, 16, 32) and maps[0].max() == 1
    assert 0.8 < maps[0][1:].quantile(0.985) <= 1


@pytest.fixture(scope='module')
def scenes():
    """Return pictures whose brightness is their inverse depth, the last two the other way."""
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 1, 32)[:, None] * np.ones((1, 64))
    shares = [np.clip(slope * rng.uniform(0.6, 1) + rng.uniform(0, 0.2), 0, 1) for _ in range(10)]
    images = np.stack([np.repeat((255 * share)[..., None], 3, axis=-1) for share in shares])
    inverse = np.stack(shares)
    inverse[8:] = 1 - inverse[8:]
    return images.astype(np.uint8), (0.2 * inverse).astype(np.float16)


def test_a_student_errs_where_things_are_new(scenes):
    """After it learned from some pictures, it is wrong about those that follow another rule."""
    images, inverse = scenes
    student = teach(
        images, inverse, [0, 1, 2, 3], 0.2, StudentSettings(steps=60, batch=4), 1, CPU)
    scores = uncertainties(student, images, inverse, 0.2, 1000, CPU)
    assert scores[4:8].max() < 0.5 * scores[8:].min()


def test_a_seed_gives_one_student(scenes):
    """Torch's own random numbers neither change it nor are changed by it."""
    images, inverse = scenes
    settings = StudentSettings(steps=2, batch=2)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    students = [teach(images, inverse, [0, 5], 0.2, settings, seed, CPU) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (torch.cat([p.flatten() for p in student.parameters()])
                          for student in students)
    assert torch.equal(first, same) and not torch.equal(first, other)
