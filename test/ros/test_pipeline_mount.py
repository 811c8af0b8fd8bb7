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

"""The scale from the mount on the way of a frame: outputs, cameras, and warnings."""

from __future__ import annotations

from dataclasses import replace

import flat_street
import numpy as np
from pipeline_bench import Eye, Fixture, published
from sync_perception.runtime.mount_scale import Mount, PATIENCE

STREET_TOPICS = ('sync/depth', 'sync/depth/uncertainty', 'sync/points')


def street_fixture(shortening: float = 1.25, **parameters) -> Fixture:
    """Return a pipeline whose model predicts a street seen from 1.6 m, at a wrong scale."""
    fixture = Fixture(**parameters)
    fixture.predictor = fixture.pipeline.predictor = flat_street.StreetPredictor(shortening)
    return fixture


def street_eye(name: str, topics: tuple[str, ...] = STREET_TOPICS) -> Eye:
    """Return a camera of the street."""
    return Eye(name, topics, flat_street.K, flat_street.SIZE)


def maps_of_street(eye: Eye) -> tuple[np.ndarray, ...]:
    """Return depth, uncertainty, and the cloud's z of the latest messages."""
    depth, uncertainty, points = (
        np.frombuffer(eye.publishers[topic].messages[-1].data, np.float32)
        for topic in STREET_TOPICS)
    return depth, uncertainty, points.reshape(-1, 8)[:, 2]


STREET_IMAGE = np.zeros((*flat_street.SIZE, 3), np.uint8)


def test_the_mount_scales_depth_uncertainty_and_cloud_alike(ros):
    fixture, eye = street_fixture(camera_height=1.6), street_eye('a')
    for _ in range(40):
        fixture.process([eye.look(STREET_IMAGE)])
    depth, uncertainty, z = maps_of_street(eye)
    expected = flat_street.street()[0].ravel()
    np.testing.assert_allclose(depth, np.where(expected < 59.9, expected, depth), rtol=2e-3)
    np.testing.assert_array_equal(depth, z)
    np.testing.assert_allclose(uncertainty, depth / 10, rtol=1e-5)
    assert eye.troubles == {} and fixture.log.lines == []


def test_labels_are_asked_for_where_depth_is_scaled_and_else_nothing_changes(ros):
    fixture = street_fixture()
    eyes = [street_eye(topic, (topic,)) for topic in (
        'sync/depth', 'sync/depth/uncertainty', 'sync/semantics')]
    for eye in eyes:
        fixture.process([eye.look(STREET_IMAGE)])
    assert fixture.predictor.asked == [{'depth'}, {'uncertainty'}, {'labels'}]
    assert eyes[0].mounting.values() == {}
    fixture.parameters = replace(fixture.parameters, camera_height=1.6)  # while it runs
    for eye in eyes:
        fixture.process([eye.look(STREET_IMAGE)])
    assert fixture.predictor.asked[3:] == [
        {'depth', 'labels'}, {'uncertainty', 'depth', 'labels'}, {'labels'}]
    assert [eye.mounting.scale.frames for eye in eyes] == [1, 1, 0]


def test_every_camera_has_a_scale_of_its_own_which_begins_anew_with_its_mount(ros):
    fixture, eyes = street_fixture(camera_height=1.6), [street_eye('a'), street_eye('b')]
    for _ in range(2):
        fixture.process([eyes[0].look(STREET_IMAGE)])
    fixture.process([eye.look(STREET_IMAGE) for eye in eyes])
    assert [eye.mounting.scale.frames for eye in eyes] == [3, 1]
    fixture.parameters = replace(fixture.parameters, camera_height=1.5)
    fixture.process([eyes[0].look(STREET_IMAGE)])
    assert eyes[0].mounting.scale.frames == 1
    fixture.predictor = fixture.pipeline.predictor = flat_street.StreetPredictor()
    fixture.process([eyes[0].look(STREET_IMAGE)])  # another model may have another scale
    assert eyes[0].mounting.scale.frames == 1


def test_ground_that_is_never_believed_warns_once_and_only_after_a_while(ros):
    fixture, eye = street_fixture(camera_height=6.0), street_eye('a', ('sync/depth',))
    for frame in range(PATIENCE + 5):
        assert ('mount scale' in eye.troubles) == (frame >= PATIENCE)
        fixture.process([eye.look(STREET_IMAGE)])
    assert '6 m' in eye.troubles['mount scale'] and len(fixture.log.lines) == 1


def test_a_mount_without_labels_or_transforms_is_a_trouble_and_costs_no_frame(ros):
    def absent(ground_frame, frame_id):
        raise ValueError(f'{frame_id} above {ground_frame}')
    fixture, eye = street_fixture(ground_frame='base_footprint'), street_eye('a')
    fixture.pipeline.transforms = absent
    fixture.process([eye.look(STREET_IMAGE)])
    assert eye.troubles == {'mount': 'a above base_footprint'}
    fixture.pipeline.transforms = lambda ground_frame, frame_id: Mount(1.6)
    fixture.process([eye.look(STREET_IMAGE)])
    assert eye.troubles == {} and eye.mounting.scale.frames == 1
    fixture.predictor.available = frozenset({'depth', 'uncertainty'})
    fixture.process([eye.look(STREET_IMAGE)])
    assert 'labels' in eye.troubles['mount'] and eye.mounting.scale is None
    assert published(eye) == 3
