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

"""Known points of the world lie in the rectified image where P says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.calibration.camera_calibration import Calibration, CalibrationError, Region
from sync_perception.calibration.plausibility import contradictions, distortion_warning
from sync_perception.calibration.rectification import displacement, Rectification, Rectifier
from sync_perception.geometry import project
from sync_perception.types import Frame

SIZE = (240, 320)
K = np.array([[190.0, 0, 163.0], [0, 195.0, 116.0], [0, 0, 1]])
P = np.array([[170.0, 0, 158.0, -20.0], [0, 170.0, 121.0, 0], [0, 0, 1, 0]])
R = cv2.Rodrigues(np.array([0.02, -0.04, 0.03]))[0]
LENSES = {
    'plumb_bob': [-0.25, 0.06, 0.001, -0.002, -0.01],
    'rational_polynomial': [0.6, 0.08, 0.0005, -0.001, 0.01, 0.9, 0.2, 0.02],
    'equidistant': [0.05, -0.02, 0.004, -0.001],
}


def distorted(points: np.ndarray, model: str, D: list[float]) -> np.ndarray:
    """Project (N, 3) points through a lens, by the formulas of the models: (N, 2) pixels of K."""
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    r = np.hypot(x, y)
    if model == 'equidistant':
        angle = np.arctan(r)
        factor = angle * (1 + sum(k * angle ** (2 * i + 2) for i, k in enumerate(D))) / r
        x, y = x * factor, y * factor
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = [*D, 0, 0, 0][:8]
        factor = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
        x, y = (x * factor + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
                y * factor + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y)
    return np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]], axis=-1)


def picture_of(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw smooth spots around these pixels."""
    rows, columns = np.indices(size)
    spots = sum(np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 8) for u, v in pixels)
    return np.repeat(np.rint(spots * 250).clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def center(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """Return the centroid of the brightness near a pixel."""
    left, top = int(round(u)) - 7, int(round(v)) - 7
    part = image[top:top + 15, left:left + 15, 0].astype(float)
    rows, columns = np.indices(part.shape)
    return np.array([(part * columns).sum(), (part * rows).sum()]) / part.sum() + (left, top)


def points_seen(K_seen: np.ndarray) -> np.ndarray:
    """Return points, in the rectified camera, that lie on a grid of pixels of its image."""
    pixels = np.array([(u, v, 1.0) for u in range(40, 290, 60) for v in range(40, 210, 40)])
    return pixels @ np.linalg.inv(K_seen).T * np.linspace(2, 30, len(pixels))[:, None]


@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.parametrize('model', LENSES)
def test_points_lie_where_the_projection_says(model, turned):
    rotation = R if turned else np.eye(3)
    calibration = Calibration(SIZE, K, P, rotation, np.array(LENSES[model]), model)
    points = points_seen(P[:, :3])  # in the rectified camera's frame: R p_camera
    seen = distorted(points @ rotation, model, LENSES[model])
    assert np.abs(seen - project(points, P[:, :3])).max() > 5
    raw = picture_of(seen, SIZE)
    frame = Rectifier()(Frame(raw, calibration.intrinsics, 5, 'cam'), calibration)
    assert (frame.stamp, frame.frame_id) == (5, 'cam')
    np.testing.assert_array_equal(frame.K, P[:, :3])
    for u, v in project(points, P[:, :3]):
        if np.ravel_multi_index((int(v), int(u)), SIZE) not in frame.void:
            np.testing.assert_allclose(center(frame.image, u, v), (u, v), atol=0.25)


@pytest.mark.parametrize('model', LENSES)
def test_region_and_binning_change_nothing_in_the_world(model):
    region, binning = Region(top=30, left=20, height=180, width=260), (2, 2)
    calibration = Calibration(
        SIZE, K, P, R, np.array(LENSES[model]), model, region=region, binning=binning)
    points = points_seen(P[:, :3])
    pixels = distorted(points @ R, model, LENSES[model])
    small = (pixels - (20, 30) + 0.5) / 2 - 0.5
    rectified = Rectification(calibration)
    image = rectified.image(picture_of(small, (90, 130)))
    expected = (project(points, P[:, :3]) - (20, 30) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(project(points, rectified.K), expected)
    inside = [(u, v) for u, v in expected if 8 < u < 121 and 8 < v < 81]
    assert len(inside) >= 6
    for u, v in inside:
        np.testing.assert_allclose(center(image, u, v), (u, v), atol=0.3)


def test_the_image_is_that_of_opencv():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), np.uint8), (0, 0), 2)
    D = np.array(LENSES['plumb_bob'])
    expected = cv2.undistort(image, K, D, None, P[:, :3])
    found = Rectification(Calibration(SIZE, K, P, D=D)).image(image)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('model', LENSES)
def test_without_a_projection_every_pixel_has_a_source(model):
    calibration = Calibration(SIZE, K, D=np.array(LENSES[model]), model=model)
    rectified = Rectification(calibration)
    assert rectified.void.size < 0.01 * SIZE[0] * SIZE[1]
    points = points_seen(rectified.K)
    image = rectified.image(picture_of(distorted(points, model, LENSES[model]), SIZE))
    for u, v in project(points, rectified.K):
        np.testing.assert_allclose(center(image, u, v), (u, v), atol=0.25)


def test_pixels_without_a_source_are_named():
    wide = P.copy()
    wide[:2, :2] /= 4  # the rectified camera sees more than the lens
    rectified = Rectification(Calibration(SIZE, K, wide, D=np.array(LENSES['plumb_bob'])))
    shown = rectified.image(np.full((*SIZE, 3), 200, np.uint8))[..., 0].ravel() > 40
    void = np.zeros(shown.size, bool)
    void[rectified.void] = True
    assert 0.5 < void.mean() < 0.99
    # the lens model folds back at this radius; what lies beyond must not show the middle again
    radius = np.hypot(*(np.indices(SIZE)[::-1].reshape(2, -1) - wide[:2, 2:3])) / wide[0, 0]
    assert void[radius > 1.7].all() and not void[radius < 0.4].any()
    assert shown[~void].all()


def test_a_rectified_image_is_left_alone():
    image = np.zeros((*SIZE, 3), np.uint8)
    stereo = Calibration(SIZE, K, np.column_stack([K, [-90, 0, 0]]))
    for calibration in (Calibration(SIZE, K), stereo):
        rectified = Rectification(calibration)
        assert rectified.image(image) is image and rectified.void.size == 0
        assert displacement(calibration) < 1e-3


def test_the_maps_are_made_once_for_a_calibration(monkeypatch):
    made = []
    monkeypatch.setattr('sync_perception.calibration.rectification.cv2.initUndistortRectifyMap',
                        lambda *arguments: made.append(1) or np.zeros((2, *SIZE), np.float32))
    first, second = (Calibration(SIZE, K, P, D=np.array([k, 0, 0, 0, 0])) for k in (0.1, 0.2))
    rectifier, frame = Rectifier(), Frame(np.zeros((*SIZE, 3), np.uint8), K)
    for calibration in (first, first, first, second, second):
        rectifier(frame, calibration)
    assert len(made) == 2


def test_the_displacement_is_that_of_the_border():
    D = np.array([-0.3, 0.1, 0, 0, 0])
    calibration = Calibration(SIZE, K, np.column_stack([K, np.zeros(3)]), D=D)
    corners = np.array([[0.0, 0], [319, 0], [0, 239], [319, 239]])
    straight = cv2.undistortPoints(corners[:, None], K, D, P=K)[:, 0]
    edge = np.hypot(*(straight - corners).T)
    assert displacement(calibration) == pytest.approx(edge.max(), rel=0.5)
    assert displacement(calibration) > 5


@pytest.mark.parametrize('changes, match', [
    ({'model': 'double_sphere'}, 'double_sphere.*expected plumb_bob'),
    ({'model': ''}, "''.*expected plumb_bob"),
    ({'model': 'equidistant'}, '5 distortion coefficients .*equidistant, expected 4'),
    ({'D': np.array([0.1, 0.2])}, '2 distortion coefficients .*expected 4 or 5'),
    ({'D': np.full(8, 0.1)}, '8 distortion coefficients .*expected 4 or 5'),
    ({'R': np.diag([1.0, 1, 2])}, 'R = .*expected a rotation'),
    ({'R': np.diag([1.0, 1, -1])}, 'R = .*expected a rotation'),
    ({'K': np.array([[190.0, 30, 160], [0, 190, 120], [0, 0, 1]])}, 'skew'),
    ({'K': np.zeros((3, 3))}, 'positive focal lengths'),
])
def test_what_cannot_be_rectified_is_refused_by_its_values(changes, match):
    calibration = Calibration(**{
        'size': SIZE, 'K': K, 'P': P, 'D': np.array(LENSES['plumb_bob']), **changes})
    with pytest.raises(CalibrationError, match=match):
        Rectification(calibration)


@pytest.mark.parametrize('D', [np.zeros(0), np.zeros(8), np.zeros(1)])
def test_no_distortion_is_no_distortion_by_any_name(D):
    assert Rectification(Calibration(SIZE, K, D=D, model='none')).maps is None


def test_zeros_behind_the_coefficients_of_a_model_do_no_harm():
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    found = [Rectification(Calibration(SIZE, K, P, D=np.array(D))).image(image)
             for D in ([0.1, 0.01, 0, 0], [0.1, 0.01, 0, 0, 0], [0.1, 0.01, 0, 0, 0, 0, 0, 0])]
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()


def spoiled(rng: np.random.Generator) -> Calibration:
    """Return a calibration some of whose numbers no camera has."""
    extreme = [0, -1, 1, 1e-300, 1e300, 1e8, -1e8, 1e-9, 0.5, 100, 1e4, np.nan, np.inf]
    values = {'K': K / 10, 'P': P / 10 * rng.integers(2), 'R': np.eye(3),
              'D': rng.normal(0, 0.1, int(rng.choice([0, 1, 4, 5, 8, 12, 14, 20])))}
    values['K'][2, 2] = 1
    values['P'][2, 2] = 1
    for matrix in values.values():
        if matrix.size and rng.random() < 0.3:
            matrix.flat[rng.integers(matrix.size)] = rng.choice(extreme)
    if rng.random() < 0.3:
        values['R'] = cv2.Rodrigues(rng.normal(0, 1.5, 3))[0]
    return Calibration((24, 32), model=str(rng.choice([*LENSES, 'other'])), **values)


@pytest.mark.filterwarnings('error')
def test_any_numbers_are_rectified_or_refused():
    rng = np.random.default_rng(7)
    image, counts = np.zeros((24, 32, 3), np.uint8), {'rectified': 0, 'refused': 0}
    for _ in range(1000):
        try:
            calibration = spoiled(rng)
            assert distortion_warning(calibration) + contradictions(calibration) is not None
            frame = Rectifier()(Frame(image, calibration.intrinsics), calibration)
            assert frame.image.shape == image.shape and np.isfinite(np.linalg.inv(frame.K)).all()
            counts['rectified'] += 1
        except CalibrationError:
            counts['refused'] += 1
    assert min(counts.values()) > 100, counts
