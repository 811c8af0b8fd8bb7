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

"""Evaluation with models whose answers are known, so that the scores are known by hand."""

from __future__ import annotations

from dataclasses import replace
import json
import math
from pathlib import Path

from constant import constant_model
import cv2
import numpy as np
import pytest
from sync_perception.datasets import DatasetOptions, DATASETS
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions, print_evaluation
from sync_perception.evaluation.metrics import DepthMetrics, SegmentationMetrics
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.evaluation.shared_classes import share_classes
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.config import ModelConfig
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import DenseOutput, Frame
import torch
from torch import nn

K = np.array([[200.0, 0, 31.5], [0, 200.0, 31.5], [0, 0, 1]])


class KnownModel(nn.Module):
    """A model that gives the same answer to every image."""

    device = torch.device('cpu')

    def __init__(self, output: DenseOutput, space: str = 'driving'):
        super().__init__()
        self.labels = LabelSpace.load(space)
        self.config = ModelConfig(
            'known', {}, self.labels.to_dict(), input_pixels=32 * 32, canonical_focal=50.0)
        self.output = output
        self.seen: list[torch.Tensor] = []

    def forward(self, image_b3hw: torch.Tensor) -> DenseOutput:
        """Remember the image and give the answer."""
        self.seen.append(image_b3hw)
        return self.output


def logits_of(probabilities: dict[str, float], size: tuple[int, int] = (2, 2)) -> torch.Tensor:
    """Make logits of the driving space with these probabilities everywhere, the rest nearly 0."""
    space = LabelSpace.load('driving')
    values = torch.full((len(space),), 1e-9)
    for name, probability in probabilities.items():
        values[space.index(name)] = probability
    return values.log()[None, :, None, None].expand(1, -1, *size)


def sample_of(labels=None, depth=None, intrinsics=K) -> Sample:
    """Make a 64 x 64 sample with one value everywhere."""
    return Sample(
        id='one', image=np.full((64, 64, 3), 255, np.uint8), K=intrinsics,
        labels=None if labels is None else np.full((64, 64), labels, np.uint8),
        depth=None if depth is None else np.full((64, 64), depth, np.float32))


def test_camvid_is_scored_in_its_eleven_classes():
    """All 20 driving classes fall into one of the 11, each into its own."""
    driving, camvid = LabelSpace.load('driving'), LabelSpace.load('camvid11')
    classes = share_classes(driving, camvid)
    assert classes.names == camvid.names
    assert classes.members.sum(dim=0).tolist() == [1.0] * 20
    assert classes.table[:11].tolist() == list(range(11))
    assert set(classes.table[11:]) == {255}
    assert classes.not_scored == ()
    car = classes.members[camvid.index('car')].bool().tolist()
    assert [name for name, is_car in zip(driving.names, car) if is_car] == [
        'car', 'truck', 'bus', 'train']


def test_classes_that_cannot_be_told_apart_are_merged():
    """Virtual KITTI's trees and bushes are one, its cars and vans too, and Misc is left out."""
    vkitti = LabelSpace.load('vkitti2')
    classes = share_classes(LabelSpace.load('driving'), vkitti)
    assert 'Tree|Vegetation' in classes.names
    assert 'Car|Van' in classes.names
    assert len(classes.names) == 11
    assert classes.not_scored == ('Misc',)
    assert set(classes.unmatched) == {'person', 'rider', 'train', 'motorcycle', 'bicycle'}
    for group, name in enumerate(classes.names):
        for member in name.split('|'):
            assert classes.table[vkitti.index(member)] == group
    assert classes.table[vkitti.index('Misc')] == 255


def test_chains_of_correspondence_become_one_group():
    """A wider class on either side pulls in all that touches it."""
    def space(name, **pivots):
        return LabelSpace.from_dict({'name': name, 'classes': [
            {'name': key, 'color': [0, 0, 0], 'driving': value} for key, value in pivots.items()]})

    ours = space('ours', a=['road', 'sidewalk'], b=['terrain', 'vegetation'], c=['sky'])
    theirs = space('theirs', x=['sky'], y=['road'], z=['sidewalk', 'terrain'], w=['car'])
    classes = share_classes(ours, theirs)
    assert classes.names == ('x', 'y|z')
    assert classes.members.tolist() == [[0, 0, 1], [1, 1, 0]]
    assert classes.table[:4].tolist() == [0, 1, 1, 255]
    assert classes.not_scored == ('w',)
    with pytest.raises(ValueError, match='share no class'):
        share_classes(ours, space('none', w=['car']))


def test_same_space_is_scored_class_by_class():
    """Nothing is merged or left out."""
    space = LabelSpace.load('kitti6')
    classes = share_classes(space, space)
    assert classes.names == space.names
    assert torch.equal(classes.members, torch.eye(6))


def test_the_summed_probability_decides():
    """Building 0.25 + wall 0.2 beat vegetation 0.4, though vegetation alone is greatest."""
    camvid = LabelSpace.load('camvid11')
    model = KnownModel(DenseOutput(logits=logits_of(
        {'vegetation': 0.4, 'building': 0.25, 'wall': 0.2, 'sky': 0.15})))
    evaluation = Evaluation(model, camvid)
    evaluation.add(sample_of(labels=camvid.index('building')))
    scores = evaluation.scores()
    assert scores['miou'] == 1.0
    assert scores['pixel_accuracy'] == 1.0
    assert scores['iou'] == {name: 1.0 if name == 'building' else None for name in camvid.names}


def test_a_head_over_two_data_sets_is_scored_in_the_classes_of_one():
    """However loudly the other's classes shout: no gradient ever taught them to be quiet here."""
    kitti = LabelSpace.load('kitti6')
    logits = torch.zeros(1, 46, 2, 2)
    logits[:, :40] = 1000
    logits[:, 40 + kitti.index('car')] = 1
    evaluation = Evaluation(KnownModel(DenseOutput(logits=logits), 'nyud40+kitti6'), kitti)
    evaluation.add(sample_of(labels=kitti.index('car')))
    assert evaluation.scores()['pixel_accuracy'] == 1.0
    assert len(evaluation.protocol()['model_classes_without_truth']) == 40


def test_scores_over_frames_by_hand():
    """Left half road, right half sky, on four kinds of truth: one matrix over all."""
    camvid = LabelSpace.load('camvid11')
    road, sky, car = (camvid.index(name) for name in ('road', 'sky', 'car'))
    logits = torch.cat([logits_of({'road': 1.0}, (64, 32)), logits_of({'sky': 1.0}, (64, 32))], 3)
    evaluation = Evaluation(KnownModel(DenseOutput(logits=logits)), camvid)
    for truth in (road, sky, car, 255):
        evaluation.add(sample_of(labels=truth))
    half = 64 * 32
    scores = evaluation.scores()
    assert scores['pixel_accuracy'] == pytest.approx(2 / 6)
    assert scores['iou']['road'] == pytest.approx(half / (5 * half - half))
    assert scores['iou']['sky'] == pytest.approx(1 / 4)
    assert scores['iou']['car'] == 0.0
    assert scores['iou']['tree'] is None
    assert scores['miou'] == pytest.approx((1 / 4 + 1 / 4 + 0) / 3)
    assert evaluation.protocol()['labelled_frames'] == 4


def test_unscored_classes_are_void():
    """Pixels of Virtual KITTI's Misc count neither as right nor as wrong."""
    vkitti = LabelSpace.load('vkitti2')
    evaluation = Evaluation(KnownModel(DenseOutput(logits=logits_of({'road': 1.0}))), vkitti)
    for name in ('Misc', 'Road'):
        evaluation.add(sample_of(labels=vkitti.index(name)))
    assert evaluation.scores()['pixel_accuracy'] == 1.0
    assert evaluation.segmentation.confusion.sum() == 64 * 64
    assert evaluation.protocol()['classes_not_scored'] == ['Misc']


def test_depth_is_measured_in_metres_of_the_camera():
    """Focal length 200 at 64 pixels is 100 at 32: twice the canonical 50, so 5 m mean 10 m."""
    model = KnownModel(DenseOutput(depth=torch.full((1, 1, 16, 16), 5.0)))
    evaluation = Evaluation(model, None)
    evaluation.add(sample_of(depth=8.0))
    assert model.seen[0].shape == (1, 3, 32, 32)
    assert model.seen[0].allclose(torch.ones(1))  # white is (1 - 0.5) / 0.5
    scores = evaluation.scores()
    assert scores['abs_rel'] == pytest.approx(2 / 8, rel=1e-6)
    assert scores['rmse'] == pytest.approx(2.0, rel=1e-6)
    assert scores['rmse_log'] == pytest.approx(math.log(10 / 8), rel=1e-6)
    assert set(scores) == {*DepthMetrics.NAMES, 'boundary_f1'}


def test_depth_is_enlarged_bilinearly():
    """Between pixel centres the prediction rises in a straight line: cv2's own answer."""
    small = np.random.default_rng(0).uniform(2, 6, (16, 16)).astype(np.float32)
    model = KnownModel(DenseOutput(depth=torch.from_numpy(small)[None, None]))
    truth = 2 * cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR)
    evaluation = Evaluation(model, None)
    evaluation.add(Sample(id='one', image=np.zeros((64, 64, 3), np.uint8), K=K, depth=truth))
    assert evaluation.scores()['rmse'] == pytest.approx(0, abs=1e-4)


def test_depth_without_intrinsics_is_not_scored():
    """Metres need a focal length: the frame is counted and said to be left out."""
    evaluation = Evaluation(KnownModel(DenseOutput(depth=torch.ones(1, 1, 16, 16))), None)
    evaluation.add(sample_of(depth=8.0, intrinsics=None))
    assert evaluation.scores() == {}
    assert evaluation.protocol()['frames_without_intrinsics'] == 1


def test_normals_and_uncertainty_are_measured_where_model_and_sample_have_them():
    """Depth is wrong by ln(10/8) = 0.22, normals by 60 degrees on half of the image."""
    normals = torch.tensor([0.0, math.sin(math.pi / 3), -0.5]).reshape(1, 3, 1, 1)
    output = DenseOutput(
        depth=torch.full((1, 1, 16, 16), 5.0), normals=normals.expand(1, 3, 16, 16),
        log_variance=torch.full((1, 1, 16, 16), 2 * math.log(0.15)))
    evaluation = Evaluation(KnownModel(output), None)
    evaluation.add(sample_of(depth=8.0))
    assert 'normals_mean' not in evaluation.scores()
    truth = np.full((64, 64, 3), np.nan, np.float32)
    truth[:32] = (0, 0, -1)
    evaluation.add(replace(sample_of(), normals=truth))
    scores = evaluation.scores()
    assert scores['normals_mean'] == pytest.approx(60)
    assert scores['normals_median'] == pytest.approx(60, abs=0.01)
    assert scores['normals_within_30'] == 0
    assert scores['depth_within_1_sigma'] == 0
    assert scores['depth_within_2_sigma'] == 1
    assert '1 frames' in evaluation.protocol()['normals']
    bare = Evaluation(KnownModel(DenseOutput(depth=torch.ones(1, 1, 16, 16))), None)
    bare.add(replace(sample_of(depth=8.0), normals=truth))
    assert set(bare.scores()) == {*DepthMetrics.NAMES, 'boundary_f1'}


def test_a_network_without_labels_is_measured_on_any_label_space():
    """Its own names do not matter; with labels they would."""
    space = LabelSpace.from_dict(
        {'name': 'other', 'classes': [{'name': 'x', 'color': [0, 0, 0], 'driving': []}]})
    depth = torch.full((1, 1, 16, 16), 4.0)
    evaluation = Evaluation(KnownModel(DenseOutput(depth=depth)), space)
    evaluation.add(sample_of(depth=8.0, labels=0))
    assert evaluation.scores()['abs_rel'] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match='share no class'):
        Evaluation(KnownModel(DenseOutput(logits=logits_of({'road': 1.0}))), space).add(
            sample_of(labels=0))


def write_camvid(root: Path, truths: list[int]) -> None:
    """Write one training frame a truth, with that label everywhere."""
    for folder in ('train', 'trainannot'):
        (root / folder).mkdir(parents=True)
    for index, truth in enumerate(truths):
        cv2.imwrite(str(root / f'train/{index}.png'), np.zeros((40, 60, 3), np.uint8))
        cv2.imwrite(str(root / f'trainannot/{index}.png'), np.full((40, 60), truth, np.uint8))


def test_evaluate_a_folder_of_camvid(tmp_path, capsys):
    """From files to the JSON: three frames, two of which the constant answer hits."""
    constant_model(tmp_path / 'model', 'truck')
    write_camvid(tmp_path / 'camvid', [8, 8, 3])  # car, car, road
    result = evaluate(
        str(tmp_path / 'model'), DatasetOptions('camvid', tmp_path / 'camvid', 'all'),
        EvaluationOptions(device='cpu', frames=True))
    assert result['miou'] == pytest.approx((2 / 3 + 0) / 2)
    assert result['pixel_accuracy'] == pytest.approx(2 / 3)
    assert result['iou']['car'] == pytest.approx(2 / 3)
    assert len(result['iou']) == 11
    assert 'abs_rel' not in result
    assert result['frames'] == 3
    assert result['ids'] == ['train/0', 'train/1', 'train/2']
    print_evaluation(result, tmp_path / 'out' / 'result.json')
    assert json.loads((tmp_path / 'out' / 'result.json').read_text()) == result
    printed = capsys.readouterr().out
    assert '0.3333' in printed
    assert 'IoU bicyclist' in printed


def write_selection(root: Path, names: dict[str, float]) -> None:
    """Write frames of the depth selection's layout, with that depth everywhere."""
    for folder in ('image', 'groundtruth_depth', 'intrinsics'):
        (root / folder).mkdir(parents=True)
    for scene, metres in names.items():
        stem = f'{scene}_image_0000000000_image_02'
        truth = f'{scene}_groundtruth_depth_0000000000_image_02'
        cv2.imwrite(str(root / f'image/{stem}.png'), np.zeros((64, 64, 3), np.uint8))
        cv2.imwrite(str(root / f'groundtruth_depth/{truth}.png'),
                    np.full((64, 64), metres * 256, np.uint16))
        (root / f'intrinsics/{stem}.txt').write_text(' '.join(map(str, K.flatten())))


def test_evaluate_a_folder_of_depth(tmp_path):
    """10 canonical metres are 20 m here; the truth is 15 m on a DDAD frame, 26 m on KITTI's."""
    constant_model(tmp_path / 'model', 'road')
    write_selection(tmp_path / 'depth', {'ddad_a': 15.0, 'kitti_b': 26.0})
    result = evaluate(
        tmp_path / 'model', DatasetOptions('kitti_depth', tmp_path / 'depth'),
        EvaluationOptions(device='cpu'))
    assert result['abs_rel'] == pytest.approx((5 / 15 + 6 / 26) / 2, rel=1e-5)
    assert result['delta1'] == 0.0
    assert result['delta2'] == 1.0
    assert 'garg crop on 1 of 2 frames' in result['protocol']['depth']
    assert 'miou' not in result
    scaled = evaluate(
        tmp_path / 'model', DatasetOptions('kitti_depth', tmp_path / 'depth'),
        EvaluationOptions(device='cpu', median_scaling=True))
    assert scaled['abs_rel'] == pytest.approx(0, abs=1e-6)
    near = evaluate(
        tmp_path / 'model', DatasetOptions('kitti_depth', tmp_path / 'depth'),
        EvaluationOptions(device='cpu', max_depth=20.0))
    assert near['protocol']['depth_frames'] == 1


def test_garg_crop_is_for_kitti_alone(tmp_path):
    """Score the frames of DDAD in the depth selection whole."""
    write_selection(tmp_path, {'ddad_a': 16.0, 'kitti_b': 25.0})
    samples = DATASETS['kitti_depth'](tmp_path)
    assert [samples.crop(name) for name in samples.ids] == [None, 'garg']


def test_what_is_measured_is_what_the_predictor_gives(tmp_path):
    """Scores of the predictor's own maps, taken with the metrics alone, are the same."""
    torch.manual_seed(0)
    constant_model(tmp_path, 'road')
    model = hub.load(tmp_path)
    with torch.no_grad():
        for head in (model.network.depth.head, model.network.semantics.head):
            head.weight.normal_()
        model.network.semantics.head.bias.zero_()
        model.network.semantics.head.bias[model.labels.index('sky')] = -100.0
    hub.save(model, tmp_path)
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (90, 150, 3), dtype=np.uint8), (0, 0), 8)
    depth = rng.uniform(2, 70, (90, 150)).astype(np.float32)
    labels = rng.integers(0, 20, (90, 150), dtype=np.uint8)
    evaluation = Evaluation(hub.load(tmp_path), model.labels)
    evaluation.add(Sample(id='one', image=image, K=K, depth=depth, labels=labels))
    scores = evaluation.scores()

    prediction = Predictor(tmp_path, device='cpu', max_depth=1e6).predict(
        Frame(image, K), {'depth', 'labels'})
    metrics, segmentation = DepthMetrics(), SegmentationMetrics(20)
    metrics.update(prediction.depth, depth)
    segmentation.update(prediction.labels, labels)
    assert len(np.unique(prediction.labels)) > 1
    assert {name: scores[name] for name in DepthMetrics.NAMES} == pytest.approx(
        metrics.compute(), rel=1e-3)
    assert scores['pixel_accuracy'] == pytest.approx(segmentation.pixel_accuracy(), rel=1e-2)


@pytest.mark.parametrize('data, options, message', [
    ({'name': 'camvit'}, {}, "'camvit'.*camvid.*vkitti2"),
    ({'split': 'evening'}, {}, 'evening'),
    ({}, {'device': 'tpu9'}, 'tpu9'),
    ({}, {'max_depth': 0.0}, 'max_depth'),
])
def test_bad_arguments_are_named(tmp_path, data, options, message):
    """Each with what would have been right."""
    constant_model(tmp_path / 'model', 'road')
    write_camvid(tmp_path / 'camvid', [0])
    with pytest.raises(ValueError, match=message):
        evaluate(tmp_path / 'model', DatasetOptions(**{
            'name': 'camvid', 'root': tmp_path / 'camvid', **data}), EvaluationOptions(**options))


def test_real_recordings_can_be_measured(tmp_path, data_root):
    """Five KITTI frames: 10 m everywhere scores as badly as numpy says."""
    constant_model(tmp_path / 'model', 'road')
    result = evaluate(
        tmp_path / 'model', DatasetOptions('kitti_depth', data_root / 'depth_selection', 'val'),
        EvaluationOptions(device='cpu'))
    expected = []
    for sample in DATASETS['kitti_depth'](data_root / 'depth_selection', 'val'):
        height, width = sample.depth.shape
        part = sample.depth[int(0.40810811 * height):int(0.99189189 * height),
                            int(0.03594771 * width):int(0.96405229 * width)]
        truth = part[(part > 1e-3) & (part < 80)]
        guess = 10 * sample.K[0, 0] * 32 / width / 50  # the network sees 32 x 32 pixels
        expected.append(np.mean(np.abs(min(guess, 80) - truth) / truth))
    assert result['frames'] == 5
    assert result['abs_rel'] == pytest.approx(np.mean(expected), rel=1e-4)
