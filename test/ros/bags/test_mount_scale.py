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

"""Bags whose camera's mount is stated: the scale of depth, also after an interruption."""

from __future__ import annotations

from types import SimpleNamespace

from bag_runs import content, run
from camera_bags import camera_messages, write_bag
import flat_street
import numpy as np
import pytest
from sync_perception.mapping.temporal_fusion import TemporalFusion
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.types import DenseOutput, Prediction
import torch

pytest.importorskip('mcap', reason='bags are read with the package mcap')
STATED = PerceptionParameters(camera_height=1.6)


class ShortMemory(flat_street.StreetPredictor):
    """Predicts so many frames, and then runs out of memory."""

    def __init__(self, frames: int):
        super().__init__()
        self.frames = frames

    def predict(self, frame, outputs):
        """Answer while there is memory."""
        if len(self.asked) == self.frames:
            raise MemoryError('full')
        return super().predict(frame, outputs)


@pytest.fixture
def street_bag(tmp_path):
    """Write eight images of the street with their calibrations."""
    messages = camera_messages(8)
    blank = np.zeros((*flat_street.SIZE, 3), np.uint8)
    for index, (topic, time, message) in enumerate(messages):
        if topic != '/word':
            made = (image_message(blank, message.header, 'rgb8') if topic == '/cam/image'
                    else pinhole_camera_info(flat_street.K, flat_street.SIZE))
            made.header = message.header
            messages[index] = topic, time, made
    return write_bag(tmp_path / 'in', messages)


def depths(folder) -> list[np.ndarray]:
    """Read the depth of all frames."""
    return [np.frombuffer(message.data, np.float32)
            for _, message in content(folder)['/sync/depth']]


def test_depth_is_scaled_and_the_end_says_by_how_much(street_bag, tmp_path):
    lines, predictor = [], flat_street.StreetPredictor(1.25)
    run(street_bag, tmp_path / 'out', predictor, lines, parameters=STATED,
        outputs=('sync/depth',))
    assert predictor.asked == [{'depth', 'labels'}] * 8
    truth = flat_street.street()[0].ravel()
    ratios = [np.nanmedian(depth / truth) for depth in depths(tmp_path / 'out')]
    assert ratios[0] == pytest.approx(1.25 ** -0.5, rel=1e-3)
    assert 0.93 < ratios[-1] < 1 and sorted(ratios) == ratios
    assert '8 of 8' in lines[-1] and f'{ratios[-1] * 1.25:.3f}' in lines[-1]


def test_the_scale_outlasts_an_interruption(street_bag, tmp_path):
    run(street_bag, tmp_path / 'whole', flat_street.StreetPredictor(), parameters=STATED)
    with pytest.raises(OSError, match='full'):
        run(street_bag, tmp_path / 'out', ShortMemory(5), parameters=STATED)
    assert run(street_bag, tmp_path / 'out', ShortMemory(9), parameters=STATED)['resumed'] == 3
    for found, expected in zip(depths(tmp_path / 'out'), depths(tmp_path / 'whole'), strict=True):
        np.testing.assert_array_equal(found, expected)


class StreetNetwork(flat_street.StreetPredictor):
    """The street as the output of a network, so that frames can be fused."""

    config = SimpleNamespace(input_size=flat_street.SIZE, canonical_focal=None)

    def prepare(self, frame):
        """Return the frame."""
        return frame

    def backend(self, frame):
        """Answer with the street."""
        depth, labels = flat_street.street()
        depth = torch.from_numpy(np.nan_to_num(depth, nan=60.0)) / self.shortening
        logits = torch.eye(len(self.labels))[torch.from_numpy(labels).long()] * 9
        return DenseOutput(depth[None, None], logits.permute(2, 0, 1)[None])

    def finish(self, output, frame, outputs):
        """Return depth and labels of an output."""
        return Prediction(output.depth[0, 0].numpy().copy(),
                          output.logits[0].argmax(dim=0).numpy().astype(np.uint8))


def test_fused_frames_are_in_the_metres_of_the_poses(street_bag, tmp_path, monkeypatch):
    """Frames are fused with the scale of the mount so far, which fusion does not exaggerate."""
    scales, fuse = [], TemporalFusion.fuse

    def noted(self, output, K, size, scale, pose):
        scales.append(scale)
        return fuse(self, output, K, size, scale, pose)
    monkeypatch.setattr(TemporalFusion, 'fuse', noted)
    times = [message.header.stamp.sec * 10 ** 9 + message.header.stamp.nanosec
             for _, message in content(street_bag)['/cam/image']]
    (tmp_path / 'poses.tum').write_text(''.join(
        f'{time / 1e9:.9f} 0 0 {index} 0 0 0 1\n' for index, time in enumerate(times)))
    lines = []
    run(street_bag, tmp_path / 'out', StreetNetwork(1.25), lines, parameters=STATED,
        outputs=('sync/depth',), temporal='fuse', poses=str(tmp_path / 'poses.tum'))
    assert any('8 frames were fused' in line for line in lines)
    assert scales[0] == 1 and sorted(scales) == scales and 1.15 < scales[-1] < 1.25
    truth = flat_street.street()[0].ravel()
    assert np.nanmedian(depths(tmp_path / 'out')[-1] / truth) == pytest.approx(
        scales[-1] / 1.25, rel=0.02)


@pytest.mark.parametrize('stated, named', [
    ({'ground_frame': 'base'}, 'ground_frame'), ({'camera_pitch': 0.1}, 'height')])
def test_a_mount_that_cannot_be_used_is_refused_before_the_model_is_loaded(
        street_bag, tmp_path, stated, named):
    with pytest.raises(ValueError, match=named):
        run(street_bag, tmp_path / 'out', object(), parameters=PerceptionParameters(**stated))
    assert not (tmp_path / 'out').exists()


def test_a_model_without_labels_is_refused(street_bag, tmp_path):
    predictor = flat_street.StreetPredictor()
    predictor.available = frozenset({'depth'})
    with pytest.raises(ValueError, match='labels'):
        run(street_bag, tmp_path / 'out', predictor, parameters=STATED, outputs=('sync/depth',))
