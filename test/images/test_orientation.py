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

"""Images that are turned upright, and their intrinsics with them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.images.headers import oriented_jpeg
from sync_perception.images.orientation import (
    calibration_orientation,
    turn,
    turn_intrinsics,
    turned_size,
    TURNS,
)
from sync_perception.images.reading import read_upright

K = np.array([[50.0, 0, 20], [0, 60, 10], [0, 0, 1]])


@pytest.mark.parametrize('orientation', TURNS)
def test_images_are_turned_as_opencv_does(orientation, tmp_path):
    """By itself OpenCV applies the metadata, unless it is told not to."""
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8), (60, 40))
    path = tmp_path / 'a.jpg'
    data = cv2.imencode('.jpg', picture)[1].tobytes()
    path.write_bytes(oriented_jpeg(data, orientation))
    image, found, stored = read_upright(path)
    assert found == orientation and stored == (40, 60)
    expected = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(image, expected)
    assert image.shape[:2] == turned_size(stored, orientation)


@pytest.mark.parametrize('orientation', TURNS)
def test_a_point_is_seen_where_the_turned_image_shows_it(orientation):
    point = np.array([0.2, -0.1, 2.0])
    size = (32, 64)
    u, v, w = K @ point
    image = np.zeros(size)
    image[round(v / w), round(u / w)] = 1
    row, column = np.argwhere(turn(image, orientation))[0]
    turned = turn_intrinsics(K, size, orientation)
    # the camera's axes turn with its image
    transpose, columns, rows = TURNS[orientation]
    x, y, z = point[[1, 0, 2]] if transpose else point
    u, v, w = turned @ [-x if columns else x, -y if rows else y, z]
    assert (round(v / w), round(u / w)) == (row, column)
    assert turned[0, 0] > 0 and turned[1, 1] > 0


def test_a_calibration_belongs_to_the_stored_pixels_unless_its_size_says_otherwise():
    assert calibration_orientation(6, (40, 60), (40, 60)) == 6
    assert calibration_orientation(6, (60, 40), (40, 60)) == 1
    assert calibration_orientation(3, (40, 60), (40, 60)) == 3
    assert calibration_orientation(6, (40, 40), (40, 40)) == 6
    with pytest.raises(ValueError, match='60x41'):
        calibration_orientation(6, (41, 60), (40, 60))


def test_skew_is_refused_where_the_image_is_turned():
    skewed = K + [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(turn_intrinsics(skewed, (32, 64), 1), skewed)
    with pytest.raises(ValueError, match='skew'):
        turn_intrinsics(skewed, (32, 64), 3)
