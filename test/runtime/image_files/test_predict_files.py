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
from pathlib import Path

import cv2
from flat_street import K, SIZE, street, StreetPredictor
import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.runtime.image_files.image_reader import CameraOptions
from sync_perception.runtime.image_files.predict_files import (
    predict_files,
    PredictFilesOptions,
    unique_names,
)
from sync_perception.runtime.image_files.result_files import CloudOptions, encode_depth
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.predictor_options import PredictorOptions
from sync_perception.types import Prediction
import yaml
import zoo


def predict(images, out, model=None, report=print, camera_info=None, fx=None, rectify=False,
            **options):
    """Predict on the CPU."""
    return predict_files(images, out, PredictFilesOptions(
        PredictorOptions(model, 'cpu'), CameraOptions(fx, camera_info, rectify), **options),
        report)


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
    summary = predict(
        [pictures / 'a' / 'view.png', pictures / 'b'], out, small_model, fx=80.0,
        cloud=CloudOptions(), report=lines.append)
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
    summary = predict(
        [pictures / 'a'], out, pictures / 'model', fx=80.0, report=lambda line: None)
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
    monkeypatch.setattr(PredictorOptions, 'load', lambda options: StreetPredictor(1.25))
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / 'camera.yaml').write_text(yaml.safe_dump({
        'image_width': SIZE[1], 'image_height': SIZE[0], 'distortion_model': 'plumb_bob',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': K.ravel().tolist()},
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.0] * 5}}))
    return tmp_path


def test_the_mount_corrects_the_scale_of_every_image_by_itself(calibrated_street):
    lines, out = [], calibrated_street / 'out'
    summary = predict(
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
    summary = predict(
        [calibrated_street / 'a.png'], calibrated_street / 'out', mount=Mount(4.0),
        camera_info=calibrated_street / 'camera.yaml', report=lines.append)
    entry, = summary['images']
    assert entry['mount_scale'] == 1.0 and entry['mount_rejected'] in lines[-1]


def test_a_mount_needs_labels_to_find_the_ground(pictures):
    hub.save(zoo.build('depth_alone'), pictures / 'model')
    with pytest.raises(ValueError, match='labels'):
        predict([pictures / 'a'], pictures / 'out', pictures / 'model', fx=80.0,
                      mount=Mount(1.5))


def test_warns_when_the_camera_is_unknown(small_model, pictures):
    lines: list[str] = []
    summary = predict(
        [pictures / 'a' / 'view.png'], pictures / 'out', small_model, report=lines.append)
    assert summary['intrinsics_assumed'] and 'guess' in lines[0]


def test_16_bit_images_are_read_alike_and_that_is_said_once(tmp_path, small_model):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'thermal'
    folder.mkdir()
    for number in (1, 2, 10):
        grey = cv2.resize(rng.integers(7000, 9600, (8, 12)).astype(np.uint16), (96, 64))
        cv2.imwrite(str(folder / f'{number}.png'), grey)
    cv2.imwrite(str(folder / '2.jpg'), np.zeros((64, 96), np.uint8))
    lines: list[str] = []
    summary = predict([folder], tmp_path / 'out', small_model, fx=90.0,
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
    summary = predict(
        [tmp_path / 'a.png', tmp_path / 'b.png'], tmp_path / 'out', small_model, fx=90.0,
        max_pixels=6143, report=lines.append)
    assert len(summary['failed']) == 2 and not summary['images']
    assert '4096x2' in lines[0] and '6143' in lines[1]


@pytest.mark.parametrize('arguments, message', [
    ({'fx': 0.0}, 'fx'), ({'fx': float('nan')}, 'fx'),
    ({'fx': 1.0, 'camera_info': 'x.yaml'}, 'both'),
    ({'rectify': True}, 'camera_info')])
def test_refuses_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        predict([], tmp_path, **arguments)


def test_names_of_the_results_are_unique():
    paths = [Path('b/broken.png'), Path('b/view.png'), Path('a/view.png')]
    assert unique_names(paths) == ['broken', 'view', 'view_2']


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
    predict([pictures / 'a'], pictures / 'out', small_model, camera_info=camera,
                  report=lines.append)
    assert sum('warning' in line and 'distortion' in line for line in lines) == 1


def test_rectified_images_have_the_projections_intrinsics_and_void_borders(small_model, pictures):
    camera, lines = pictures / 'camera.yaml', []
    camera.write_text(CAMERA)
    summary = predict(
        [pictures / 'a'], pictures / 'out', small_model, camera_info=camera, rectify=True,
        cloud=CloudOptions(), report=lines.append)
    [entry] = summary['images']
    assert summary['rectified'] and not any('distortion' in line for line in lines)
    assert entry['K'] == [[60, 0, 48], [0, 60, 32], [0, 0, 1]]
    labels = cv2.imread(str(pictures / 'out' / 'view_labels.png'), cv2.IMREAD_UNCHANGED)
    depth = cv2.imread(str(pictures / 'out' / 'view_depth.png'), cv2.IMREAD_UNCHANGED)
    assert (labels[0] == 255).all() and (depth[0] == 0).all() and labels[32, 48] != 255


def test_an_image_without_any_depth_is_warned_of(small_model, pictures, monkeypatch):
    empty = Prediction(depth=np.full((64, 96), np.nan, np.float32))
    monkeypatch.setattr('sync_perception.runtime.predictor.Predictor.predict',
                        lambda *arguments: empty)
    lines = []
    predict([pictures / 'a'], pictures / 'out', small_model, fx=90.0,
                  report=lines.append)
    assert any('warning' in line and 'NaN' in line for line in lines)
