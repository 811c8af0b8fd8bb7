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

"""The consistency term: a frozen contrastive model judges what the network says."""

from __future__ import annotations

import pytest
from small_batches import annotated_batch, batch, output, step_of, TINY
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.models.contrastive.dense_clip import ContrastiveConfig, ContrastiveModel
from sync_perception.models.storage.folder import save_folder
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.consistency import ConsistencyConfig
import torch

pytest.importorskip('transformers')

TOWER = {
    'image_size': 32, 'patch_size': 8, 'hidden_size': 32, 'intermediate_size': 64,
    'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 16}


@pytest.fixture(scope='module')
def judge(tmp_path_factory):
    """Save a contrastive model with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('judge')
    save_folder(ContrastiveModel(ContrastiveConfig(
        LabelSpace.load('driving').to_dict(), tower=TOWER)), folder)
    return folder


def learning(folder, **settings):
    module = SynchronisedLearning(
        'sync', {'depth': TINY, 'semantics': TINY},
        objectives=Objectives(consistency=ConsistencyConfig(str(folder), 0.25)), **settings)
    module.objectives['consistency'].prepare(module.model, torch.device('cpu'))
    return module


def judged(module, prediction, crops):
    """Return the terms of the consistency."""
    return module.objectives['consistency'].terms(step_of(crops, prediction))


def test_it_is_one_minus_the_models_own_score_in_metres(judge):
    module = learning(judge)
    prediction = output()
    crops = batch(focal=torch.tensor([200.0, float('nan')]))  # metres halve; camera not known
    terms = judged(module, prediction, crops)
    assert set(terms) == {'consistency'}  # it needs no annotation
    model = contrastive.load_contrastive(judge)
    with torch.no_grad():
        metres = torch.stack([prediction.depth[0] / 2, prediction.depth[1]])
        score = model.score(metres, torch.full((2, 20, 32, 48), 1 / 20))
    torch.testing.assert_close(terms['consistency'].detach(), (1 - score).mean())


def test_it_reaches_both_predictions_and_never_the_judge(judge):
    module = learning(judge)
    prediction = output()
    with torch.no_grad():
        prediction.depth[:, :, 16:] = 5.0
        prediction.logits[:, 0, 16:] = 2.0
    judged(module, prediction, batch())['consistency'].backward()
    assert prediction.depth.grad.abs().sum() > 0
    assert prediction.logits.grad.abs().sum() > 0
    judge_weights = list(module.objectives['consistency'].judge.parameters())
    assert judge_weights and all(weight.grad is None for weight in judge_weights)
    names = [name for name, _ in module.named_parameters()]
    assert not any('judge' in name or 'tower' in name for name in names)


def test_it_counts_with_its_weight(judge):
    module = learning(judge)
    terms = judged(module, output(), annotated_batch())
    weighted = module.objectives['consistency'].by_task(terms)
    assert set(weighted) == {None}  # it is balanced with no task
    torch.testing.assert_close(weighted[None], 0.25 * terms['consistency'])


def test_a_judge_of_another_label_space_is_refused(judge):
    with pytest.raises(ValueError, match="'driving', expected 'kitti6'"):
        learning(judge, label_space='kitti6')


def test_a_missing_judge_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        learning(tmp_path / 'nowhere')
