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

"""Calibrations from messages and files, and back."""

from __future__ import annotations

from calibration_files import CALIBRATION
import numpy as np
import pytest
from sync_perception.calibration.camera_calibration import read_calibration
from sync_perception.ros.io.calibration_messages import (
    calibration_of,
    camera_info_of,
    read_camera_info,
)
import yaml


def test_a_calibration_is_read_as_camera_calibration_writes_it(calibration):
    info = read_camera_info(calibration)
    assert (info.height, info.width, info.distortion_model) == (48, 64, 'plumb_bob')
    assert list(info.d) == [0.1, -0.2, 0.0, 0.0, 0.05]
    np.testing.assert_array_equal(
        info.k.reshape(3, 3), [[50, 0, 31.5], [0, 51, 23.5], [0, 0, 1]])
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, 2], [30, 22, 1])
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))


@pytest.mark.parametrize('change, message', [
    ({'image_width': None}, 'image_width, expected int'),
    ({'image_height': '48'}, 'image_height, expected int'),
    ({'camera_matrix': {'data': [1, 2, 3]}}, 'camera_matrix, expected 9 numbers'),
    ({'projection_matrix': [1.0] * 12}, 'projection_matrix, expected dict'),
    ({'rectification_matrix': {'data': ['a'] * 9}}, 'rectification_matrix, expected 9 numbers'),
    ({'distortion_coefficients': {}}, 'distortion_coefficients, expected numbers'),
])
def test_a_malformed_calibration_is_refused_by_the_entry(tmp_path, change, message):
    path = tmp_path / 'bad.yaml'
    path.write_text(yaml.safe_dump({**CALIBRATION, **change}))
    with pytest.raises(ValueError, match=message):
        read_camera_info(str(path))


@pytest.mark.parametrize('text, message', [
    ('[1, 2', 'is not YAML'), ('[1, 2]', 'got list, expected named entries')])
def test_what_is_not_a_calibration_is_refused(tmp_path, text, message):
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_camera_info(str(path))
    with pytest.raises(ValueError, match='no calibration file'):
        read_camera_info(str(tmp_path / 'none.yaml'))


FISHEYE = """
image_width: 1242
image_height: 375
camera_name: cam
camera_matrix: {rows: 3, cols: 3, data: [721.5, 0, 609.5, 0, 721.5, 172.8, 0, 0, 1]}
camera_model: fisheye
distortion_coefficients: {rows: 1, cols: 4, data: [0.17, -0.03, 0.0004, -0.0007]}
"""


def test_a_file_and_its_message_are_one_calibration(tmp_path, calibration):
    fisheye = tmp_path / 'fisheye.yaml'
    fisheye.write_text(FISHEYE)
    assert read_camera_info(str(fisheye)).distortion_model == 'equidistant'
    for path in (calibration, str(fisheye)):
        of_file, of_message = read_calibration(path), calibration_of(read_camera_info(path))
        assert (of_file.size, of_file.model) == (of_message.size, of_message.model)
        for name in ('K', 'P', 'R', 'D'):
            np.testing.assert_array_equal(getattr(of_file, name), getattr(of_message, name))


@pytest.mark.parametrize('change, match', [
    ('distortion_model: plumb_bob', "'fisheye' and distortion_model 'plumb_bob'"),
    ('camera_model: omnidirectional', "'omnidirectional', expected"),
    ('camera_matrix: {data: [721.5, 0, 609.5, 0, .nan, 172.8, 0, 0, 1]}', 'camera.yaml.*nan'),
    ('camera_matrix: {data: [721.5, 0, 609.5, 0, 5000, 172.8, 0, 0, 1]}', '721.5 and fy = 5000'),
    ('image_width: true', 'True for image_width')])
def test_a_contradiction_is_refused_with_its_values(tmp_path, change, match):
    path = tmp_path / 'camera.yaml'
    path.write_text(f'{FISHEYE}{change}\n')
    with pytest.raises(ValueError, match=match):
        read_camera_info(str(path))
    with pytest.raises(ValueError, match=match):
        read_calibration(path)


def test_distortion_without_a_model_is_refused(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text(FISHEYE.replace('camera_model: fisheye\n', ''))
    with pytest.raises(ValueError, match='no distortion_model .*equidistant'):
        read_calibration(path)


def test_the_same_numbers_are_the_same_calibration(calibration):
    first, second = (calibration_of(read_camera_info(calibration)) for _ in range(2))
    assert first is second
    other = camera_info_of(first)
    other.binning_x = 2
    assert calibration_of(other) is not first


def test_a_message_may_call_the_equidistant_model_fisheye(tmp_path):
    path = tmp_path / 'fisheye.yaml'
    path.write_text(FISHEYE)
    message = read_camera_info(str(path))
    message.distortion_model = 'fisheye'
    assert calibration_of(message).model == 'equidistant'
