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

import numpy as np
import pytest
from sync_perception.ros.calibration import read_camera_info
import yaml

CALIBRATION = {
    'image_width': 64, 'image_height': 48, 'camera_name': 'front',
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.1, -0.2, 0, 0, 0.05]},
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': [50, 0, 31.5, 0, 51, 23.5, 0, 0, 1]},
    'rectification_matrix': {'rows': 3, 'cols': 3, 'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]},
    'projection_matrix': {
        'rows': 3, 'cols': 4, 'data': [48, 0, 30, 0, 0, 49, 22, 0, 0, 0, 1, 0]},
}


@pytest.fixture
def calibration(tmp_path):
    """Write a calibration and return its path."""
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(CALIBRATION))
    return str(path)


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
