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

"""Trainings without labels: they learn depth, resume, and say whether it is in metres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from small_batches import annotated_batch, TINY, write_recipe, write_streets
from sync_perception.datasets.vkitti2 import VirtualKitti2
from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.models import hub
from sync_perception.models.config import ModelConfig
from sync_perception.street_world import write_vkitti2
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.camera_motion import PoseConfig
from sync_perception.training.objectives.self_supervised import SelfSupervisedConfig
from sync_perception.training.objectives.supervised import DepthSupervision, SupervisedConfig
from sync_perception.training.train import train
import torch
import yaml

DEPTH_ALONE = {'architecture': 'sync', 'arguments': {'depth': TINY, 'semantics': None},
               'canonical_focal': 90.0, 'depth_range': [1.0, 100.0]}
NO_TRUE_DEPTH = {'depth': {'weight': 0.0}}
POSE = {'pose': {'backbone': 'resnet18'}, 'scales': 2}
NEIGHBOURS = {'neighbours': [-1, 1], 'samples': 12}


@pytest.fixture(scope='module')
def streets(tmp_path_factory) -> Path:
    """Write drawn streets: without poses."""
    return write_streets(tmp_path_factory.mktemp('streets'))


@pytest.fixture(scope='module')
def drive(tmp_path_factory) -> Path:
    """Write two seconds of a rendered drive, with poses."""
    return write_vkitti2(tmp_path_factory.mktemp('drive'), worlds=1, frames=20, height=96,
                         width=320, seed=3)


def run(folder: Path, streets: Path, supervision: dict[str, Any],
        model: dict[str, Any] | None = None, arguments: tuple[str, ...] = (),
        supervised: dict[str, Any] = NO_TRUE_DEPTH, **sections: Any):
    """Train a tiny depth network without labels, in a folder of its own."""
    data = {**NEIGHBOURS, **sections.pop('data', {})}
    recipe = write_recipe(
        folder / 'recipe.yaml', streets, data=data,
        model={**DEPTH_ALONE, **(model or {}), 'objectives': {
            'supervised': supervised, 'self_supervised': supervision}}, **sections)
    return train(['--config', str(recipe), *arguments])


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / 'model' / 'config.json').read_text())


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / 'checkpoints' / 'last.ckpt', weights_only=False)


def test_a_pose_network_learns_and_is_saved_but_not_exported(streets, tmp_path):
    run(tmp_path, streets, POSE, data={'samples': 6})
    saved = last(tmp_path)
    for key in ('current_model_state', 'state_dict'):
        assert any('beside.self_supervised.pose.encoder' in name for name in saved[key])
    exported = load_file(tmp_path / 'model' / 'model.safetensors')
    assert exported and not any('pose' in name for name in exported)
    torch.manual_seed(0)
    fresh = SynchronisedLearning(**DEPTH_ALONE, objectives=Objectives(
        self_supervised=SelfSupervisedConfig(pose=PoseConfig(), scales=2)))
    moved = [not torch.equal(weight, saved['current_model_state'][f'beside.{name}'])
             for name, weight in fresh.beside.named_parameters()]
    assert moved and all(moved)


@pytest.mark.exhaustive  # test_resume resumes the state of another objective
def test_a_pose_network_is_resumed(streets, tmp_path):
    """Interrupted in its fourth step, one after its last checkpoint, it ends as it would have."""
    whole = run(tmp_path / 'whole', streets, POSE)
    broken = tmp_path / 'broken'
    recipe = write_recipe(broken / 'first.yaml', streets, data=NEIGHBOURS, model={
        **DEPTH_ALONE, 'objectives': {'supervised': NO_TRUE_DEPTH, 'self_supervised': POSE}})
    description = yaml.safe_load(recipe.read_text())
    description['trainer']['callbacks'].append(
        {'class_path': 'interruption.Fail', 'init_args': {'step': 4}})
    recipe.write_text(yaml.safe_dump(description))
    with pytest.raises(InterruptedError):
        train(['--config', str(recipe)])
    resumed = run(broken, streets, POSE, arguments=('--ckpt_path', 'last'))
    assert resumed.trainer.global_step == whole.trainer.global_step == 6
    first, second = last(tmp_path / 'whole'), last(broken)
    for key in ('current_model_state', 'state_dict'):
        for name, weight in first[key].items():
            assert torch.equal(weight, second[key][name]), name
    exported = load_file(broken / 'model' / 'model.safetensors')
    for name, weight in load_file(tmp_path / 'whole' / 'model' / 'model.safetensors').items():
        assert torch.equal(weight, exported[name]), name


def test_rates_of_the_pose_network_are_its_own(streets, tmp_path):
    cli = run(tmp_path, streets, {'pose': {'backbone': 'resnet18', 'learning_rate': 7e-5}},
              data={'samples': 2}, model={'optimizer': {'learning_rate': 1e-3}})
    groups = cli.trainer.optimizers[0].param_groups
    pose = {id(weight) for weight in cli.model.beside.parameters()}
    rates = {group['initial_lr'] for group in groups if {id(w) for w in group['params']} & pose}
    assert rates == {7e-5}
    assert all({id(w) for w in group['params']} <= pose for group in groups
               if group['initial_lr'] == 7e-5)


CASES = {
    'from video alone': ('streets', POSE, NO_TRUE_DEPTH, []),
    'by known poses': ('drive', {'known_poses': True, 'scales': 1}, NO_TRUE_DEPTH, ['poses']),
    'by the camera height': ('streets', {**POSE, 'camera_height': 0.67}, NO_TRUE_DEPTH,
                             ['camera height']),
    'by some true depth': ('streets', POSE, {}, ['depth']),
    'by depth that is known up to a factor': (
        'streets', POSE, {'depth': {'losses': {'scale_shift_invariant': 1.0}}}, []),
    'by poses that are not known': (
        'streets', {**POSE, 'known_poses': True}, NO_TRUE_DEPTH, []),
}


@pytest.mark.parametrize('name', CASES)
def test_the_config_says_whether_depth_is_metric_and_by_what(name, request, tmp_path):
    recordings, supervision, supervised, scale_from = CASES[name]
    metric = bool(scale_from)
    root = request.getfixturevalue(recordings)
    crop = [32, 96]
    cli = run(tmp_path, root, supervision, supervised=supervised,
              data={'samples': 2, 'batch_size': 2, 'crop': crop})
    assert config_of(tmp_path)['metric'] is metric
    assert config_of(tmp_path)['scale_from'] == scale_from
    assert hub.load(tmp_path / 'model').config.metric is metric
    assert last(tmp_path)['metric'] is metric if (tmp_path / 'checkpoints').exists() else True
    assert 'train/photometric' in cli.trainer.callback_metrics
    assert 'train/smooth_disparity' in cli.trainer.callback_metrics


def test_bare_frames_with_a_focal_length_are_enough(streets, tmp_path):
    """Nothing but images: the focal lengths seen are known, how long a metre is, is not."""
    frames = {'dataset': 'frames', 'root': str(streets / 'Scene01' / 'clone' / 'frames' / 'rgb'),
              'split': 'all', 'focal': [90, 108], 'arguments': {'fx': 90}}
    cli = run(tmp_path, streets, POSE, data={'samples': 4, 'sources': [frames]})
    assert torch.isfinite(cli.trainer.callback_metrics['train/photometric'])
    config = config_of(tmp_path)
    assert config['metric'] is False
    assert 90 <= config['focal_range'][0] <= config['focal_range'][1] <= 108


def test_without_self_supervision_depth_is_metric_as_ever():
    for settings, metric in (
            ({}, True), ({'weight': 0.0}, True),
            ({'losses': {'scale_shift_invariant': 1.0}}, False)):
        module = SynchronisedLearning(
            'sync', {'depth': TINY, 'semantics': None}, objectives=Objectives(
                supervised=SupervisedConfig(depth=DepthSupervision(**settings))))
        assert module.model.config.metric is metric


def test_older_configs_are_metric(small_model):
    config = json.loads((small_model / 'config.json').read_text())
    config.pop('metric'), config.pop('scale_from')
    older = ModelConfig.from_dict(config)
    assert older.metric and older.scale_from == []


def test_data_without_neighbours_is_refused(streets, tmp_path):
    with pytest.raises(ValueError, match='self_supervised.*neighbours'):
        run(tmp_path / 'a', streets, POSE, data={'neighbours': None})
    with pytest.raises(ValueError, match=r'\[-1, 1\]'):
        run(tmp_path / 'b', streets, {})
    with pytest.raises(ValueError, match='neighbours'):
        run(tmp_path / 'c', streets, POSE, data={'neighbours': None, 'stereo': True})
    with pytest.raises(ValueError, match='vkitti2'):
        run(tmp_path / 'd', streets, POSE, data={'stereo': True})


def test_known_poses_that_nobody_knows_are_refused_before_the_first_step(
        streets, tmp_path, caplog):
    """Where a network can estimate them, that is said instead."""
    message = (r'known_poses: true, but no sample of vkitti2 .* has a pose and one at \[-1, 1\]: ')
    with pytest.raises(ValueError, match=message + 'expected data with poses, or a network'):
        run(tmp_path / 'a', streets, {'known_poses': True})
    assert not (tmp_path / 'a' / 'model').exists()
    run(tmp_path / 'b', streets, {**POSE, 'known_poses': True}, data={'samples': 2})
    assert 'has a pose and one at [-1, 1]: the pose network estimates all of them' in caplog.text


def test_labels_and_video_teach_together(streets, tmp_path):
    """In one network, aligned and ranked, in 16 bits on this device: each term is there."""
    cli = run(
        tmp_path, streets, POSE,
        model={'arguments': {'depth': TINY, 'semantics': TINY, 'alignment': True},
               'label_space': 'vkitti2'},
        supervised={**NO_TRUE_DEPTH, 'ranking': {'weight': 0.5}},
        data={'samples': 4}, trainer={
            'precision': 'bf16-mixed', 'max_epochs': 1, 'accelerator': 'cpu', 'devices': 1,
            'log_every_n_steps': 1, 'enable_progress_bar': False, 'enable_model_summary': False,
            'default_root_dir': str(tmp_path)})
    metrics = cli.trainer.callback_metrics
    for name in ('photometric', 'smooth_disparity', 'semantics/cross_entropy', 'ranking', 'total'):
        assert torch.isfinite(metrics[f'train/{name}'])
    weights = cli.model.objectives['self_supervised'].weights
    assert weights['photometric'] == 1 and weights['smooth_disparity'] == 1e-3
    expected = (metrics['train/photometric'] + 1e-3 * metrics['train/smooth_disparity']
                + metrics['train/semantics/cross_entropy'] + 0.5 * metrics['train/ranking'])
    assert 'coupling/semantics_to_depth_gain/0' in metrics
    assert min(cli.model.model.network.coupling_norms()['semantics_to_depth_gain']) > 0
    assert config_of(tmp_path)['metric'] is False
    torch.testing.assert_close(metrics['train/total'], expected, rtol=1e-4, atol=1e-5)


def test_a_batch_without_neighbours_still_gives_every_weight_a_gradient():
    """Processes that learn together wait for each other's gradients of every weight."""
    module = SynchronisedLearning(
        'sync', {'depth': TINY, 'semantics': TINY},
        objectives=Objectives(self_supervised=SelfSupervisedConfig(pose=PoseConfig())))
    module.log_step = lambda *_: None
    alone = {
        'neighbours': torch.zeros(2, 2, 64, 96, 3, dtype=torch.uint8),
        'neighbour_there': torch.zeros(2, 2, dtype=torch.bool),
        'neighbour_offset': torch.tensor([[-1, 1]] * 2),
        'neighbour_pose': torch.full((2, 2, 4, 4), torch.nan), 'K': torch.full((2, 3, 3), 1.0)}
    module.training_step({**annotated_batch(), **alone}, 0).backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
    assert 'photometric' not in module.terms


@pytest.mark.exhaustive  # single streets do so in the tests of the objective
@pytest.mark.timeout(480)
def test_a_drive_teaches_depth_without_any_label(drive, tmp_path):
    """Known poses: median-scaled abs rel falls clearly below that of a constant depth."""
    data = {'samples': 240, 'crop': [64, 192], 'stride': 2,
            'sources': [{'dataset': 'vkitti2', 'root': str(drive), 'split': 'all',
                         'scale': [0.67, 0.67]}]}
    cli = run(tmp_path, drive, {'known_poses': True, 'scales': 1}, data=data, model={
        'optimizer': {'learning_rate': 1e-2, 'encoder_learning_rate': 1e-2},
        'canonical_focal': 100.0, 'input_pixels': 64 * 214, 'photometric': False})
    assert 'train/photometric' in cli.trainer.callback_metrics
    samples = VirtualKitti2(drive)
    true = [sample.depth[np.isfinite(sample.depth) & (sample.depth < 80)] for sample in samples]
    constant = np.mean([np.mean(abs(np.median(depth) / depth - 1)) for depth in true])
    learned = Evaluation(hub.load(tmp_path / 'model'), None, DepthMetrics(median_scaling=True))
    metric = Evaluation(hub.load(tmp_path / 'model'), None, DepthMetrics())
    for sample in samples:
        learned.add(sample, None)
        metric.add(sample, None)
    assert learned.scores()['abs_rel'] < 0.7 * constant
    assert metric.scores()['abs_rel'] < constant  # the poses say how long a metre is
