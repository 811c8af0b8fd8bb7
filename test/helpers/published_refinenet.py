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


"""Light-Weight RefineNet as plain functions on a state dict in the published names."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, interpolate, max_pool2d, relu6

# repeats and stride of layer2 to layer8, channels in and out, expansion: MobileNetV2's table
LAYERS = {
    2: (1, 1, 32, 16, 1), 3: (2, 2, 16, 24, 6), 4: (3, 2, 24, 32, 6), 5: (4, 2, 32, 64, 6),
    6: (3, 1, 64, 96, 6), 7: (3, 2, 96, 160, 6), 8: (1, 1, 160, 320, 6)}
LATERALS = {3: 24, 4: 32, 5: 64, 6: 96, 7: 160, 8: 320}


def published_shapes(classes: int, normals: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a checkpoint, by its published name."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add_unit(name: str, inputs: int, outputs: int, size: int) -> None:
        shapes[f'{name}.0.weight'] = (outputs, inputs, size, size)
        for entry in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{name}.1.{entry}'] = (outputs,)

    add_unit('layer1', 3, 32, 3)
    for layer, (repeats, _, inputs, outputs, expansion) in LAYERS.items():
        for index in range(repeats):
            own = inputs if index == 0 else outputs
            stem = f'layer{layer}.{index}.output'
            add_unit(f'{stem}.0', own, own * expansion, 1)
            add_unit(f'{stem}.1', 1, own * expansion, 3)
            add_unit(f'{stem}.2', own * expansion, outputs, 1)
    shapes |= {f'conv{level}.weight': (256, inputs, 1, 1) for level, inputs in LATERALS.items()}
    shapes |= {f'conv_adapt{level}.weight': (256, 256, 1, 1) for level in (2, 3, 4)}
    for level in (1, 2, 3, 4):
        for index in (1, 2, 3, 4):
            shapes[f'crp{level}.0.{index}_outvar_dimred.weight'] = (
                256, 1 if level == 1 else 256, 1, 1)
    heads = {'depth': 1, 'segm': classes, **({'normal': 3} if normals else {})}
    for name, outputs in heads.items():
        shapes[f'pre_{name}.weight'] = (256, 1, 1, 1)
        shapes[f'{name}.weight'] = (outputs, 256, 3, 3)
        shapes[f'{name}.bias'] = (outputs,)
    return shapes


def random_state(classes: int, normals: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights of the published names that keep the signal at about its size."""
    rng = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in published_shapes(classes, normals).items():
        values = torch.randn(shape, generator=rng)
        if len(shape) == 4:
            values *= (1.5 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif name.endswith(('running_var', '.1.weight')):
            values = 0.5 + torch.rand(shape, generator=rng)
        else:
            values *= 0.3
        state[name] = values
    return state


def published_network(state: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
    """
    Compute what the published implementation gives in evaluation mode.

    :param image: (B, 3, h, w).
    :return: `segm`, `depth` and, if there are weights for them, `normal`, as raw maps.
    """
    def unit(name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f'{name}.0.weight']
        x = conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        return batch_norm(
            x, *(state[f'{name}.1.{entry}']
                 for entry in ('running_mean', 'running_var', 'weight', 'bias')), eps=1e-5)

    def pointwise(name: str, x: Tensor) -> Tensor:
        weight = state[f'{name}.weight']
        return conv2d(x, weight, groups=x.shape[1] // weight.shape[1])

    def pool(level: int, x: Tensor) -> Tensor:
        top = x
        for index in (1, 2, 3, 4):
            top = pointwise(f'crp{level}.0.{index}_outvar_dimred', max_pool2d(top, 5, 1, 2))
            x = top + x
        return x

    def up(level: int, x: Tensor, like: Tensor) -> Tensor:
        x = pointwise(f'conv_adapt{level}', pool(level, x))
        return interpolate(x, size=like.shape[2:], mode='bilinear', align_corners=False)

    x = relu6(unit('layer1', image, 2))
    features = {}
    for layer, (repeats, stride, inputs, outputs, _) in LAYERS.items():
        for index in range(repeats):
            stem, first = f'layer{layer}.{index}.output', index == 0
            y = relu6(unit(f'{stem}.0', x))
            y = relu6(unit(f'{stem}.1', y, stride if first else 1, y.shape[1]))
            y = unit(f'{stem}.2', y)
            keeps = not first or (stride == 1 and inputs == outputs)
            x = y + x if keeps else y
        features[layer] = x
    c = {level: pointwise(f'conv{level}', features[level]) for level in LATERALS}
    x = up(4, relu6(c[8] + c[7]), c[6])
    x = up(3, relu6(c[5] + c[6] + x), c[4])
    x = up(2, relu6(x + c[4]), c[3])
    x = pool(1, relu6(c[3] + x))
    return {
        name: conv2d(relu6(pointwise(f'pre_{name}', x)), state[f'{name}.weight'],
                     state[f'{name}.bias'], padding=1)
        for name in ('segm', 'depth', 'normal') if f'{name}.weight' in state}
