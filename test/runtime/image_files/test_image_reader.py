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

"""Reading of images as frames: their intrinsics in every orientation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.calibration.camera_calibration import Calibration
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.headers import oriented_jpeg
from sync_perception.runtime.image_files.image_reader import (
    assumed_intrinsics,
    CameraOptions,
    find_images,
    ImageReader,
)


def reader_of(calibration):
    """Return a reader with a calibration."""
    reader = ImageReader(CameraOptions(), BitDepth())
    reader.calibration = calibration
    return reader


def test_the_calibration_is_turned_with_its_image(tmp_path):
    """A calibration of the stored pixels; one of the turned ones; one of another size."""
    path = tmp_path / 'a.jpg'
    data = cv2.imencode('.jpg', np.zeros((64, 96, 3), np.uint8))[1].tobytes()
    K = np.array([[80.0, 0, 40], [0, 81, 31], [0, 0, 1]])
    for orientation, calibrated, expected in (
            (1, (64, 96), K), (6, (96, 64), K),
            (3, (64, 96), [[80, 0, 55], [0, 81, 32], [0, 0, 1]]),
            (6, (64, 96), [[81, 0, 32], [0, 80, 40], [0, 0, 1]])):
        path.write_bytes(oriented_jpeg(data, orientation))
        frame = reader_of(Calibration(calibrated, K)).read(path)
        assert frame.size == ((96, 64) if orientation == 6 else (64, 96))
        np.testing.assert_array_equal(frame.K, expected)
    with pytest.raises(ValueError, match='calibration is for 96x63'):
        reader_of(Calibration((63, 96), K)).read(path)


def test_assumed_field_of_view():
    fx = assumed_intrinsics((100, 200))[0, 0]
    assert abs(2 * np.degrees(np.arctan(100 / fx)) - 70) < 1e-9


def test_finds_images_in_folders(tmp_path):
    for name in ('a/view.png', 'b/broken.png', 'b/notes.txt', 'b/view.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path / 'b', tmp_path / 'a' / 'view.png'])
    assert [path.name for path in found] == ['broken.png', 'view.png', 'view.png']
    with pytest.raises(FileNotFoundError, match='gone'):
        find_images([tmp_path / 'gone.png'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='empty'):
        find_images([tmp_path / 'empty'])
