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

"""Prediction of files: what is written is read back with other libraries."""

from __future__ import annotations

import json

import cv2
from flat_street import K, SIZE, street, StreetPredictor
import numpy as np
import pytest
from sync_perception.calibration.camera_calibration import Calibration
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.headers import MAX_PIXELS, oriented_jpeg
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.runtime import predict_files as predict
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.pointcloud import POINT
from sync_perception.runtime.predict_files import (
    encode_depth,
    find_images,
    intrinsics,
    predict_files,
    read_frame,
    unique_names,
    write_ply,
)
from sync_perception.types import Prediction
import yaml
import zoo


@pytest.fixture
def pictures(tmp_path):
    """Write two images of the same name in two folders, and one that is broken."""
    rng = np.random.default_rng(0)
    for place in ('a', 'b'):
        (tmp_path / place).mkdir()
        image = cv2.resize(rng.integers(0, 256, (8, 12, 3), np.uint8), (96, 64))
        cv2.imwrite(str(tmp_path / place / 'view.png'), image)
    (tmp_path / 'b' / 'broken.png').write_bytes(b'not a picture')
    (tmp_path / 'b' / 'notes.txt').write_text('not a picture either')
    return tmp_path


def test_writes_everything_for_every_image(small_model, pictures):
    lines: list[str] = []
    out = pictures / 'out'
    summary = predict_files(
        [pictures / 'a' / 'view.png', pictures / 'b'], out, small_model, 'cpu', fx=80.0,
        cloud=True, report=lines.append)
    assert json.loads((out / 'summary.json').read_text()) == summary
    assert [entry['image'] for entry in summary['failed']] == [str(pictures / 'b' / 'broken.png')]
    assert any('broken.png' in line for line in lines)
    first, second = summary['images']
    assert second['files'][0] == 'view_2_panel.png'
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*first['files'], *second['files'], 'summary.json'])
    depth = cv2.imread(str(out / 'view_depth.png'), cv2.IMREAD_UNCHANGED)
    labels = cv2.imread(str(out / 'view_labels.png'), cv2.IMREAD_UNCHANGED)
    color = cv2.imread(str(out / 'view_color.png'))[..., ::-1]
    assert depth.dtype == np.uint16 and depth.shape == labels.shape == (64, 96)
    np.testing.assert_array_equal(color, LabelSpace.load('driving').colorize(labels))
    assert first['K'][0] == [80.0, 0.0, 47.5]
    assert abs(sum(first['classes'].values()) - 1) < 0.01
    assert not summary['intrinsics_assumed'] and not any('guess' in line for line in lines)


@pytest.mark.parametrize('name, given, absent', [
    ('depth_alone', {'panel', 'depth'}, {'classes', 'mean_confidence'}),
    ('semantics_alone', {'panel', 'labels', 'color'}, {'depth'}),
    ('mobile_unet', {'panel', 'depth', 'cloud', 'labels', 'color', 'uncertainty', 'normals'},
     set()),
])
def test_writes_what_a_model_gives_and_nothing_else(name, given, absent, pictures):
    hub.save(zoo.build(name), pictures / 'model')
    out = pictures / 'out'
    summary = predict_files(
        [pictures / 'a'], out, pictures / 'model', 'cpu', fx=80.0, report=lambda line: None)
    entry = summary['images'][0]
    assert set(entry['files']) == {f'view_{kind}.png' for kind in given}
    assert all((out / file).is_file() for file in entry['files'])
    assert {'depth', 'classes', 'mean_confidence'} - set(entry) == absent
    if 'normals' in given:
        code = cv2.imread(str(out / 'view_normals.png'))[..., ::-1].astype(float)
        np.testing.assert_allclose(np.linalg.norm(code / 127.5 - 1, axis=-1), 1, atol=0.01)
        depth, deviation = (
            cv2.imread(str(out / f'view_{kind}.png'), cv2.IMREAD_UNCHANGED)
            for kind in ('depth', 'uncertainty'))
        np.testing.assert_array_equal(depth == 0, deviation == 0)


@pytest.fixture
def calibrated_street(monkeypatch, tmp_path):
    """Write two images of a street with its calibration; what predicts them is 1.25 short."""
    monkeypatch.setattr(predict, 'Predictor', lambda *arguments: StreetPredictor(1.25))
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / 'camera.yaml').write_text(yaml.safe_dump({
        'image_width': SIZE[1], 'image_height': SIZE[0], 'distortion_model': 'plumb_bob',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': K.ravel().tolist()},
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.0] * 5}}))
    return tmp_path


def test_the_mount_corrects_the_scale_of_every_image_by_itself(calibrated_street):
    lines, out = [], calibrated_street / 'out'
    summary = predict_files(
        [calibrated_street], out, camera_info=calibrated_street / 'camera.yaml',
        mount=Mount(1.6), report=lines.append)
    assert summary['mount'] == {'height': 1.6, 'pitch': 0.0, 'roll': 0.0}
    factor = 1.25 ** 0.5  # of a single frame; the prediction counts as another one
    expected = encode_depth(street()[0] / np.float32(1.25 / factor)) / 256
    for entry, line in zip(summary['images'], lines):
        assert entry['mount_scale'] == pytest.approx(factor, rel=1e-3) and '1.1' in line
        name = entry['files'][1]
        depth = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED) / 256
        np.testing.assert_allclose(depth, expected, rtol=5e-3)


def test_a_mount_that_cannot_be_told_from_the_image_says_why(calibrated_street):
    lines = []
    summary = predict_files(
        [calibrated_street / 'a.png'], calibrated_street / 'out', mount=Mount(4.0),
        camera_info=calibrated_street / 'camera.yaml', report=lines.append)
    entry, = summary['images']
    assert entry['mount_scale'] == 1.0 and entry['mount_doubt'] in lines[-1]


def test_a_mount_needs_labels_to_find_the_ground(pictures):
    hub.save(zoo.build('depth_alone'), pictures / 'model')
    with pytest.raises(ValueError, match='labels'):
        predict_files([pictures / 'a'], pictures / 'out', pictures / 'model', 'cpu', fx=80.0,
                      mount=Mount(1.5))


def test_warns_when_the_camera_is_unknown(small_model, pictures):
    lines: list[str] = []
    summary = predict_files(
        [pictures / 'a' / 'view.png'], pictures / 'out', small_model, 'cpu', report=lines.append)
    assert summary['intrinsics_assumed'] and 'guess' in lines[0]


def test_depth_png_is_kitti_s():
    depth = np.array([[1.0, 80.25, np.nan, np.inf, -1.0, 0.0, 1e-4, 300.0]], np.float32)
    assert encode_depth(depth).tolist() == [[256, 20544, 0, 0, 0, 0, 1, 65535]]


def test_ply_is_read_by_open3d(tmp_path):
    open3d = pytest.importorskip('open3d')
    points = np.zeros(3, POINT)
    points['x'], points['y'], points['z'] = [1, 2, 3], [4, 5, 6], [7, 8, 9]
    points['rgb'], points['label'] = [0xFF0000, 0x00FF00, 0x0000FF], [3, 255, 0]
    points['confidence'] = [0.25, 0.5, 1.0]
    write_ply(points, tmp_path / 'cloud.ply')
    cloud = open3d.t.io.read_point_cloud(str(tmp_path / 'cloud.ply')).point
    np.testing.assert_array_equal(
        cloud['positions'].numpy(), [[1, 4, 7], [2, 5, 8], [3, 6, 9]])
    np.testing.assert_array_equal(cloud['colors'].numpy(), np.eye(3) * 255)
    np.testing.assert_array_equal(cloud['label'].numpy().ravel(), [3, 255, 0])
    np.testing.assert_array_equal(cloud['confidence'].numpy().ravel(), [0.25, 0.5, 1.0])


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
        frame = read_frame(path, None, Calibration(calibrated, K), BitDepth(), MAX_PIXELS)
        assert frame.size == ((96, 64) if orientation == 6 else (64, 96))
        np.testing.assert_array_equal(frame.K, expected)
    with pytest.raises(ValueError, match='calibration is for 96x63'):
        read_frame(path, None, Calibration((63, 96), K), BitDepth(), MAX_PIXELS)


def test_16_bit_images_are_read_alike_and_that_is_said_once(tmp_path, small_model):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'thermal'
    folder.mkdir()
    for number in (1, 2, 10):
        grey = cv2.resize(rng.integers(7000, 9600, (8, 12)).astype(np.uint16), (96, 64))
        cv2.imwrite(str(folder / f'{number}.png'), grey)
    cv2.imwrite(str(folder / '2.jpg'), np.zeros((64, 96), np.uint8))
    lines: list[str] = []
    summary = predict_files([folder], tmp_path / 'out', small_model, 'cpu', fx=90.0,
                            report=lines.append)
    assert [entry['image'] for entry in summary['images']] == [
        str(folder / f'{number}.png') for number in (1, 2, 10)]
    assert [line for line in lines if '16-bit' in line] == lines[:1]
    panel = cv2.imread(str(tmp_path / 'out' / '1_panel.png'))
    assert np.ptp(panel[:64, :96]) > 100  # stretched: it fills 15 % of its bits


def test_images_that_cannot_be_a_cameras_are_left_out(tmp_path, small_model):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((2, 4096), np.uint8))
    cv2.imwrite(str(tmp_path / 'b.png'), np.zeros((64, 96), np.uint8))
    lines: list[str] = []
    summary = predict_files(
        [tmp_path / 'a.png', tmp_path / 'b.png'], tmp_path / 'out', small_model, 'cpu', fx=90.0,
        max_pixels=6143, report=lines.append)
    assert len(summary['failed']) == 2 and not summary['images']
    assert '4096x2' in lines[0] and '6143' in lines[1]


def test_assumed_field_of_view():
    fx = intrinsics((100, 200))[0, 0]
    assert abs(2 * np.degrees(np.arctan(100 / fx)) - 70) < 1e-9


@pytest.mark.parametrize('arguments, message', [
    ({'fx': 0.0}, 'fx must be'), ({'fx': float('nan')}, 'fx must be'),
    ({'fx': 1.0, 'camera_info': 'x.yaml'}, 'not both')])
def test_refuses_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        predict_files([], tmp_path, **arguments)


def test_finds_images_in_folders(pictures):
    found = find_images([pictures / 'b', pictures / 'a' / 'view.png'])
    assert [path.name for path in found] == ['broken.png', 'view.png', 'view.png']
    assert unique_names(found) == ['broken', 'view', 'view_2']
    with pytest.raises(FileNotFoundError, match='gone'):
        find_images([pictures / 'gone.png'])
    (pictures / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='empty'):
        find_images([pictures / 'empty'])


CAMERA = """
image_width: 96
image_height: 64
camera_matrix: {data: [80.0, 0, 47.0, 0, 81.0, 31.0, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {data: [-0.3, 0.1, 0, 0, 0]}
projection_matrix: {data: [60.0, 0, 48.0, 0, 0, 60.0, 32.0, 0, 0, 0, 1, 0]}
"""


def test_distortion_is_warned_of_in_a_line(small_model, pictures):
    camera, lines = pictures / 'camera.yaml', []
    camera.write_text(CAMERA)
    predict_files([pictures / 'a'], pictures / 'out', small_model, 'cpu', camera_info=camera,
                  report=lines.append)
    assert sum('warning' in line and 'distortion' in line for line in lines) == 1


def test_rectified_images_have_the_projections_intrinsics_and_void_borders(small_model, pictures):
    camera, lines = pictures / 'camera.yaml', []
    camera.write_text(CAMERA)
    summary = predict_files(
        [pictures / 'a'], pictures / 'out', small_model, 'cpu', camera_info=camera, rectify=True,
        cloud=True, report=lines.append)
    [entry] = summary['images']
    assert summary['rectified'] and not any('distortion' in line for line in lines)
    assert entry['K'] == [[60, 0, 48], [0, 60, 32], [0, 0, 1]]
    labels = cv2.imread(str(pictures / 'out' / 'view_labels.png'), cv2.IMREAD_UNCHANGED)
    depth = cv2.imread(str(pictures / 'out' / 'view_depth.png'), cv2.IMREAD_UNCHANGED)
    assert (labels[0] == 255).all() and (depth[0] == 0).all() and labels[32, 48] != 255


def test_rectification_needs_a_calibration(small_model, pictures):
    with pytest.raises(ValueError, match='rectify needs camera_info'):
        predict_files([pictures / 'a'], pictures / 'out', small_model, rectify=True)


def test_an_image_without_any_depth_is_warned_of(small_model, pictures, monkeypatch):
    empty = Prediction(depth=np.full((64, 96), np.nan, np.float32))
    monkeypatch.setattr('sync_perception.runtime.predict_files.Predictor.predict',
                        lambda *arguments: empty)
    lines = []
    predict_files([pictures / 'a'], pictures / 'out', small_model, 'cpu', fx=90.0,
                  report=lines.append)
    assert any('warning' in line and 'NaN' in line for line in lines)
