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

"""Contrastive learning: labels of other spaces, the optimiser, and that it learns."""

from __future__ import annotations

import json
import math

import lightning
import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.training.contrastive import ContrastiveLearning, retrieval_accuracy
from sync_perception.training.loop.export import ExportAverage
from sync_perception.training.losses.contrastive import symmetric_info_nce
import torch
from torch.utils.data import DataLoader

pytest.importorskip('transformers')

TOWER = {
    'image_size': 32, 'patch_size': 8, 'hidden_size': 32, 'intermediate_size': 64,
    'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 16}
BATCH = 16


def build(**settings) -> ContrastiveLearning:
    """Build a small module that learns fast, with the same weights each time."""
    torch.manual_seed(0)
    return ContrastiveLearning(**{'tower': TOWER, 'label_space': 'kitti6', **settings})


def draw_pairs(rng: np.random.Generator, count: int = BATCH) -> dict:
    """Draw views of a wall, a car or a tree (a box each) before a road, under the sky."""
    space = LabelSpace.load('kitti6')
    rows = np.arange(32.0)[:, None]
    depth, labels = [], []
    for _ in range(count):
        horizon = rng.integers(8, 20)
        ground = np.broadcast_to(40 / np.clip(rows - horizon, 0.5, None), (32, 32))
        distance = np.where(rows > horizon, ground, np.inf).astype(np.float32)
        ids = np.where(rows > horizon, 0, 1) * np.ones((32, 32), int)
        top, left = rng.integers(0, 16), rng.integers(0, 20)
        box = np.s_[top:top + rng.integers(8, 16), left:left + rng.integers(6, 12)]
        distance[box] = rng.uniform(4, 20)
        ids[box] = rng.integers(2, len(space))
        depth.append(distance[None])
        labels.append(ids.astype(np.uint8))
    return {'depth': torch.from_numpy(np.stack(depth)), 'labels': torch.from_numpy(
        np.stack(labels)), 'space': ['kitti6'] * count, 'id': [''] * count}


def fit(module: ContrastiveLearning, batches: list[dict], validation: list[dict], **settings
        ) -> lightning.Trainer:
    """Train on given batches."""
    trainer = lightning.Trainer(
        max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **settings)
    data = lightning.LightningDataModule()
    data.train_dataloader = lambda: DataLoader(batches, batch_size=None)
    data.val_dataloader = lambda: DataLoader(validation, batch_size=None)
    data.batch_size, data.crop, data.sources = BATCH, (32, 32), []
    trainer.fit(module, datamodule=data)
    return trainer


def test_learning_finds_partners_among_views_never_seen(tmp_path):
    """From chance to far below it in seconds; the exported average is a model folder."""
    rng = np.random.default_rng(0)
    module = build(learning_rate=3e-3, warmup=0.1, shared=False)
    unseen = draw_pairs(rng)
    trainer = fit(
        module, [draw_pairs(rng) for _ in range(150)],
        [unseen, *(draw_pairs(rng) for _ in range(3))],
        callbacks=[ExportAverage(str(tmp_path), decay=0.9, every=60, start=30)])
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged['val/loss'] < 0.75 * math.log(BATCH)
    assert logged['val/labels_found'] > 2 / BATCH
    assert logged['val/depth_found'] > 2 / BATCH
    assert 1 < logged['train/scale'] <= 100

    model = contrastive.load_contrastive(tmp_path)
    probabilities = module.matched_labels(unseen)
    with torch.no_grad():
        partners = model(unseen['depth'], probabilities)
        others = model(unseen['depth'], probabilities.roll(1, dims=0))
    assert partners.mean() > others.mean() + 0.2
    assert json.loads((tmp_path / 'config.json').read_text())['record']['steps'] == 150


def test_the_first_loss_is_about_chance():
    module = build()
    batch = draw_pairs(np.random.default_rng(0))
    similarity = module.model.similarity(batch['depth'], module.matched_labels(batch))
    found = retrieval_accuracy(similarity)
    assert torch.nn.functional.cross_entropy(
        similarity, torch.arange(BATCH)).item() == pytest.approx(math.log(BATCH), rel=0.3)
    assert all(share < 0.5 for share in found)


def test_mirrored_pairs_are_further_pairs():
    """Each map meets the mirror images of both kinds, its own among them, as others."""
    batch = draw_pairs(np.random.default_rng(0), 4)
    module = build(mirrors=True)
    depth = torch.cat([batch['depth'], batch['depth'].flip(3)])
    labels = torch.cat([batch['labels'], batch['labels'].flip(2)])
    similarity = module.model.similarity(depth, labels)
    expected = torch.nn.functional.cross_entropy(similarity, torch.arange(8))
    expected = expected + torch.nn.functional.cross_entropy(similarity.T, torch.arange(8))
    module.log = lambda *_, **__: None
    torch.testing.assert_close(module.training_step(batch, 0), expected / 2)
    module = build()
    module.log = lambda *_, **__: None
    plain = module.model.similarity(batch['depth'], batch['labels'])
    torch.testing.assert_close(
        module.training_step(batch, 0), symmetric_info_nce(plain))


def test_labels_of_several_spaces_in_a_batch():
    """Virtual KITTI 2's buildings may be buildings or walls; Misc is nothing that is known."""
    module = build(label_space='driving')
    coarse, driving = LabelSpace.load('vkitti2'), LabelSpace.load('driving')
    ids = [coarse.index(name) for name in ('Building', 'Van', 'Misc')] + [255]
    labels = torch.tensor([[ids], [[0, 1, 2, 255]]], dtype=torch.uint8)
    matched = module.matched_labels({'labels': labels, 'space': ['vkitti2', 'driving']})
    expected = torch.zeros(2, len(driving), 1, 4)
    expected[0, driving.index('building'), 0, 0] = 0.5
    expected[0, driving.index('wall'), 0, 0] = 0.5
    expected[0, driving.index('car'), 0, 1] = 1
    for index in range(3):
        expected[1, index, 0, index] = 1
    assert torch.equal(matched, expected)


def test_retrieval_is_counted_in_both_directions():
    similarity = torch.tensor([[3.0, 5, 0], [0, 4, 0], [1, 0, 2]])
    # rows 0, 1, 2 pick 1, 1, 2; columns 0, 1, 2 pick 0, 0, 2
    assert [x.item() for x in retrieval_accuracy(similarity)] == pytest.approx([2 / 3, 2 / 3])
    assert [x.item() for x in retrieval_accuracy(torch.eye(3)[[1, 2, 0]])] == [0, 0]


def test_the_temperature_stays_above_a_hundredth():
    module = build()
    module.model.log_scale.data.fill_(7.0)
    module.on_train_batch_end(None, None, 0)
    assert module.model.log_scale.item() == pytest.approx(math.log(100))


def test_the_defaults_are_the_papers():
    """Adam at 5e-5, constant; gains, biases and the temperature do not decay."""
    module = build()
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    decaying, spared = optimizer.param_groups
    assert (decaying['lr'], decaying['betas'], decaying['eps']) == (5e-5, (0.9, 0.98), 1e-6)
    assert (decaying['weight_decay'], spared['weight_decay']) == (0.2, 0)
    assert all(weight.ndim > 1 for weight in decaying['params'])
    assert any(weight is module.model.log_scale for weight in spared['params'])
    learning = sum(len(group['params']) for group in optimizer.param_groups)
    assert learning == len(list(module.parameters())) - 1  # the palette of colours


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="tower.*'large'"):
        build(tower='large')
    with pytest.raises(ValueError, match="no label space 'street'"):
        build(label_space='street')
