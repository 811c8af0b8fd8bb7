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


"""Every architecture can learn: on a few drawn streets it gets depth and labels right."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models.network_input import normalise
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.objective import resize_output
from sync_perception.training.objectives.supervised import DepthSupervision, SupervisedConfig
import torch
from torch import Tensor
from zoo import kinds_first, MODEL_ZOO

pytestmark = pytest.mark.timeout(240)

SPACE = LabelSpace.load('driving')
PAINT = {'road': (90, 90, 95), 'sidewalk': (170, 160, 150), 'building': (150, 80, 60),
         'sky': (130, 180, 235), 'car': (30, 40, 120)}
FRAMES = 4
# A branch of convolutions and two transformers; that every weight of every network gets its
# gradient is a test of the models.
QUICK = ('mobile_unet', 'depth_anything_segformer')
MORE_FRAMES = {'mask2former': 8}  # which is at a loss with fewer
CAMERA_HEIGHT = 1.5  # metres; also that of the cars
FOCAL = 0.6  # in widths of the image
SIZE = (64, 96)
# small frames for networks that compute much at every pixel, and need no more
SIZES = {**dict.fromkeys(('unet_resnet', 'unet_convnext', 'unet_vit'), (32, 48)),
         'padnet': (32, 64)}
STEPS, WARM_UP = 400, 5
RATE = 1e-2
RATES = {'refinenet': 1e-3, 'refinenet_all': 1e-3, 'mask2former': 1e-3, 'tipsv2': 2e-3}


def draw_street(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Look along a straight street between two walls, with a car ahead.

    :return: uint8 (h, w, 3), RGB with noise; float32 (h, w), exact depth, metres, inf in the sky;
        uint8 (h, w), ids of `driving`.
    """
    rng = np.random.default_rng(seed)
    (height, width), focal = size, FOCAL * size[1]
    x, y = np.meshgrid((np.arange(width) - (width - 1) / 2) / focal,
                       (np.arange(height) - (height - 1) * rng.uniform(0.4, 0.55)) / focal)
    depth = np.full(size, np.inf)
    labels = np.full(size, SPACE.index('sky'), np.uint8)

    def place(name: str, surface: np.ndarray, extent: np.ndarray) -> None:
        nearer = extent & (surface > 0) & (surface < depth)
        depth[nearer], labels[nearer] = surface[nearer], SPACE.index(name)

    with np.errstate(divide='ignore', invalid='ignore'):
        ground = CAMERA_HEIGHT / y
        place('road', ground, np.abs(x * ground) < 3)
        place('sidewalk', ground, np.abs(x * ground) >= 3)
        for side in (-1, 1):
            wall = side * rng.uniform(6, 9) / x
            place('building', wall, CAMERA_HEIGHT - y * wall < rng.uniform(5, 9))
    distance, centre = rng.uniform(5, 9), rng.uniform(-2, 2)
    rear = (np.abs(x * distance - centre) < 1.5) & (y > 0) & (y * distance < CAMERA_HEIGHT)
    place('car', np.full(size, distance), rear)

    paint = np.zeros((256, 3))
    for name, color in PAINT.items():
        paint[SPACE.index(name)] = color
    haze = np.where(np.isinf(depth), 1, 1.2 - 0.1 * np.log(np.minimum(depth, 100)))
    image = paint[labels] * haze[..., None] + rng.normal(0, 8, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), depth.astype(np.float32), labels


@cache
def streets(size: tuple[int, int], frames: int) -> dict[str, Any]:
    """Return fully annotated frames, as the training step takes them."""
    drawn = zip(*(draw_street(seed, size) for seed in range(frames)))
    image, depth, labels = (torch.from_numpy(np.stack(maps)) for maps in drawn)
    nothing = torch.full((frames, 3, *size), float('nan'))
    return {'image': image, 'depth': depth, 'labels': labels, 'normals': nothing,
            'expert_labels': torch.full_like(labels, SPACE.void),
            'expert_confidence': torch.zeros_like(depth),
            'expert_classes': torch.full((frames, 4, *size), SPACE.void, dtype=torch.uint8),
            'focal': torch.full((frames,), FOCAL * size[1]), 'space': ['driving'] * frames,
            'expert_space': ['cityscapes19'] * frames}


class Pupil:
    """A network of the zoo that learns the streets by heart."""

    def __init__(self, name: str):
        torch.manual_seed(0)
        self.module = SynchronisedLearning(
            *MODEL_ZOO[name](), canonical_focal=None, depth_range=(1.0, 100.0),
            objectives=Objectives(supervised=SupervisedConfig(
                depth=DepthSupervision(max_depth=60.0))))
        self.model = self.module.model.train()
        if name == 'tipsv2':  # whose decoder starts so large that the logits differ by 40
            self.model.network.labels.decoder.head.weight.data.mul_(0.03)
        self.batch = streets(SIZES.get(name, SIZE), MORE_FRAMES.get(name, FRAMES))
        config = self.model.config
        self.image = normalise(self.batch['image'], config.mean, config.std)
        self.rate = RATES.get(name, RATE)
        self.optimiser = torch.optim.Adam(
            [weight for weight in self.model.parameters() if weight.requires_grad])

    def look(self) -> tuple[Tensor, float]:
        """Return the loss of depth and labels, and the share of labels that are right."""
        objective, labels = self.module.objectives['supervised'], self.batch['labels']
        output = resize_output(self.model(self.image), labels.shape[-2:])
        terms, right = [], 1.0
        if output.depth is not None:
            found = objective.depth_terms(output, self.batch)
            terms += [term for name, term in found.items() if name.startswith('depth')]
        if output.logits is not None:
            terms += objective.semantic_terms(output, self.batch).values()
            right = (output.logits.argmax(dim=1) == labels).float().mean().item()
        return torch.stack(terms).sum(), right

    def learn(self, step: int) -> tuple[float, float]:
        """Take a step of Adam; return loss and share of right labels before it."""
        for group in self.optimiser.param_groups:
            group['lr'] = self.rate * min(1, (step + 1) / WARM_UP, 2 * (1 - step / STEPS))
        loss, right = self.look()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item(), right


@pytest.mark.parametrize('name', kinds_first(MODEL_ZOO, QUICK))
def test_it_learns_streets_by_heart(name):
    """The loss falls to a fifth and more than 90 of 100 labels are right."""
    pupil = Pupil(name)
    first, right = pupil.learn(0)
    loss = first
    for step in range(1, STEPS):
        loss, right = pupil.learn(step)
        if loss < first / 5 and right > 0.9:
            break
    print(f'{name}: {first:.3f} -> {loss:.3f} in {step} steps, {right:.1%} right')
    assert loss < first / 5, f'{first:.3f} -> {loss:.3f} in {STEPS} steps'
    assert right > 0.9


def test_the_streets_are_what_they_seem():
    """The road's depth is the camera's height over the ray's slope; the walls stand upright."""
    _, depth, labels = draw_street(0, SIZE)
    road = labels[-1] == SPACE.index('road')
    assert road.sum() > 10
    assert np.ptp(depth[-1, road]) == 0
    rows, columns = np.nonzero(labels == SPACE.index('building'))
    for column in np.unique(columns):
        assert np.ptp(depth[rows[columns == column], column]) < 1e-4
    assert np.isinf(depth[labels == SPACE.index('sky')]).all()
