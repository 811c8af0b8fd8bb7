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


"""Frames through the node as others meet it: over topics, with a model that is known."""

from __future__ import annotations

import json

import cv2
from node_bench import K, LATCHED, PATIENCE, picture, RELIABLE, SIZE, TOPICS
import numpy as np
import pytest
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from sync_perception.labels import LabelSpace
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.runtime.pointcloud import POINT


def test_a_frame_becomes_a_bundle_under_its_own_header(bench):
    bench.start(listen=tuple(TOPICS))
    bench.send_info(1_000_000_007)
    bench.send_image(1_000_000_007)
    bench.wait(lambda: all(bench.received.values()))
    bundle = {topic: messages[0] for topic, messages in bench.received.items()}
    for message in bundle.values():
        assert stamp_nanoseconds(message.header) == 1_000_000_007
        assert message.header.frame_id == 'cam'
        assert (message.height, message.width) == SIZE
    assert {topic: message.encoding for topic, message in bundle.items()
            if isinstance(message, Image)} == {
        'depth': '32FC1', 'semantics': 'mono8', 'semantics/confidence': '32FC1',
        'semantics/color': 'rgb8', 'overlay': 'rgb8', 'dynamic_mask': 'mono8'}
    depth = np.frombuffer(bundle['depth'].data, '<f4').reshape(SIZE)
    np.testing.assert_array_equal(depth[5], np.arange(32))
    assert np.isnan(depth[:4]).all()
    labels = np.frombuffer(bundle['semantics'].data, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(labels, picture()[..., 1])
    assert set(np.frombuffer(bundle['semantics/confidence'].data, '<f4')) == {0.75}
    color = np.frombuffer(bundle['semantics/color'].data, np.uint8).reshape(*SIZE, 3)
    np.testing.assert_array_equal(color[0, 0], [128, 64, 128])  # road, as Cityscapes paints it
    np.testing.assert_array_equal(color[-1, 0], [0, 0, 0])
    points = np.frombuffer(bundle['points'].data, '<f4').reshape(*SIZE, 8)
    np.testing.assert_allclose(  # pixel (20, 10): z = 20, x = z (u - cx) / fx
        points[10, 20, :3], [20 * 4.5 / 30, 20 * -1.5 / 30, 20], rtol=1e-6)
    assert np.isnan(points[0, :, :3]).all() and points[10, 20, 6] == 0.75
    np.testing.assert_array_equal(bundle['camera_info'].k.reshape(3, 3), K)


def test_the_camera_info_is_that_of_the_rectified_image_whichever_matrix_one_reads(bench):
    bench.start(listen=('camera_info', 'points'))
    # a right stereo camera, whose lens distorts
    info = pinhole_camera_info(K, (SIZE[0], SIZE[1] + 8))
    info.header = bench.header(1)
    info.d, info.k = [0.1] * 5, (K * 1.25).ravel()
    info.r = np.diag([1.0, -1.0, -1.0]).ravel()
    info.p[3] = -380.0
    info.roi.width, info.roi.height, info.roi.x_offset = SIZE[1], SIZE[0], 4
    bench.info_publisher.publish(info)
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    sent, cloud = bench.received['camera_info'][0], bench.received['points'][0]
    own = K - np.outer([1, 0, 0], [0, 0, 4])  # the region begins at column 4
    np.testing.assert_allclose(sent.k.reshape(3, 3), own)
    np.testing.assert_allclose(sent.p.reshape(3, 4), np.column_stack([own, np.zeros(3)]))
    np.testing.assert_array_equal(sent.r.reshape(3, 3), np.eye(3))
    assert not any(sent.d) and sent.roi.width == sent.binning_x == 0
    points = np.frombuffer(cloud.data, '<f4').reshape(*SIZE, 8)
    u, v, z = 20, 10, points[10, 20, 2]
    np.testing.assert_allclose(sent.k.reshape(3, 3) @ points[v, u, :3] / z, [u, v, 1], rtol=1e-5)


@pytest.mark.parametrize('topics, needs', [
    (('depth',), {'depth'}),
    (('semantics',), {'labels'}),
    (('overlay', 'depth'), {'labels', 'depth'}),
    (('points',), {'depth', 'labels', 'confidence'}),
])
def test_only_what_somebody_subscribes_to_is_computed(bench, topics, needs):
    bench.start(listen=topics)
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    assert bench.predictor.asked == [frozenset(needs)]


DEPTH_TOPICS = {'depth', 'points', 'camera_info'}
LABEL_TOPICS = {
    'semantics', 'semantics/confidence', 'semantics/color', 'overlay', 'dynamic_mask',
    'camera_info'}


@pytest.mark.parametrize('available, topics', [
    ({'depth'}, DEPTH_TOPICS),
    ({'labels', 'confidence'}, LABEL_TOPICS),
    ({'depth', 'uncertainty', 'normals'}, {*DEPTH_TOPICS, 'depth/uncertainty', 'normals'}),
    ({'depth', 'labels', 'confidence'}, {*DEPTH_TOPICS, *LABEL_TOPICS}),
])
def test_topics_are_those_that_the_model_gives(bench, available, topics):
    bench.predictor.available = frozenset(available)
    bench.start(listen=tuple(topics))
    offered = {output.topic.removeprefix('sync/') for output, _ in bench.camera.outputs}
    assert offered == topics
    names = dict(bench.others.get_topic_names_and_types())
    assert ('/sync/label_space' in names) == ('labels' in available)
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    assert bench.predictor.asked == [available]


def test_a_cloud_without_labels_has_void_ones(bench):
    bench.predictor.available = frozenset({'depth'})
    bench.start(listen=('points', 'camera_info'))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    points = np.frombuffer(bench.received['points'][0].data, POINT).reshape(SIZE)
    assert set(points['label'].ravel()) == {255} and np.isnan(points['confidence']).all()
    assert points[10, 20]['z'] == 20
    # in the colours of labels that are not there it is refused, and the node lives on
    bench.node.set_parameters([Parameter('points.color', value='label')])
    bench.send_image(2)
    bench.wait(lambda: bench.counters.refused['model input'] == 1)
    bench.node.set_parameters([Parameter('points.color', value='camera')])
    bench.send_image(3)
    bench.wait(lambda: len(bench.received['points']) == 2)


def test_uncertainty_and_normals_are_published_as_they_are(bench):
    bench.predictor.available = frozenset({'depth', 'uncertainty', 'normals'})
    bench.start(listen=('depth/uncertainty', 'normals'))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    deviation, normals = (
        bench.received[topic][0] for topic in ('depth/uncertainty', 'normals'))
    assert (deviation.encoding, normals.encoding) == ('32FC1', '32FC3')
    assert (deviation.step, normals.step) == (4 * SIZE[1], 12 * SIZE[1])
    assert set(np.frombuffer(deviation.data, '<f4')) == {0.5}
    np.testing.assert_array_equal(
        np.frombuffer(normals.data, '<f4').reshape(*SIZE, 3)[3, 4], np.float32([0, -0.6, -0.8]))


def test_nothing_is_computed_for_nobody(bench):
    bench.start()
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.counters.unwanted == 1)
    assert bench.predictor.asked == []


def test_camera_info_alone_costs_no_prediction(bench):
    bench.start(listen=('camera_info',))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.received['camera_info'])
    assert bench.predictor.asked == []


def test_the_newest_frame_wins_and_every_drop_is_counted(bench):
    bench.start(listen=('depth',))
    bench.predictor.go.clear()
    bench.send_info(1)
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    bench.send_image(1)
    assert bench.predictor.busy.wait(PATIENCE)
    for stamp in (2, 3, 4):
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: bench.counters.received == stamp)
    bench.predictor.go.set()
    bench.wait(lambda: len(bench.received['depth']) == 2)
    assert [stamp_nanoseconds(message.header) for message in bench.received['depth']] == [1, 4]
    counters = bench.counters
    bench.wait(lambda: counters.published == 2)
    assert (counters.received, counters.dropped) == (4, 2)
    assert len(counters.durations) == 2 and max(counters.durations) < PATIENCE


def test_the_first_image_waits_for_its_camera_info(bench):
    bench.start(listen=('depth',))
    bench.send_image(5)
    bench.wait(lambda: 'camera_info ' in bench.node.log.last)
    bench.send_info(5)
    bench.wait(lambda: bench.received['depth'])
    assert bench.counters.received == bench.counters.published == 1


def test_a_calibration_under_another_frame_is_used_with_a_warning(bench):
    bench.start(listen=('depth',))
    bench.send_info(5, frame_id='optical')
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    bench.send_image(40_005)
    bench.wait(lambda: bench.received['depth'] and bench.camera.troubles)
    assert "'optical'" in bench.camera.troubles['camera_info']
    bench.send_info(80_005)  # its own: from now on there is no warning
    bench.send_image(80_005)
    bench.wait(lambda: len(bench.received['depth']) == 2 and not bench.camera.troubles)


def test_of_several_other_frames_none_is_used_and_all_are_named(bench):
    bench.start(listen=('depth',))
    for frame_id in ('left', 'right'):
        bench.send_info(5, frame_id=frame_id)
    bench.wait(lambda: len(bench.camera.camera_infos.remembered) == 2)
    bench.send_image(40_005)
    bench.wait(lambda: bench.camera.troubles)
    trouble = bench.camera.troubles['camera_info']
    assert all(text in trouble for text in ('/camera_info', "'cam'", "'left'", "'right'"))
    assert not bench.received['depth']


def test_malformed_input_is_refused_counted_and_survived(bench):
    bench.start(listen=('depth',))
    bench.send_info(1)
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    refused = bench.counters.refused
    bench.send_image(2, step=1)
    bench.wait(lambda: refused['step'] == 1)
    bench.send_image(3, encoding='surprise')
    bench.wait(lambda: refused['encoding'] == 1)
    bench.send_image(4, np.zeros((9, 9, 3), np.uint8))
    bench.wait(lambda: refused['camera_info size'] == 1)
    bench.send_image(5, height=0)
    bench.wait(lambda: sum(refused.values()) == 4)
    assert bench.received['depth'] == []
    bench.send_image(6)
    bench.wait(lambda: bench.received['depth'])
    assert stamp_nanoseconds(bench.received['depth'][0].header) == 6


def test_names_of_a_megabyte_are_neither_kept_nor_logged_nor_published(bench):
    lines = []
    bench.others.create_subscription(
        Log, '/rosout', lambda log: lines.append(log.msg), RELIABLE)
    bench.start(listen=('depth', 'camera_info'))
    long, refused = 'x' * 2 ** 20, bench.counters.refused
    # a best effort subscription may lose what is large: sent until it arrives
    bench.wait(lambda: bench.send_info(1, frame_id=long) or refused['frame_id'])
    info = pinhole_camera_info(K, SIZE)
    info.d = [0.0] * 100_000
    bench.wait(lambda: bench.info_publisher.publish(info) or refused['camera_info values'])
    assert not bench.camera.camera_infos.remembered
    before = refused['frame_id']
    bench.wait(lambda: bench.send_image(2, header=bench.header(2, long))
               or refused['frame_id'] > before)
    bench.send_info(3)
    bench.send_image(3)
    bench.wait(lambda: all(bench.received.values()))
    assert {message.header.frame_id for message in bench.received['depth']} == {'cam'}
    bench.wait(lambda: [line for line in lines if 'frame_id of 1048576' in line])
    assert max(map(len, lines)) < 1000


@pytest.mark.parametrize('trouble, counter', [
    (RuntimeError('out of memory'), lambda counters: counters.failed),
    (ValueError('too small'), lambda counters: counters.refused['model input']),
])
def test_a_frame_that_fails_does_not_end_the_node(bench, trouble, counter):
    bench.start(listen=('depth',))
    bench.predictor.fail = trouble
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: counter(bench.counters) == 1)
    bench.predictor.fail = None
    bench.send_image(2)
    bench.wait(lambda: bench.received['depth'])


def test_label_space_is_told_to_those_who_come_late(bench):
    bench.start(semantics__encoding='16SC1')
    told = []
    bench.others.create_subscription(String, 'sync/label_space', told.append, LATCHED)
    bench.wait(lambda: told)
    space = json.loads(told[0].data)
    assert (space['name'], space['void'], len(space['classes'])) == ('driving', -1, 20)
    assert space['classes'][0] == {
        'id': 0, 'name': 'road', 'color': [128, 64, 128], 'dynamic': False, 'infinite': False,
        'ground': True, 'object': False}
    assert [each['id'] for each in space['classes'] if each['infinite']] == [10]


def test_encodings_and_points_follow_the_parameters(bench):
    bench.start(listen=('depth', 'semantics', 'points'), depth__encoding='16UC1',
                semantics__encoding='16SC1', points__stride=4, points__organized=False,
                points__color='label')
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: all(bench.received.values()))
    depth, semantics, points = (messages[0] for messages in bench.received.values())
    assert (depth.encoding, semantics.encoding) == ('16UC1', '16SC1')
    assert np.frombuffer(depth.data, '<u2').reshape(SIZE)[5, 7] == 7000
    assert np.frombuffer(semantics.data, '<i2').reshape(SIZE)[-1, 0] == -1
    assert (points.height, points.width, points.is_dense) == (1, 5 * 8, True)
    colors = np.frombuffer(points.data, '<u4').reshape(-1, 8)[:, 4:6]
    palette = LabelSpace.load('driving').palette.astype(int)
    for packed, label in colors[:, :2]:
        red, green, blue = palette[label]
        assert packed == red << 16 | green << 8 | blue


def test_live_parameters_take_effect_with_the_next_frame(bench):
    bench.start(listen=('points',))
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: len(bench.received['points']) == 1)
    answer = bench.node.set_parameters([Parameter('points.stride', value=8)])[0]
    assert answer.successful
    bench.send_image(2)
    bench.wait(lambda: len(bench.received['points']) == 2)
    assert (bench.received['points'][1].height, bench.received['points'][1].width) == (3, 4)
    assert bench.node.set_parameters([Parameter('device', value='cpu')])[0].successful
    assert bench.node.parameters.values.device == 'auto'  # until the node configures again


def test_compressed_images_come_in_beside_the_raw_topic(bench):
    publisher = bench.others.create_publisher(CompressedImage, 'image/compressed', RELIABLE)
    bench.start(listen=('semantics',), image_transport='compressed')
    bench.wait(publisher.get_subscription_count)
    data = cv2.imencode('.png', picture()[..., ::-1])[1].tobytes()
    bench.send_info(3)
    publisher.publish(CompressedImage(header=bench.header(3), format='png', data=data))
    bench.wait(lambda: bench.received['semantics'])
    labels = np.frombuffer(bench.received['semantics'][0].data, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(labels, picture()[..., 1])
