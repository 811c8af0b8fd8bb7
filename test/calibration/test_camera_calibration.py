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

"""Calibration files are read as the node reads a camera_info."""

from __future__ import annotations

import pytest
from sync_perception.calibration.camera_calibration import read_calibration

CALIBRATION = """
image_width: 96
image_height: 64
camera_name: test
camera_matrix: {rows: 3, cols: 3, data: [80.0, 0, 47.0, 0, 81.0, 31.0, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


def test_the_rectified_images_intrinsics_win(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text(CALIBRATION)
    plain = read_calibration(path)
    assert plain.image_size == (64, 96)
    assert plain.intrinsics.tolist() == [[80, 0, 47], [0, 81, 31], [0, 0, 1]]
    path.write_text(CALIBRATION + (
        'projection_matrix: {rows: 3, cols: 4, data: [70, 0, 48, 0, 0, 71, 32, 0, 0, 0, 1, 0]}'))
    assert read_calibration(path).intrinsics.tolist() == [[70, 0, 48], [0, 71, 32], [0, 0, 1]]


@pytest.mark.parametrize('text', [
    '', '[1, 2]', 'image_width: 3', CALIBRATION.replace('80.0', 'far'),
    CALIBRATION.replace('[80.0, 0, ', '['), CALIBRATION.replace('80.0', '0.0'),
    CALIBRATION.replace('80.0', '.nan'), '{'])
def test_what_is_no_calibration_is_named(tmp_path, text):
    path = tmp_path / 'camera.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'camera.yaml\b.*(expected|is not YAML)'):
        read_calibration(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.yaml'):
        read_calibration(tmp_path / 'nowhere.yaml')
