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

"""Calibrations whose numbers hardly fit together, or that the images are likely not of."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.calibration.camera_calibration import Calibration, CalibrationError, Region
from sync_perception.calibration.plausibility import (
    contradictions,
    coverage_warning,
    distortion_warning,
    is_named_rectified,
)

SIZE = (480, 640)
K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
P = np.column_stack([K, np.zeros(3)])
DISTORTED = np.array([-0.3, 0.1, 0.0, 0.0, 0.0])


def changed(matrix: np.ndarray, **numbers: float) -> np.ndarray:
    """Return a matrix with other fx, fy, cx or cy."""
    places = {'fx': (0, 0), 'fy': (1, 1), 'cx': (0, 2), 'cy': (1, 2)}
    result = matrix.copy()
    for name, value in numbers.items():
        result[places[name]] = value
    return result


@pytest.mark.parametrize('values', [
    {}, {'P': P}, {'P': P * [[0.8], [0.8], [1]]}, {'D': np.array([0.1, 0, 0, 0])},
    {'K': changed(K, cy=20)},  # the sky was cut off
    {'K': changed(K, cx=280, cy=260)}, {'K': changed(K, fy=400)},
    {'region': Region(100, 40, 240, 320)}, {'binning': (2, 2)}, {'binning': (1, 2)},
    {'P': P * [[0.3], [0.3], [1]] + [[0, 0, 224, 0], [0, 0, 168, 0], [0] * 4],
     'model': 'equidistant', 'D': np.full(4, 0.01)},
    {'R': np.zeros((3, 3)), 'D': np.zeros(0), 'model': ''},
])
def test_nothing_is_said_of_what_cameras_are_like(values):
    assert contradictions(Calibration(**{'size': SIZE, 'K': K, **values})) == ''


@pytest.mark.parametrize('values, match', [
    ({'K': changed(K, cx=700)}, ('(700, 240)', '640x480', 'outside')),
    ({'K': changed(K, cy=-1)}, ('(320, -1)', '640x480', 'outside')),
    ({'K': changed(K, cx=160, cy=120)}, ('(160, 120)', '640x480', '320x240')),
    ({'K': changed(K, cx=160, cy=120), 'region': Region(120, 160, 240, 320)},
     ('(160, 120)', '640x480', '320x240 at (160, 120)')),
    ({'K': changed(K, fy=900)}, ('fx = 500', 'fy = 900')),
    ({'P': P * [[2], [2], [1]] - [[0, 0, 320, 0], [0, 0, 240, 0], [0] * 4]},
     ('fx = 500 of K', 'fx = 1000 of P')),
    ({'R': np.eye(3) * 2}, ('R = ', 'expected a rotation')),
    ({'D': np.full(7, 0.1)}, ('7 distortion', 'expected 4 or 5')),
    ({'D': DISTORTED, 'model': 'thin_prism'}, ('thin_prism', 'expected plumb_bob')),
])
def test_the_two_values_that_do_not_fit_are_named(values, match):
    found = contradictions(Calibration(**{'size': SIZE, 'K': K, **values}))
    assert all(part in found for part in match), found


@pytest.mark.parametrize('values, match', [
    ({'K': changed(K, cx=160, cy=120), 'binning': (2, 2)}, r'\(160, 120\) and binning 2x2'),
    ({'K': changed(K, cx=80, cy=60), 'binning': (4, 4)}, r'\(80, 60\) and binning 4x4'),
    ({'K': changed(K, cx=160), 'binning': (1, 2)}, r'\(160, 240\) and binning 2x1'),
    ({'P': changed(P, cx=160, cy=120), 'binning': (2, 2)}, r'\(160, 120\) and binning 2x2'),
    ({'K': changed(K, fy=3250)}, 'fx = 500 and fy = 3250'),
    ({'K': changed(K, cx=np.nan)}, 'K = .*nan'),
    ({'R': np.full((3, 3), np.inf)}, 'R = .*inf'),
    ({'D': np.array([np.nan])}, 'D = .*nan'),
])
def test_what_would_give_wrong_metres_is_refused(values, match):
    with pytest.raises(CalibrationError, match=match):
        Calibration(**{'size': SIZE, 'K': K, **values})


@pytest.mark.parametrize('topic, named', [
    ('/camera/image_rect', True), ('/a/image_rect_color/compressed', True), ('image', False),
    ('/rectified/image_raw', False), ('', False), ('/compressed', False)])
def test_the_name_says_whether_images_are_rectified(topic, named):
    assert is_named_rectified(topic) is named


def test_distortion_is_said_with_the_pixels_that_it_costs():
    calibration = Calibration(SIZE, K, P, D=DISTORTED)
    found = distortion_warning(calibration)
    assert 'plumb_bob' in found and '-0.3, 0.1' in found and 'rectify' in found
    pixels = float(found.partition('up to ')[2].partition(';')[0])
    # at (300, 225) pixels from the middle: r 0.75, 1 - 0.3 r^2 + 0.1 r^4 = 0.863
    assert 30 < pixels < 75
    assert distortion_warning(calibration, rectify=True) == ''
    assert distortion_warning(calibration, topic='/cam/image_rect') == ''
    warning = distortion_warning(calibration, rectify=True, topic='/cam/image_rect')
    assert '/cam/image_rect' in warning


def test_a_projection_of_another_image_is_said_too():
    assert distortion_warning(Calibration(SIZE, K, P)) == ''
    scaled = changed(P, fx=400, fy=400)
    found = distortion_warning(Calibration(SIZE, K, scaled))
    assert '500' in found and '400' in found and 'rectify' in found
    assert distortion_warning(Calibration(SIZE, K, scaled), rectify=True) == ''
    assert distortion_warning(Calibration(SIZE, np.zeros((3, 3)), P)) == ''


def test_distortion_that_cannot_be_undone_is_distortion_all_the_same():
    assert 'states distortion' in distortion_warning(
        Calibration(SIZE, K, P, D=DISTORTED, model='unheard_of'))


@pytest.mark.parametrize(('void', 'warned'), [(None, False), (49, False), (60, True)])
def test_a_rectified_image_that_is_mostly_void_is_warned_of(void, warned):
    warning = coverage_warning(None if void is None else np.arange(void), 100)
    assert bool(warning) == warned and ('60%' in warning) == warned
