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

"""The score of a prediction against the training's own computation, and what it tells apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive.dense_clip import ContrastiveConfig, ContrastiveModel
from sync_perception.models.storage.folder import save_folder
from sync_perception.runtime.consistency import ConsistencyScorer, windows
from sync_perception.training.contrastive import ContrastiveLearning
from sync_perception.training.losses.contrastive import symmetric_info_nce
from sync_perception.types import Frame, Prediction
import torch

pytest.importorskip('transformers')

TOWER = {
    'image_size': 32, 'patch_size': 8, 'hidden_size': 32, 'intermediate_size': 64,
    'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 16}
KITTI6, DRIVING = LabelSpace.load('kitti6'), LabelSpace.load('driving')
BATCH, STEPS = 16, 200


def scene(rng: np.random.Generator, size: tuple[int, int] = (32, 32)) -> Prediction:
    """Draw a box before a road under the sky as a predictor would see it, in `kitti6`."""
    rows = np.arange(float(size[0]))[:, None] * np.ones(size)
    horizon = rng.integers(size[0] // 4, size[0] * 5 // 8)
    depth = np.where(rows > horizon, 40 / np.clip(rows - horizon, 0.5, None), np.nan)
    labels = np.where(rows > horizon, KITTI6.index('road'), KITTI6.index('sky')).astype(np.uint8)
    top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] * 5 // 8)
    box = np.s_[top:top + rng.integers(8, 16), left:left + rng.integers(6, 12)]
    depth[box] = rng.uniform(4, 20)
    labels[box] = rng.integers(2, len(KITTI6))
    return Prediction(depth=depth.astype(np.float32), labels=labels)


def frame_of(prediction: Prediction) -> Frame:
    """Return a frame of a prediction's size."""
    height, width = prediction.depth.shape
    K = np.array([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]])
    return Frame(np.zeros((height, width, 3), np.uint8), K)


def as_batch(predictions: list[Prediction], space: str = 'kitti6') -> dict:
    """Return predictions as the training's batches hold true maps: sky is infinitely far."""
    depth = np.stack([p.depth for p in predictions])
    return {
        'depth': torch.from_numpy(np.where(np.isnan(depth), np.float32('inf'), depth))[:, None],
        'labels': torch.from_numpy(np.stack([p.labels for p in predictions])),
        'space': [space] * len(predictions)}


@pytest.fixture(scope='module')
def learned() -> ContrastiveLearning:
    """Teach a small model for a few seconds which maps belong together."""
    torch.manual_seed(0)
    learning = ContrastiveLearning('kitti6', TOWER, shared=False)
    optimizer = torch.optim.AdamW(learning.model.parameters(), 2e-3)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = as_batch([scene(rng) for _ in range(BATCH)])
        similarity = learning.model.similarity(batch['depth'], learning.matched_labels(batch))
        optimizer.zero_grad()
        symmetric_info_nce(similarity).backward()
        optimizer.step()
    return learning.eval()


@pytest.fixture(scope='module')
def folder(learned, tmp_path_factory):
    """Save the model as the training's export does."""
    learned.model.config.record = {'crop': [32, 32]}
    path = tmp_path_factory.mktemp('contrastive')
    save_folder(learned.model, path)
    return path


@pytest.fixture(scope='module')
def scorer(folder) -> ConsistencyScorer:
    """Load it."""
    return ConsistencyScorer(folder, device='cpu')


def test_the_score_is_the_trainings_own(learned, scorer):
    rng = np.random.default_rng(7)
    predictions = [scene(rng) for _ in range(4)]
    batch = as_batch(predictions)
    with torch.no_grad():
        expected = learned.model.score(batch['depth'], learned.matched_labels(batch))
    found = [scorer.score(p, frame_of(p), KITTI6) for p in predictions]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_matching_maps_score_higher_than_those_of_other_views(scorer):
    rng = np.random.default_rng(8)
    views = [scene(rng) for _ in range(24)]
    mixed = [replace(a, labels=b.labels) for a, b in zip(views, views[1:] + views[:1])]
    fitting, foreign = (
        np.mean([scorer.score(p, frame_of(p), KITTI6) for p in maps]) for maps in (views, mixed))
    assert fitting > foreign + 0.1


def test_labels_of_another_space_are_matched_as_in_training(learned, scorer):
    """A guard rail is nothing that `kitti6` knows: void to both."""
    rng = np.random.default_rng(9)
    labels = rng.integers(0, len(DRIVING), (32, 32)).astype(np.uint8)
    labels[0] = 255
    prediction = replace(scene(rng), labels=labels)
    batch = as_batch([prediction], 'driving')
    with torch.no_grad():
        [expected] = learned.model.score(batch['depth'], learned.matched_labels(batch)).tolist()
    found = scorer.score(prediction, frame_of(prediction), DRIVING)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found != pytest.approx(scorer.score(prediction, frame_of(prediction), KITTI6), abs=1e-3)


def test_a_wide_image_is_judged_in_windows_of_the_crops_shape(scorer):
    rng = np.random.default_rng(10)
    wide = scene(rng, (32, 80))
    parts = [Prediction(depth=wide.depth[:, s], labels=wide.labels[:, s])
             for s in (slice(0, 32), slice(24, 56), slice(48, 80))]
    expected = np.mean([scorer.score(part, frame_of(part), KITTI6) for part in parts])
    assert scorer.score(wide, frame_of(wide), KITTI6) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(('size', 'shape', 'expected'), [
    ((375, 1242), (224, 224), [(0, 375, left, left + 375) for left in (0, 289, 578, 867)]),
    ((480, 640), (1, 1), [(0, 480, 0, 480), (0, 480, 160, 640)]),
    ((640, 480), (1, 1), [(0, 480, 0, 480), (160, 640, 0, 480)]),
    ((100, 105), (1, 1), [(0, 100, 2, 102)]),
    ((1, 1), (256, 416), [(0, 1, 0, 1)]),
    ((512, 832), (256, 416), [(0, 512, 0, 832)])])
def test_windows_cover_the_image(size, shape, expected):
    found = [(r.start, r.stop, c.start, c.stop) for r, c in windows(size, shape)]
    assert found == expected


def test_maps_that_are_missing_or_of_another_size(scorer):
    whole = scene(np.random.default_rng(0))
    for spoiled, name in (
            (replace(whole, depth=None), 'depth'), (replace(whole, labels=None), 'labels'),
            (replace(whole, labels=whole.labels[1:]), 'labels')):
        with pytest.raises(ValueError, match=f'{name}'):
            scorer.score(spoiled, frame_of(whole), KITTI6)


def test_label_spaces_without_relation(scorer, tmp_path):
    whole = scene(np.random.default_rng(0))
    kitchen = LabelSpace.from_dict({'name': 'kitchen', 'classes': [
        {'name': 'oven', 'color': [1, 2, 3]}, {'name': 'pan', 'color': [4, 5, 6]}]})
    with pytest.raises(ValueError, match="'kitchen'"):
        scorer.score(whole, frame_of(whole), kitchen)
    roads = LabelSpace.from_dict({'name': 'roads', 'classes': [
        {'name': 'guard rail', 'color': [1, 2, 3], 'driving': ['guard rail']}]})
    save_folder(ContrastiveModel(ContrastiveConfig(roads.to_dict(),
                                                   tower=TOWER)), tmp_path)
    bare = LabelSpace.from_dict({'name': 'bare', 'classes': [
        {'name': 'sky', 'color': [1, 2, 3], 'driving': ['sky']}]})
    with pytest.raises(ValueError, match="'bare'.*'roads'"):
        ConsistencyScorer(tmp_path, 'cpu').score(whole, frame_of(whole), bare)


def test_folders_that_hold_no_contrastive_model(small_model, tmp_path):
    with pytest.raises(ValueError, match='contrastive model.*unknown keys'):
        ConsistencyScorer(small_model, 'cpu')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        ConsistencyScorer(tmp_path / 'nowhere', 'cpu')
    with pytest.raises(ValueError, match='device must be'):
        ConsistencyScorer(tmp_path, 'tpu')
