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


"""What the model says of a bag's images, and what is said where it says nothing."""

from __future__ import annotations

from bag_checks import check_bag, read_bag
from bag_predictors import NumberPredictor
from bag_runs import content, KINDS, run
from camera_bags import (
    camera_messages,
    compressed,
    image,
    info,
    PERIOD,
    START,
    write_bag,
    write_calibration,
)
import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from sync_perception.ros.parameters.without_node import make_parameters

pytest.importorskip('mcap', reason='bags are checked with the package mcap')


def test_bad_frames_are_counted_and_said_and_kept(tmp_path):
    messages = camera_messages(8)
    messages[1 * 3 + 1][2].encoding = 'bgr99'
    messages[2 * 3 + 1] = ('/cam/image', START + 2 * PERIOD, b'\x00\x01\x00\x00rubbish')
    messages[3 * 3 + 1] = ('/cam/image', START + 3 * PERIOD, image(3, (10, 10)))
    messages[4 * 3 + 1][2].header.frame_id = 'stranger'
    messages[4 * 3 + 1][2].header.stamp.nanosec += 1
    messages[5 * 3][2].k[0] = messages[5 * 3][2].p[0] = float('nan')
    source, lines = write_bag(tmp_path / 'in', messages), []
    result = run(source, tmp_path / 'out', lines=lines)
    assert (result['frames'], result['answered']) == (8, 4)
    assert result['refused'] == {
        'encoding': 1, 'message': 1, 'camera_info size': 1, 'camera_info values': 1}
    assert sum('bgr99' in line for line in lines) == 1
    assert sum('stranger' in line for line in lines) == 1  # answered, but said
    information = check_bag(tmp_path / 'out')
    counts = {entry['topic_metadata']['name']: entry['message_count']
              for entry in information['topics_with_message_count']}
    assert (counts['/cam/image'], counts['/sync/depth']) == (8, 4)
    depth = [message.time for message in read_bag(tmp_path / 'out')
             if message.topic == '/sync/depth']
    assert depth == [START + index * PERIOD for index in (0, 4, 6, 7)]


def test_an_image_of_no_pixels_is_refused_as_any_other(tmp_path):
    messages = [message for index in range(3) for message in (
        ('/cam/camera_info', START + index * PERIOD, info(index)),
        ('/cam/image/compressed', START + index * PERIOD, compressed(index)))]
    jpeg = bytearray(cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    size = jpeg.index(b'\xff\xc0') + 5
    jpeg[size:size + 4] = bytes(4)
    messages[2][2].height = messages[2][2].width = 0
    messages[3][2].data, messages[3][2].format = bytes(jpeg), 'jpeg'
    result = run(write_bag(tmp_path / 'in', messages), tmp_path / 'out')
    assert (result['answered'], result['refused']) == (2, {'image size': 1})


def test_sizes_may_change_and_distortion_is_said(tmp_path):
    messages = []
    for index, size in enumerate([(24, 32), (12, 40), (24, 32)]):
        calibration = info(index, size)
        calibration.d = [0.1, 0.0, 0.0, 0.0, 0.0]
        messages += [('/cam/camera_info', START + index, calibration),
                     ('/cam/image', START + index, image(index, size))]
    lines = []
    run(write_bag(tmp_path / 'in', messages), tmp_path / 'out', lines=lines)
    depths = content(tmp_path / 'out')['/sync/depth']
    assert [(depth.height, depth.width) for _, depth in depths] == [(24, 32), (12, 40), (24, 32)]
    assert sum('distortion' in line for line in lines) == 1


def test_rectified_frames_are_answered_as_such(tmp_path):
    messages = []
    for index in range(2):
        calibration = info(index)
        calibration.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
        calibration.p = [27.0, 0.0, 16.0, 0.0, 0.0, 27.0, 12.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        messages += [('/cam/camera_info', START + index, calibration),
                     ('/cam/image', START + index, image(index))]
    lines = []
    run(write_bag(tmp_path / 'in', messages), tmp_path / 'out', lines=lines,
        parameters=make_parameters({'rectify': True}),
        outputs=('sync/camera_info', 'sync/image_rect'))
    assert not any('distortion' in line for line in lines)
    stored = content(tmp_path / 'out')['/sync/camera_info']
    for index, (_, found) in enumerate(stored):
        assert found.header == image(index).header and not any(found.d)
        assert found.k.tolist() == [27, 0, 16, 0, 27, 12, 0, 0, 1]
    pictures = content(tmp_path / 'out')['/sync/image_rect']
    assert [picture.header for _, picture in pictures] == [info.header for _, info in stored]
    assert pictures[0][1].data != image(0).data


def test_compressed_images_and_a_calibration_file_will_do(tmp_path):
    source = write_bag(tmp_path / 'in', [
        ('/cam/image/compressed', START + index * PERIOD, compressed(index))
        for index in range(3)])
    with pytest.raises(ValueError, match='CameraInfo'):
        run(source, tmp_path / 'out')
    write_calibration(tmp_path / 'cam.yaml')
    result = run(source, tmp_path / 'out', camera_info=str(tmp_path / 'cam.yaml'))
    assert result['answered'] == 3
    stored = read_bag(tmp_path / 'out')
    infos = [deserialize_message(each.data, CameraInfo) for each in stored
             if each.topic == '/sync/camera_info']
    assert infos[1].header == compressed(1).header and infos[1].k[0] == 30


def test_outputs_namespace_and_parameters_are_the_nodes(tmp_path):
    source = write_bag(tmp_path / 'in', camera_messages(2))
    run(source, tmp_path / 'out', outputs=('sync/semantics', '/sync/points'), namespace='/front/',
        parameters=make_parameters({'consumer': 'hydra', 'points.stride': 4}))
    stored = read_bag(tmp_path / 'out')
    assert {each.topic for each in stored} - set(KINDS) == {
        '/front/sync/semantics', '/front/sync/points', '/front/sync/label_space'}
    labels = next(deserialize_message(each.data, Image) for each in stored
                  if each.topic == '/front/sync/semantics')
    assert labels.encoding == '16SC1'  # as Hydra reads them
    cloud = next(deserialize_message(each.data, PointCloud2) for each in stored
                 if each.topic == '/front/sync/points')
    assert (cloud.height, cloud.width) == (6, 8)
    run(tmp_path / 'out', tmp_path / 'more', image='/cam/image')
    with pytest.raises(ValueError, match='/sync/camera_info.*namespace'):
        run(tmp_path / 'more', tmp_path / 'again', image='/cam/image')


@pytest.mark.parametrize('error', [
    ZeroDivisionError('division by zero'), RuntimeError('CUDA error'), IndexError('of a list')])
def test_no_frame_ends_the_work_whatever_it_raises(tmp_path, error):
    class Fragile(NumberPredictor):

        def predict(self, frame, maps):
            if int(frame.image[0, 0, 0]) in (1, 2):
                raise error
            return super().predict(frame, maps)
    source, lines = write_bag(tmp_path / 'in', camera_messages(5)), []
    result = run(source, tmp_path / 'out', Fragile(), lines)
    assert (result['answered'], result['refused']) == (3, {'failure': 2})
    assert sum(str(error) in line and type(error).__name__ in line for line in lines) == 1
    check_bag(tmp_path / 'out')
