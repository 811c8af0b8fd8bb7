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


"""The predictor fuses frames by their poses; a frame without pose is predicted alone."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from sync_perception.cli import app
from sync_perception.labels import LabelSpace
from sync_perception.mapping.odometry import VisualOdometry
from sync_perception.mapping.temporal_predictor import check_temporal, TemporalPredictor
from sync_perception.mapping.trajectory import SECOND, Trajectory
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
import torch
from typer.testing import CliRunner

K = np.array([[100.0, 0, 79.5], [0, 100, 47.5], [0, 0, 1]])


@pytest.fixture
def predictor(small_model) -> Predictor:
    """Return a predictor of a small random network."""
    return Predictor(small_model, 'cpu')


@pytest.fixture
def video() -> list[Frame]:
    """Return noisy images of one scene, 0.1 s apart."""
    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(0, 256, (12, 20, 3), dtype=np.uint8), (160, 96))
    return [Frame(np.clip(scene + random.normal(0, 25, scene.shape), 0, 255).astype(np.uint8),
                  K, index * SECOND // 10) for index in range(8)]


def standing(count: int) -> Trajectory:
    """Return the poses of a camera at rest."""
    return Trajectory([index * SECOND // 10 for index in range(count)], [np.eye(4)] * count)


def changes(predictions) -> float:
    """Return the mean change of ln(depth) between consecutive predictions."""
    return float(np.mean([np.nanmean(np.abs(np.log(a.depth / b.depth)))
                          for a, b in zip(predictions[3:], predictions[4:])]))


def test_frames_of_a_camera_at_rest_become_steady(predictor, video):
    """Noise of the images changes the fused depth less than half as much."""
    single = [predictor.predict(frame) for frame in video]
    temporal = TemporalPredictor(predictor, standing(8))
    temporal.fusion.dynamic = np.zeros(len(predictor.labels), bool)  # the network is random
    fused = [temporal.predict(frame) for frame in video]
    np.testing.assert_array_equal(fused[0].depth, single[0].depth)
    assert changes(fused) < 0.5 * changes(single)
    assert not temporal.alone
    assert temporal.labels is predictor.labels


def test_uncertainty_and_confidence_are_those_of_the_fused_frame(video, tmp_path):
    """Predicted deviations of depth shrink, and the confidence flickers less."""
    torch.manual_seed(0)
    branch = {'kind': 'mobile_unet', 'widths': [8, 8, 8, 8, 8]}
    hub.save(build_model(ModelConfig(
        'sync', {'depth': branch, 'semantics': branch, 'uncertainty': True},
        LabelSpace.load('driving').to_dict(), input_pixels=64 * 96)), tmp_path)
    predictor = Predictor(tmp_path, 'cpu')
    temporal = TemporalPredictor(predictor, standing(8))
    temporal.fusion.dynamic = np.zeros(len(predictor.labels), bool)  # the network is random
    single, fused = ([each.predict(frame, predictor.available) for frame in video][-2:]
                     for each in (predictor, temporal))
    correlation = temporal.fusion.settings.correlation
    relative = [each[-1].uncertainty / each[-1].depth for each in (fused, single)]
    assert np.sqrt(correlation) < np.nanmedian(relative[0] / relative[1]) < 0.9
    flicker = [np.abs(each[1].confidence - each[0].confidence).mean() for each in (fused, single)]
    assert flicker[0] < 0.8 * flicker[1]


def test_frames_without_pose_are_predicted_alone(predictor, video):
    """They have the results of the plain predictor, and the reason is counted."""
    temporal = TemporalPredictor(predictor, standing(3))
    fused = [temporal.predict(frame) for frame in video]
    for frame, prediction in list(zip(video, fused))[3:]:
        np.testing.assert_array_equal(predictor.predict(frame).depth, prediction.depth)
    assert temporal.alone == 5
    assert 'last pose' in temporal.progress()
    assert '5 of 8' in temporal.progress()


def test_a_jump_of_the_poses_starts_anew(predictor, video):
    """The frame after a jump is predicted alone, the next one is fused again."""
    poses = standing(8)
    for pose in poses.poses[4:]:
        pose[0, 3] = 100
    temporal = TemporalPredictor(predictor, poses)
    fused = [temporal.predict(frame) for frame in video]
    alone = [np.array_equal(predictor.predict(frame).depth, each.depth, equal_nan=True)
             for frame, each in zip(video, fused)]
    assert alone == [True, False, False, False, True, False, False, False]
    assert 'jump' in temporal.progress()


def test_frames_that_exceed_the_memory_are_counted(predictor, video, monkeypatch):
    """The frame after which fusion begins anew is reported as one that was not fused."""
    temporal = TemporalPredictor(predictor, standing(8))
    temporal.predict(video[0])
    monkeypatch.setattr(predictor, 'predict', lambda frame, outputs: 'alone')
    monkeypatch.setattr(predictor, 'backend', full)
    assert temporal.predict(video[1]) == 'alone'
    assert '1 of 2' in temporal.progress() and 'memory' in temporal.progress()


def full(images):
    """Fail as a device does whose memory is full."""
    raise torch.OutOfMemoryError('CUDA out of memory')


def test_batches_are_not_passed_through(predictor):
    """Frames of a batch would not be fused, so there is no such method."""
    assert hasattr(predictor, 'predict_batch')
    assert not hasattr(TemporalPredictor(predictor, standing(1)), 'predict_batch')


def test_odometry_sees_the_predictions(predictor, video):
    """Every frame reaches the odometry, whether it finds a motion or not."""
    odometry = VisualOdometry(predictor.labels)
    temporal = TemporalPredictor(predictor, odometry)
    for frame in video:
        temporal.predict(frame)
    assert len(odometry.trajectory) + temporal.alone == len(video)


@pytest.mark.parametrize(('arguments', 'named'), [
    (('on', ''), 'temporal'), (('fuse', ''), 'poses'), (('off', 'poses.txt'), 'no effect'),
    (('fuse', 'poses.txt', True), 'camera height')])
def test_contradictions_are_refused(arguments, named):
    """Each message names the argument."""
    with pytest.raises(ValueError, match=named):
        check_temporal(*arguments)
    check_temporal('fuse', 'odometry', True)


def test_predict_fuses_a_folder(small_model, video, tmp_path):
    """The command reports how many frames were fused, and the results differ from single ones."""
    images = tmp_path / 'images'
    images.mkdir()
    for index, frame in enumerate(video[:3]):
        cv2.imwrite(str(images / f'frame_{index:03}.png'), frame.image[..., ::-1])
    (tmp_path / 'poses.txt').write_text('1 0 0 0 0 1 0 0 0 0 1 0\n' * 2)
    words = ['predict', str(images), '--model', str(small_model), '--fx', '100', '--out']
    results = {}
    for name, more in (('single', []), (
            'fused', ['--temporal', 'fuse', '--poses', str(tmp_path / 'poses.txt')])):
        ran = CliRunner().invoke(app, [*words, str(tmp_path / name), *more])
        assert ran.exit_code == 0
        results[name] = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(
            (tmp_path / name).glob('*_depth.png'))]
    assert '1 of 3 frames' in ran.output
    equal = [np.array_equal(*pair) for pair in zip(results['single'], results['fused'])]
    assert equal == [True, False, True]
    assert json.loads((tmp_path / 'fused' / 'summary.json').read_text())['images']
