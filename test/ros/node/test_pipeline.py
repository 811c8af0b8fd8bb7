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

"""The way of a frame: what is asked of the model, and what happens when it fails."""

from __future__ import annotations

import array
from dataclasses import replace
import struct
import time
from types import SimpleNamespace

import cv2
from node_bench import K, KnownPredictor, picture, SIZE
import numpy as np
from pipeline_bench import Eye, Fixture, published
import pytest
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from sync_perception.images.bit_depth import BitDepth
from sync_perception.ros.health.consistency_monitor import ConsistencyMonitor
from sync_perception.ros.io.camera_info import CameraInfoCache, pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.perception import PerceptionParameters


class FussyPredictor(KnownPredictor):
    """Fails whenever a frame with a black first pixel is among those it gets."""

    def predict_batch(self, frames, outputs):
        """Refuse black ones, answer the others."""
        self.batches.append(len(frames))
        if any(frame.image[0, 0].max() == 0 for frame in frames):
            raise RuntimeError('black')
        return [self.read(frame, each) for frame, each in zip(frames, outputs)]


def test_frames_of_several_cameras_are_asked_for_together_each_for_its_own_maps(ros):
    fixture = Fixture()
    topics = 'sync/depth', 'sync/semantics', 'sync/camera_info'
    eyes = [Eye(name, (topic,)) for name, topic in zip('abc', topics)]
    assert fixture.process([eye.look() for eye in eyes]) == []
    assert fixture.predictor.batches == [2]  # nothing of the third needs the network
    assert fixture.predictor.asked == [{'depth'}, {'labels'}]
    assert [eye.counters.published for eye in eyes] == [1, 1, 1]


def test_a_frame_that_spoils_the_batch_does_not_spoil_the_others(ros):
    fixture = Fixture()
    fixture.pipeline.predictor = fussy = FussyPredictor()
    eyes = [Eye(name) for name in 'abc']
    black = np.zeros((*SIZE, 3), np.uint8)
    fixture.process([eyes[0].look(), eyes[1].look(black), eyes[2].look()])
    assert fussy.batches == [3, 1, 1, 1]
    assert [published(eye) for eye in eyes] == [1, 0, 1]
    assert [eye.counters.failed for eye in eyes] == [0, 1, 0]
    assert fixture.log.lines == ['a frame failed: RuntimeError: black']


def test_a_malformed_image_leaves_the_others_their_batch(ros):
    fixture = Fixture()
    eyes = [Eye('a'), Eye('b')]
    broken = eyes[0].look()
    broken.image.step = 1
    fixture.process([broken, eyes[1].look()])
    assert eyes[0].counters.refused == {'step': 1} and published(eyes[1]) == 1


def test_out_of_memory_stops_the_answers_with_one_clear_error(ros):
    fixture, eye = Fixture(), Eye('a')
    fixture.predictor.fail = MemoryError('2 GiB were asked for')
    for _ in range(3):
        fixture.process([eye.look()])
    assert len(fixture.predictor.asked) == 1  # no crash loop
    assert eye.counters.failed == 3
    error, = fixture.log.lines
    assert error.startswith('out of memory: 2 GiB were asked for; no frame is answered until')
    assert fixture.pipeline.halted == 'out of memory: 2 GiB were asked for'
    fixture.predictor.fail, fixture.pipeline.halted = None, ''
    fixture.process([eye.look()])
    assert published(eye) == 1


def test_an_image_waits_for_its_calibration_and_says_where_from(ros):
    fixture, eye = Fixture(), Eye('a')
    eye.camera_infos = CameraInfoCache()
    packet = eye.look()
    assert fixture.process([packet]) == [packet]
    assert fixture.process([packet]) == [packet]
    line, = fixture.log.lines
    assert "frame 'a'" in line and '/a/camera_info' in line
    eye.camera_infos.add(eye.with_header(pinhole_camera_info(K, SIZE)))
    assert fixture.process([packet]) == [] and eye.troubles == {}


def test_unsure_labels_become_void_wherever_labels_are_published(ros):
    topics = ('sync/semantics', 'sync/dynamic_mask')
    eye = Eye('a', topics)
    fixture = Fixture(semantics_min_confidence=0.7)  # everything has 0.75
    fixture.process([eye.look()])
    assert fixture.predictor.asked == [{'labels', 'confidence'}]
    fixture.parameters = replace(fixture.parameters, semantics_min_confidence=0.8)
    fixture.process([eye.look()])
    sure, unsure = (np.frombuffer(message.data, np.uint8).reshape(SIZE)
                    for message in eye.publishers['sync/semantics'].messages)
    np.testing.assert_array_equal(sure, picture()[..., 1])
    assert (unsure == 255).all()
    masks = [np.frombuffer(message.data, np.uint8) for message
             in eye.publishers['sync/dynamic_mask'].messages]
    assert set(masks[0]) == {0, 1} and set(masks[1]) == {0}


def test_the_mask_marks_what_moves(ros):
    eye = Eye('a', ('sync/dynamic_mask',))
    fixture = Fixture()
    fixture.process([eye.look()])
    message, = eye.publishers['sync/dynamic_mask'].messages
    mask = np.frombuffer(message.data, np.uint8).reshape(SIZE)
    movable = {11, 12, 13, 14, 15, 16, 17, 18}  # Cityscapes: person to bicycle
    np.testing.assert_array_equal(mask, np.isin(picture()[..., 1], list(movable)))
    assert message.encoding == 'mono8'


def test_confidence_in_eight_bits_and_a_cloud_that_ends_early(ros):
    eye = Eye('a', ('sync/semantics/confidence', 'sync/points'))
    fixture = Fixture(confidence_encoding='mono8', points_max_depth=10.0,
                      points_semantic_color=True)
    fixture.process([eye.look()])
    confidence, = eye.publishers['sync/semantics/confidence'].messages
    assert confidence.encoding == 'mono8' and set(confidence.data) == {191}  # 0.75 x 255
    cloud, = eye.publishers['sync/points'].messages
    points = np.frombuffer(cloud.data, '<f4').reshape(*SIZE, 8)
    depth = points[5, :, 2]
    np.testing.assert_array_equal(depth[:11], np.arange(11))
    assert np.isnan(depth[11:]).all()
    assert [(field.name, field.offset) for field in cloud.fields][-1] == ('semantic_color', 28)
    assert points[5, 1, 7].tobytes() == np.uint32(0x999999).tobytes()  # a pole, id 5


def test_points_between_surfaces_are_holes(ros):
    """Steep points are holes; the cloud keeps its shape, and the depth image its depth."""
    eye = Eye('a', ('sync/points', 'sync/depth'))
    fixture = Fixture(points_surface_distance=9.0)
    fixture.process([eye.look()])
    cloud, = eye.publishers['sync/points'].messages
    assert (cloud.height, cloud.width) == SIZE
    points = np.frombuffer(cloud.data, '<f4').reshape(*SIZE, 8)
    depth = np.frombuffer(eye.publishers['sync/depth'].messages[0].data, '<f4').reshape(SIZE)
    assert np.isnan(points[..., 2]).sum() > np.isnan(depth).sum()
    kept = np.isfinite(points[..., 2])
    np.testing.assert_array_equal(points[..., 2][kept], depth[kept])


class Scorer:
    """Says how well depth and labels fit, and notes what it saw."""

    def __init__(self):
        self.value, self.seen = 0.9, []

    def score(self, prediction, frame, labels) -> float:
        """Return what was set."""
        self.seen.append((prediction.depth.shape, prediction.labels.shape, labels.name))
        return self.value


def test_the_monitor_judges_a_frame_in_a_period_and_warns(ros):
    scorer, eye = Scorer(), Eye('a', ('sync/depth',))
    fixture = Fixture(ConsistencyMonitor(scorer), consistency_minimum=0.5,
                      consistency_period=3600.0)
    fixture.process([eye.look()])
    fixture.process([eye.look()])
    assert scorer.seen == [(SIZE, SIZE, 'driving')]  # labels were asked for, for its sake
    assert fixture.predictor.asked == [{'depth', 'labels'}, {'depth'}] and not eye.troubles
    scorer.value = 0.2
    fixture.parameters = replace(fixture.parameters, consistency_period=0.0)
    fixture.process([eye.look()])
    assert '0.20, expected at least 0.5' in eye.troubles['consistency']
    assert len(fixture.log.lines) == 1


def test_the_monitor_takes_turns_over_cameras_that_wait_together(ros):
    scorer, eyes = Scorer(), [Eye(name) for name in 'abc']
    fixture = Fixture(ConsistencyMonitor(scorer), consistency_period=0.0)
    for _ in range(3):
        fixture.process([eye.look() for eye in eyes])
    both, depth = {'depth', 'labels'}, {'depth'}
    assert fixture.predictor.asked == [both, depth, depth, depth, both, depth, depth, depth, both]


@pytest.mark.parametrize('spoil, text', [
    (lambda image: image[..., 0].fill(255), 'depth is NaN everywhere'),
    (lambda image: image[..., 1].fill(255), 'every label is void')])
def test_a_frame_without_any_content_is_a_trouble_until_the_next(ros, spoil, text):
    fixture, eye = Fixture(), Eye('a', ('sync/depth', 'sync/semantics'))
    empty = picture()
    spoil(empty)
    fixture.process([eye.look(empty)])
    assert text in eye.troubles['no content'] and len(fixture.log.lines) == 1
    fixture.process([eye.look()])
    assert eye.troubles == {} and published(eye) == 2


def test_a_monitor_that_fails_costs_no_frame(ros):
    eye = Eye('a', ('sync/depth',))

    def fail(*arguments):
        raise ValueError('no class in common')
    fixture = Fixture(ConsistencyMonitor(SimpleNamespace(score=fail)))
    fixture.process([eye.look()])
    assert published(eye) == 1
    assert 'no class in common' in eye.troubles['consistency']


@pytest.mark.parametrize('trouble, count', [
    (RuntimeError('surprise'), lambda counters: counters.failed),
    (ValueError('too small'), lambda counters: counters.refused['model input']),
])
def test_trouble_with_one_frame_is_counted_and_over(ros, trouble, count):
    fixture, eye = Fixture(), Eye('a')
    fixture.predictor.fail = trouble
    fixture.process([eye.look()])
    fixture.predictor.fail = None
    fixture.process([eye.look()])
    assert count(eye.counters) == 1 and published(eye) == 1


def test_what_fails_because_ros_is_stopping_is_not_worth_a_line(ros):
    fixture, eye = Fixture(), Eye('a')
    eye.node.context.ok = lambda: False
    fixture.predictor.fail = RuntimeError('context is invalid')
    fixture.process([eye.look()])
    assert fixture.log.lines == [] and eye.counters.failed == 0


def test_a_small_file_that_claims_a_huge_image_is_refused_at_once(ros):
    """643 bytes that claim 8191x8191, and a camera_info that agrees."""
    fixture, eye = Fixture(), Eye('front')
    picture_bytes = bytearray(cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    place = picture_bytes.index(b'\xff\xc0') + 5
    picture_bytes[place:place + 4] = struct.pack('>HH', 8191, 8191)
    image = CompressedImage(
        header=Header(frame_id='front'), format='jpeg', data=array.array('B', picture_bytes))
    eye.camera_infos.add(eye.with_header(pinhole_camera_info(K, (8191, 8191))))
    for max_pixels, expected in ((7680 * 4320, 'max_pixels'), (2 ** 31 - 1, 'bytes')):
        fixture.parameters = PerceptionParameters(max_pixels=max_pixels)
        fixture.log.last.clear()
        start = time.process_time()
        fixture.process([FramePacket(image, eye)])
        assert time.process_time() - start < 0.1
        assert '8191x8191' in fixture.log.lines[-1] and expected in fixture.log.lines[-1]
    assert eye.counters.refused == {'image size': 2} and fixture.predictor.asked == []


def test_significant_bits_take_effect_with_the_next_frame(ros):
    fixture, eye = Fixture(), Eye('front')
    eye.bit_depth = BitDepth(report=fixture.log.logger.warning)
    values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 4
    packet = FramePacket(image_message(values, Header(frame_id='front'), 'mono16'), eye)
    brightest = []
    for bits in (0, 0, 12, 16, 0):
        fixture.parameters = PerceptionParameters(image_significant_bits=bits)
        fixture.process([packet])
        depth = np.frombuffer(eye.publishers['sync/depth'].messages[-1].data, np.float32)
        brightest.append(round(4 * float(np.nanmax(depth))))  # the known model's depth is red
    assert brightest == [191, 191, 191, 12, 191]
    said = [line for line in fixture.log.lines if 'significant' in line]
    assert len(said) == 1 and '12 bits' in said[0]
