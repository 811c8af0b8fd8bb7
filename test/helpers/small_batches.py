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

"""Batches, predictions and whole recipes that several tests of the training share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sync_perception.training.objectives.objective import Step
from sync_perception.types import DenseOutput
from tiny_branch import TINY
import torch
import yaml


def batch(**changes):
    """Return two crops, 64x96, without any annotation unless given."""
    torch.manual_seed(1)
    bare = {
        'image': torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8),
        'depth': torch.full((2, 32, 48), float('nan')),
        'focal': torch.tensor([400.0, 400.0]),
        'labels': torch.full((2, 32, 48), 255, dtype=torch.uint8),
        'expert_labels': torch.full((2, 32, 48), 255, dtype=torch.uint8),
        'expert_confidence': torch.ones(2, 32, 48),
        'expert_classes': torch.full((2, 4, 32, 48), 255, dtype=torch.uint8),
        'expert_probabilities': torch.zeros(2, 4, 32, 48, dtype=torch.uint8),
        'normals': torch.full((2, 3, 32, 48), float('nan')),
        'space': ['', ''], 'expert_space': ['cityscapes19'] * 2, 'id': ['a', 'b']}
    return {**bare, **changes}


def annotated_batch():
    """Return two crops with all annotations: the ground before a wall."""
    normals = torch.zeros(2, 3, 32, 48)
    normals[:, 2, :16], normals[:, 1, 16:] = -1, -1
    return batch(
        depth=torch.linspace(4, 40, 32)[None, :, None].expand(2, 32, 48).contiguous(),
        labels=(torch.arange(32) // 16)[None, :, None].expand(2, 32, 48).contiguous(),
        normals=normals, space=['driving', 'driving'])


def output():
    """Return a prediction of 10 m +- 35 % everywhere, facing the camera, equal class scores."""
    return DenseOutput(
        depth=torch.full((2, 1, 32, 48), 10.0, requires_grad=True),
        logits=torch.zeros(2, 20, 32, 48, requires_grad=True),
        log_variance=torch.full((2, 1, 32, 48), -2.1, requires_grad=True),
        normals=torch.tensor([0.0, 0.0, -1.0]).reshape(1, 3, 1, 1).repeat(2, 1, 32, 48)
        .requires_grad_())


def step_of(crops, said=None, depths=None, model=None, number=0):
    """
    Return a training step whose network predicted what is given.

    :param crops: the batch.
    :param said: maps of the size of the batch's targets; None to run the model.
    :param depths: the network's depth at several scales.
    """
    step = Step(model, crops, number)
    if said is not None:
        step.output = said
    if depths is not None:
        step.depths = depths
    return step


def write_streets(root: Path, frames: int = 6, size: tuple[int, int] = (72, 104)) -> Path:
    """Write a drive in the layout of Virtual KITTI 2: a road, some trees, more or less sky."""
    rng = np.random.default_rng(0)
    folder = root / 'Scene01' / 'clone'
    intrinsic = ['frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]']
    for frame in range(frames):
        horizon = 20 + 4 * frame
        colors = np.empty((*size, 3), np.uint8)
        colors[:horizon], colors[horizon:] = (90, 200, 255), (100, 60, 100)
        colors[horizon - 12:horizon, 20:50] = (0, 199, 0)
        depth = np.full(size, 65535, np.uint16)
        depth[horizon:] = (6000 / np.arange(1, size[0] - horizon + 1))[:, None]
        depth[horizon - 12:horizon, 20:50] = 1500
        noise = rng.integers(-20, 21, colors.shape)
        image = (colors.astype(int) + noise).clip(0, 255).astype(np.uint8)
        for kind, ending, name, pixels in (
                ('rgb', 'jpg', 'rgb', image[..., ::-1]), ('depth', 'png', 'depth', depth),
                ('classgt', 'png', 'classSegmentation', colors[..., ::-1])):
            path = folder / 'frames' / name / 'Camera_0' / f'{kind}_{frame:05}.{ending}'
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels)
        intrinsic.append(f'{frame} 0 90 90 52 36')
    (folder / 'intrinsic.txt').write_text('\n'.join(intrinsic))
    return root


def write_recipe(path: Path, streets: Path, **sections: Any) -> Path:
    """
    Write a recipe for a tiny network on streets of `write_streets`: 12 steps, one epoch.

    :param sections: what differs, merged into `trainer`, `model` and `data`.
    """
    recipe: dict[str, Any] = {
        'seed_everything': 3,
        'trainer': {
            'max_epochs': 1, 'accelerator': 'cpu', 'log_every_n_steps': 1, 'devices': 1,
            'enable_progress_bar': False, 'enable_model_summary': False, 'deterministic': True,
            'default_root_dir': str(path.parent),
            'callbacks': [
                {'class_path': 'sync_perception.training.loop.export.ExportAverage',
                 'init_args': {'decay': 0.9, 'every': 100, 'start': 0}},
                {'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint', 'init_args': {
                    'every_n_train_steps': 3, 'save_last': True, 'save_top_k': 0}}]},
        'model': {
            'architecture': 'sync', 'arguments': {'depth': TINY, 'semantics': TINY},
            'input_pixels': 6144, 'canonical_focal': 90.0},
        'data': {
            'samples': 24, 'batch_size': 2, 'crop': [64, 96], 'workers': 0, 'seed': 5,
            'sources': [{'dataset': 'vkitti2', 'root': str(streets), 'split': 'all',
                         'scale': [0.9, 1.2]}]}}
    for name, section in sections.items():
        if isinstance(section, dict):
            recipe[name] = {**recipe[name], **section}
        else:
            recipe[name] = section
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path
