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

"""Videos: truth agrees with itself, flicker counts as much as it should, hidden pixels do not."""

from __future__ import annotations

from dataclasses import replace
import json

import cv2
import numpy as np
import pytest
from sync_perception.datasets import DatasetOptions, open_dataset
from sync_perception.datasets.vkitti2 import VirtualKitti2
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions
from sync_perception.evaluation.video import (
    Motion,
    motion_by_depth,
    motion_by_flow,
    VideoMetrics,
    warp_depth,
    warp_labels,
)
from sync_perception.models import build_model, hub
from sync_perception.street_world import StreetWorld
import torch

SIZE = (40, 60)
K = np.array([[50.0, 0, 29.5], [0, 50, 19.5], [0, 0, 1]])


def moved(x=0.0, z=0.0):
    """Return previous_T_current of a camera that has moved since, metres."""
    pose = np.eye(4)
    pose[:3, 3] = x, 0, z
    return pose


@pytest.fixture(scope='module')
def street():
    """Return two consecutive frames of a street, its camera and previous_T_current."""
    world = StreetWorld(1, (160, 320), frames=20)
    previous, current = world.render(4), world.render(5)
    return previous, current, world.K, (
        np.linalg.inv(previous.world_T_camera) @ current.world_T_camera)


def test_truth_agrees_with_itself(street):
    """Labels and depth of a street, warped by its geometry; persons and cars move on."""
    previous, current, camera, previous_T_current = street
    motion = motion_by_depth(current.depth, camera, previous_T_current, previous.depth)
    metrics = VideoMetrics(20)
    metrics.update_labels(current.labels, previous.labels, motion)
    metrics.update_depth(current.depth, previous.depth, motion, current.depth, camera)
    scores = metrics.compute()
    assert motion.valid.mean() > 0.9
    assert scores['temporal_miou'] > 0.93 and metrics.labels.pixel_accuracy() > 0.99
    assert scores['temporal_abs_rel'] < 2e-3


def test_the_wrong_motion_is_seen(street):
    """Without a warp, or with the inverse one, truth does not agree with itself."""
    previous, current, camera, previous_T_current = street
    whole = np.ones(current.labels.shape, bool)
    v, u = np.mgrid[:160, :320]
    still = Motion(np.stack([u, v], axis=-1).astype(np.float32), whole, np.eye(4))
    back = motion_by_depth(current.depth, camera, np.linalg.inv(previous_T_current))
    for motion in (still, back):
        metrics = VideoMetrics(20)
        metrics.update_labels(current.labels, previous.labels, motion)
        metrics.update_depth(current.depth, previous.depth, motion, current.depth, camera)
        scores = metrics.compute()
        assert scores['temporal_miou'] < 0.9 and scores['temporal_abs_rel'] > 0.02


def still_wall():
    """Return the motion of a wall before a camera that stands."""
    return motion_by_depth(np.full(SIZE, 10.0), K, np.eye(4), np.full(SIZE, 10.0))


@pytest.mark.parametrize('share', [0, 0.25, 0.5])
def test_flicker_costs_its_share(share):
    """Of one class, a share of whose pixels was another: IoU 1 - share, and 0 of the other."""
    labels = np.zeros(SIZE, np.uint8)
    before = labels.copy()
    before[:, :round(share * SIZE[1])] = 1
    metrics = VideoMetrics(3)
    metrics.update_labels(labels, before, still_wall())
    expected = 1 if share == 0 else (1 - share) / 2
    assert metrics.compute() == {'temporal_miou': pytest.approx(expected)}


def test_depth_that_breathes_costs_its_amplitude():
    """Depth that was 10 % more, then 20 % less: the mean of both over the pairs."""
    metrics, depth = VideoMetrics(3, max_depth=50), np.full(SIZE, 10.0)
    depth[:5] = 70
    for factor in (1.1, 0.8):
        metrics.update_depth(depth, factor * depth, still_wall(), depth, K)
    assert metrics.compute() == {'temporal_abs_rel': pytest.approx(0.15, rel=1e-5)}


def test_void_is_not_compared():
    """Neither that of this frame nor that of the frame before."""
    labels = np.zeros(SIZE, np.uint8)
    before = labels.copy()
    labels[:10], before[20:] = 255, 255
    metrics = VideoMetrics(3)
    metrics.update_labels(labels, before, still_wall())
    assert metrics.labels.confusion.sum() == 10 * SIZE[1] == metrics.labels.confusion[0, 0]


def test_depth_is_that_of_the_camera_now():
    """A camera that went 1 m towards a wall, then 11 m away; the view spread by 11 / 10."""
    motion = motion_by_depth(np.full(SIZE, 10.0), K, moved(z=1), np.full(SIZE, 11.0))
    assert motion.valid.all()
    centre, corner = motion.there[19:21, 29:31].mean(axis=(0, 1)), motion.there[0, 0]
    np.testing.assert_allclose(centre, [29.5, 19.5], atol=1e-4)
    np.testing.assert_allclose(corner, [29.5 * (1 - 10 / 11), 19.5 * (1 - 10 / 11)], atol=1e-4)
    np.testing.assert_allclose(warp_depth(np.full(SIZE, 11.0), motion, K), 10, rtol=1e-5)


@pytest.mark.parametrize('known', [True, False])
def test_what_was_hidden_is_not_compared(known):
    """
    A camera goes 1 m to the right past a post 5 m away before a wall of 25 m.

    The post was 10 pixels, the wall 2 pixels further right: of the wall left of the post now, the
    8 pixels next to it were behind it.
    """
    wall, post = 25.0, 5.0
    now, before = np.full(SIZE, wall), np.full(SIZE, wall)
    now[:, 20:26], before[:, 30:36] = post, post
    motion = motion_by_depth(now, K, moved(x=1), before if known else None)
    rows = motion.valid[5]
    # the wall's pixel u was at u + 2, behind the post's 30 to 35 before
    hidden = np.isin(np.arange(SIZE[1]), np.arange(28, 34))
    outside = np.arange(SIZE[1]) >= SIZE[1] - 2
    np.testing.assert_array_equal(rows, ~hidden & ~outside)
    np.testing.assert_allclose(motion.there[5, 22], [32, 5], atol=1e-4)
    labels = np.where(before == post, 1, 0).astype(np.uint8)
    warped = warp_labels(labels, motion)
    assert (warped[:, 20:26] == 1).all() and (warped[~motion.valid] == 255).all()


def test_unknown_depth_leads_nowhere():
    """Neither do points behind the camera; the sky turns with it, and never comes nearer."""
    depth = np.full(SIZE, 10.0)
    depth[0], depth[1], depth[2] = np.nan, np.inf, 0.5
    before = np.full(SIZE, 9.0)
    before[1] = np.inf
    motion = motion_by_depth(depth, K, moved(z=-1), before)
    assert not motion.valid[0].any() and not motion.valid[2].any()
    assert motion.valid[1].all()
    np.testing.assert_allclose(motion.there[1, :, 0], np.arange(SIZE[1]), atol=1e-2)


def test_flow_follows_a_shift():
    """A texture that moved by 6 and 3 pixels; what comes into view has no past."""
    rng = np.random.default_rng(0)
    large = cv2.GaussianBlur(rng.integers(0, 256, (140, 200, 3), dtype=np.uint8), (0, 0), 1.5)
    large = cv2.normalize(large, None, 0, 255, cv2.NORM_MINMAX)
    previous, current = large[10:130, 10:190], large[13:133, 16:196]
    motion = motion_by_flow(current, previous)
    v, u = np.mgrid[:120, :180]
    error = np.abs(motion.there - np.stack([u + 6, v + 3], axis=-1))[motion.valid]
    assert motion.valid[5:-10, 5:-12].mean() > 0.95
    assert np.median(error) < 0.2 and not motion.valid[:, -4:].any()
    labels = (np.arange(180) // 20 % 2 * np.ones((120, 1))).astype(np.uint8)
    metrics = VideoMetrics(2)
    metrics.update_labels(np.roll(labels, -6, axis=1), labels, motion)
    assert metrics.compute()['temporal_miou'] > 0.95
    assert motion.current_T_previous is None


def test_flow_keeps_the_previous_depth():
    """Without the camera's motion, depth is only carried along."""
    v, u = np.mgrid[:40, :60]
    motion = Motion(np.stack([u + 1, v], axis=-1).astype(np.float32), u < 59)
    warped = warp_depth(10.0 + u, motion)
    np.testing.assert_allclose(warped[:, :59], (11.0 + u)[:, :59], rtol=1e-5)
    assert np.isnan(warped[:, 59]).all()


def test_evaluate_measures_a_video(small_model):
    """The result, with how it was warped; a drive's first frame has none before it."""
    arguments = {'length': 3, 'size': [64, 96], 'frames_per_world': 2, 'interleave': 1}
    result = evaluate(
        small_model, DatasetOptions('synthetic', None, arguments=arguments),
        EvaluationOptions(video=True))
    plain = evaluate(small_model, DatasetOptions('synthetic', None, arguments=arguments))
    assert 0 < result['temporal_miou'] <= 1 and 0 <= result['temporal_abs_rel'] < 1
    assert '1 pairs by true depth and pose; 2 frames' in result['protocol']['video']
    for name in ('temporal_miou', 'temporal_abs_rel'):
        del result[name]
    del result['protocol']['video']
    assert result == plain


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Write five consecutive frames of a street in the layout of Virtual KITTI 2."""
    from sync_perception.street_world import write_vkitti2
    root = tmp_path_factory.mktemp('drive')
    write_vkitti2(root, worlds=1, frames=5, height=64, width=96)
    return root


def test_the_previous_sample_is_found(drive):
    """By the photograph that both samples call their own or their neighbour."""
    data = open_dataset('vkitti2', drive)
    assert [data.neighbour_id(name, -1) for name in data.ids] == [None, *data.ids[:-1]]
    data.keep(data.ids[3:])
    assert [data.neighbour_id(name, -1) for name in data.ids] == [None, data.ids[0]]
    streets = open_dataset('synthetic', None, 'val', {'length': 2, 'size': [32, 64]})
    first = streets.ids[0]
    assert streets.neighbour_id(first, -1) is None
    later = streets.read(streets.neighbour_id(first, 1))
    assert (later.image == streets.neighbours(first, (1,))[0]).all()


@pytest.mark.parametrize(('missing', 'way'), [
    (None, '4 pairs by true depth and pose'),
    ('depth', '4 pairs by predicted depth and known pose'),
    ('pose', '4 pairs by optical flow')])
def test_what_is_known_is_used(drive, small_model, monkeypatch, missing, way):
    """Truth first, then predicted depth with true poses, then flow; each frame is asked once."""
    if missing == 'pose':
        monkeypatch.setattr(VirtualKitti2, 'pose', lambda *arguments: None)
    elif missing == 'depth':
        read = VirtualKitti2.read

        def without_depth(data, name):
            sample = read(data, name)
            return type(sample)(sample.id, sample.image, sample.K, labels=sample.labels)
        monkeypatch.setattr(VirtualKitti2, 'read', without_depth)
    result = evaluate(small_model, DatasetOptions('vkitti2', drive), EvaluationOptions(video=True))
    assert way in result['protocol']['video'] and '1 frames' in result['protocol']['video']
    assert ('along z' in result['protocol']['video']) == (missing == 'pose')
    assert result['temporal_miou'] > 0


def test_fused_frames_are_evaluated(drive, small_model, tmp_path):
    """Four of the five frames are fused, and depth changes less from frame to frame."""
    config = hub.read_config(small_model)
    # frames are fused where they agree, as the smooth depth of a deep network does
    deep = {'kind': 'mobile_unet', 'widths': [8, 8, 8, 8, 8]}
    config.arguments = {'depth': deep, 'semantics': deep}
    torch.manual_seed(0)
    hub.save(build_model(config), tmp_path)
    data = DatasetOptions('vkitti2', drive)
    single, fused = (
        evaluate(tmp_path, data, EvaluationOptions(video=True, temporal=temporal))
        for temporal in ('off', 'fuse'))
    assert '4 frames' in fused['protocol']['temporal']
    assert fused['temporal_abs_rel'] < single['temporal_abs_rel']
    with pytest.raises(ValueError, match='temporal'):
        evaluate(
            small_model, DatasetOptions('vkitti2', drive),
            EvaluationOptions(video=True, temporal='on'))


def test_relative_depth_is_brought_to_metres(drive, small_model, tmp_path, monkeypatch):
    """By one factor in both frames, where there is truth; poses are of no use without."""
    import shutil
    metric = evaluate(
        small_model, DatasetOptions('vkitti2', drive),
        EvaluationOptions(max_depth=300, video=True))
    shutil.copytree(small_model, tmp_path / 'model')
    config = json.loads((tmp_path / 'model' / 'config.json').read_text())
    relative = {**config, 'metric': False}
    found = []
    for near, far in ((0.5, 200.0), (1.0, 400.0)):  # the same network, in other units
        relative['depth_range'] = [near, far]
        (tmp_path / 'model' / 'config.json').write_text(json.dumps(relative))
        found.append(evaluate(
            tmp_path / 'model', DatasetOptions('vkitti2', drive),
            EvaluationOptions(max_depth=300, video=True)))
    assert found[0]['temporal_abs_rel'] == pytest.approx(found[1]['temporal_abs_rel'], rel=1e-5)
    assert found[0]['temporal_abs_rel'] != pytest.approx(metric['temporal_abs_rel'], rel=1e-3)
    assert 'in 4 pairs' in found[0]['protocol']['video']
    assert 'not metric' not in metric['protocol']['video']
    read = VirtualKitti2.read
    monkeypatch.setattr(VirtualKitti2, 'read', lambda data, name: replace(
        read(data, name), depth=None))
    blind = evaluate(
        tmp_path / 'model', DatasetOptions('vkitti2', drive), EvaluationOptions(video=True))
    assert '4 pairs by optical flow' in blind['protocol']['video']


def test_a_broken_frame_before_is_skipped_if_asked(drive, small_model, tmp_path, caplog):
    """With skip_bad it counts as missing, else it ends the measurement."""
    import shutil
    shutil.copytree(drive, tmp_path / 'drive')
    data = open_dataset('vkitti2', tmp_path / 'drive')
    file = data.neighbour_file(data.ids[1], 0)
    file.write_bytes(file.read_bytes()[:30])
    result = evaluate(
        small_model, DatasetOptions('vkitti2', tmp_path / 'drive'),
        EvaluationOptions(skip_bad=True, video=True))
    assert 'skipped the frame before' in caplog.text and list(result['skipped']) == [data.ids[1]]
    assert '2 pairs' in result['protocol']['video']
    with pytest.raises(ValueError, match=file.name):
        evaluate(
            small_model, DatasetOptions('vkitti2', tmp_path / 'drive'),
            EvaluationOptions(video=True))


def test_photographs_are_no_video(small_model, data_root):
    """One error, before anything is measured."""
    with pytest.raises(ValueError, match='101'):
        evaluate(
            small_model, DatasetOptions('camvid', data_root / 'camvid', 'val'),
            EvaluationOptions(video=True))
