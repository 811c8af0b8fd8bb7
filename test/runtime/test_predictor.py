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

"""From a frame to metres at the camera's size, on a network whose answers are known."""

from __future__ import annotations

from dataclasses import fields

import cv2
from loaded_models import predictor_of
import numpy as np
import pytest
from sync_perception.kitti.drive import KittiDrive
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.models.network_input import camera_scale, network_size
from sync_perception.runtime import predictor as predictors
from sync_perception.runtime.predictor import MAPS_NEEDED, Predictor
from sync_perception.types import DenseOutput, Frame
from tiny_branch import TINY
import torch
from torch import nn
import zoo

SPACE = LabelSpace.load('driving')
SKY, ROAD = SPACE.index('sky'), SPACE.index('road')
SIZE = (90, 200)
K = np.array([[150.0, 0, 99.5], [0, 150.0, 44.5], [0, 0, 1]])


class Oracle(nn.Module):
    """Knows: bright is sky, dark is road; depth is 10 canonical metres, at half the size."""

    device = torch.device('cpu')

    def __init__(self, maps=('depth', 'logits'), depth=10.0, **config):
        super().__init__()
        self.config = ModelConfig(
            'oracle', {}, SPACE.to_dict(), **{'input_pixels': 64 * 160, **config})
        self.labels = SPACE
        self.maps = maps
        self.depth = nn.Parameter(torch.tensor(depth))

    def forward(self, image_b3hw):
        """Answer at half the input's size."""
        bright = nn.functional.avg_pool2d(image_b3hw.mean(1, keepdim=True), 2)
        logits = torch.full((*bright.shape[:1], len(SPACE), *bright.shape[2:]), -20.0)
        logits = logits.to(bright)
        logits[:, SKY], logits[:, ROAD] = 4 * bright[:, 0], -4 * bright[:, 0]
        normals = torch.zeros_like(bright).repeat(1, 3, 1, 1)
        normals[:, 2] = -1
        answers = {
            'depth': torch.ones_like(bright) * self.depth, 'logits': logits, 'normals': normals,
            'log_variance': torch.full_like(bright, np.log(0.04))}
        return DenseOutput(**{name: answers[name] for name in self.maps})


@pytest.fixture
def frame() -> Frame:
    """Make a frame that is bright above and dark below."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:45] = 255
    return Frame(image, K, stamp=5, frame_id='camera')


def test_sizes_types_and_classes(frame):
    prediction = predictor_of(Oracle()).predict(frame)
    assert prediction.depth.shape == prediction.labels.shape == prediction.confidence.shape == SIZE
    assert prediction.depth.dtype == prediction.confidence.dtype == np.float32
    assert prediction.labels.dtype == np.uint8
    assert (prediction.labels[:43] == SKY).all() and (prediction.labels[47:] == ROAD).all()
    # bright is +1 after normalisation: a logit of 4 against -4
    np.testing.assert_allclose(prediction.confidence[:40], 1 / (1 + np.exp(-8.0)), rtol=1e-4)


def test_depth_is_metric_for_this_camera(frame):
    model = Oracle(canonical_focal=300.0)
    prediction = predictor_of(model).predict(frame)
    width = network_size(SIZE, model.config.input_pixels)[1]
    metres = 10.0 * (150.0 * width / SIZE[1]) / 300.0
    np.testing.assert_allclose(prediction.depth[50:], metres, rtol=1e-5)
    twice = Frame(frame.image, np.diag([2, 2, 1]) @ K)
    np.testing.assert_allclose(
        predictor_of(model).predict(twice).depth[50:], 2 * metres, rtol=1e-5)


def test_sky_has_no_depth(frame):
    prediction = predictor_of(Oracle()).predict(frame, {'depth'})
    assert np.isnan(prediction.depth[:43]).all() and np.isfinite(prediction.depth[47:]).all()
    assert prediction.labels is None and prediction.confidence is None


def test_range_and_broken_answers_are_nan(frame):
    near = predictor_of(Oracle(('depth',), canonical_focal=100.0), max_depth=11.9)
    assert np.isnan(near.predict(frame, {'depth'}).depth).all()
    far = predictor_of(Oracle(('depth',), canonical_focal=100.0), max_depth=12.1)
    assert np.isfinite(far.predict(frame, {'depth'}).depth).all()
    broken = predictor_of(Oracle(('depth',), depth=-1.0))
    assert np.isnan(broken.predict(frame, {'depth'}).depth).all()


def test_a_model_that_answers_nan_is_refused():
    with pytest.raises(ValueError, match='depth.*finite'):
        predictor_of(Oracle(('depth',), depth=float('nan')))


def test_only_what_is_asked_for(frame):
    predictor = predictor_of(Oracle(('depth', 'logits', 'normals', 'log_variance')))
    assert predictor.available == set(MAPS_NEEDED)
    for name in MAPS_NEEDED:
        prediction = predictor.predict(frame, {name})
        given = {output for output in MAPS_NEEDED if getattr(prediction, output) is not None}
        assert given == {name}
    assert predictor.predict(frame, set()).depth is None


def test_uncertainty_is_in_metres_and_normals_are_unit(frame):
    predictor = predictor_of(
        Oracle(('depth', 'normals', 'log_variance'), canonical_focal=100.0))
    prediction = predictor.predict(frame, {'depth', 'normals', 'uncertainty'})
    np.testing.assert_allclose(prediction.uncertainty, 0.2 * prediction.depth, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(prediction.normals, axis=-1), 1, rtol=1e-5)
    assert prediction.normals.shape == (*SIZE, 3) and (prediction.normals[..., 2] == -1).all()


def test_refuses_what_the_model_does_not_give(frame):
    predictor = predictor_of(Oracle(('depth',)))
    assert predictor.available == {'depth'}
    for outputs in ({'labels'}, {'depth', 'colour'}):
        with pytest.raises(ValueError, match='does not give'):
            predictor.predict(frame, outputs)
    with pytest.raises(ValueError, match='max_depth'):
        predictor_of(Oracle(), max_depth=-1.0)


@pytest.mark.parametrize('name, given', [
    ('depth_alone', {'depth'}), ('semantics_alone', {'labels', 'confidence'}),
    ('uncoupled', {'depth', 'labels', 'confidence'}),
    ('mobile_unet', {'depth', 'labels', 'confidence'})])
def test_without_being_asked_it_gives_depth_and_labels_where_it_has_them(frame, name, given):
    prediction = predictor_of(zoo.build(name)).predict(frame)
    assert {field.name for field in fields(prediction)
            if getattr(prediction, field.name) is not None} == given


@pytest.mark.parametrize('size', [(1, 1), (7, 300), (300, 7), (375, 1242), (64, 160)])
def test_any_image_size(size):
    predictor = predictor_of(Oracle())
    prediction = predictor.predict(Frame(np.zeros((*size, 3), np.uint8), K))
    assert prediction.depth.shape == prediction.labels.shape == size
    assert (prediction.labels == ROAD).all()


def test_images_need_not_be_contiguous_or_writable(frame):
    predictor = predictor_of(Oracle())
    expected = predictor.predict(frame)
    mirrored = np.ascontiguousarray(frame.image[:, ::-1])
    mirrored.flags.writeable = False
    found = predictor.predict(Frame(mirrored[:, ::-1], K))
    np.testing.assert_array_equal(found.depth, expected.depth)


def test_predictions_do_not_share_memory(frame):
    predictor = predictor_of(Oracle())
    first = predictor.predict(frame)
    kept = first.confidence.copy()
    dark = Frame(np.full_like(frame.image, 90), K)
    predictor.predict(dark)
    np.testing.assert_array_equal(first.confidence, kept)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Save a small synchronised model."""
    torch.manual_seed(3)
    config = ModelConfig(
        'sync', {'depth': TINY, 'semantics': TINY}, SPACE.to_dict(), input_pixels=64 * 192)
    path = tmp_path_factory.mktemp('model')
    hub.save(build_model(config), path)
    return path


def test_a_model_folder_on_a_real_frame(folder, data_root):
    drive = KittiDrive(next((data_root / 'kitti').glob('**/*_sync')))
    frame = drive.frame(0)
    predictor = Predictor(folder, device='cpu')
    prediction = predictor.predict(frame)
    assert prediction.depth.shape == frame.size == (375, 1242)
    near, far = predictor.config.depth_range
    valid = prediction.depth[np.isfinite(prediction.depth)]
    scale = camera_scale(predictor.config, frame.K, frame.size)
    assert valid.size == 0 or (valid.min() >= near * scale and valid.max() <= far)
    facts = predictor.describe()
    assert facts['device'] == 'cpu' and facts['precision'] == 'float32'
    assert facts['model'] == str(folder) and facts['architecture'] == 'sync'


def test_the_default_model_on_a_real_frame_keeps_the_definition_of_every_map(data_root):
    """All probabilities and depth interpolated in double precision, and then decided."""
    drive = KittiDrive(next((data_root / 'kitti').glob('**/*_sync')))
    frame, predictor = drive.frame(0), Predictor(device='cpu', backend='torch')
    output = predictor.backend(predictor.prepare(frame))
    found = predictor.finish(output, frame, {'depth', 'labels', 'confidence', 'uncertainty'})

    def dense(values: torch.Tensor) -> np.ndarray:
        return nn.functional.interpolate(
            values.double(), size=frame.size, mode='bilinear')[0].numpy()

    probabilities = dense(output.logits.double().softmax(1))
    confidence = probabilities.max(axis=0)
    ties = np.sort(probabilities, axis=0)[-2] > confidence - 1e-6
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-5)
    assert np.array_equal(found.labels[~ties], probabilities.argmax(axis=0)[~ties])
    depth = dense(output.depth * camera_scale(predictor.config, frame.K, frame.size))[0]
    hidden = (depth <= 0) | (depth > predictor.max_depth) | (found.labels == SKY)
    np.testing.assert_array_equal(np.isnan(found.depth), hidden)
    np.testing.assert_allclose(found.depth[~hidden], depth[~hidden], rtol=1e-5)
    deviation = np.exp(dense(output.log_variance)[0] / 2) * depth
    np.testing.assert_allclose(found.uncertainty[~hidden], deviation[~hidden], rtol=3e-5)
    assert np.isnan(found.uncertainty[hidden]).all()


@pytest.mark.parametrize('wanted', ['depth', 'uncertainty', 'labels', 'confidence'])
def test_a_map_is_the_same_alone_as_among_the_others(frame, wanted):
    predictor = predictor_of(
        Oracle(maps=('depth', 'logits', 'log_variance', 'normals')))
    alone = vars(predictor.predict(frame, {wanted}))
    together = vars(predictor.predict(frame, set(MAPS_NEEDED)))
    np.testing.assert_array_equal(alone[wanted], together[wanted])
    assert {name for name, values in alone.items() if values is not None} == {wanted}


def test_depth_is_not_classified_where_no_class_is_infinitely_far(frame, monkeypatch):
    predictor = predictor_of(Oracle())
    predictor.infinite_ids = []
    monkeypatch.setattr(predictors, 'classify', None)
    assert np.isfinite(predictor.predict(frame, {'depth'}).depth).all()


def test_relative_depth_is_called_so(folder, tmp_path):
    assert Predictor(folder, device='cpu').relative == ''
    model = hub.load(folder)
    model.config.metric = False
    hub.save(model, tmp_path)
    assert 'its unit' in Predictor(tmp_path, device='cpu').relative


def test_agrees_with_opencv_and_the_bare_network(folder):
    """Do the whole way of a frame again, with OpenCV and NumPy."""
    rng = np.random.default_rng(2)
    image = cv2.resize(rng.integers(0, 256, (12, 24, 3), np.uint8), (200, 90))
    frame = Frame(image, K)
    model = hub.load(folder)
    height, width = network_size(SIZE, 64 * 192)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if height < SIZE[0] or width < SIZE[1]:
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        output = model(batch)
    scale = 150.0 * width / 200 / model.config.canonical_focal
    depth = cv2.resize(output.depth[0, 0].numpy(), (200, 90)) * scale
    softmax = output.logits.softmax(1)[0].numpy()
    classes = np.stack([cv2.resize(c, (200, 90)) for c in softmax])
    prediction = Predictor(folder, device='cpu', max_depth=1e6).predict(frame)
    np.testing.assert_allclose(prediction.confidence, classes.max(axis=0), atol=1e-4)
    agree = prediction.labels == classes.argmax(axis=0)
    assert agree.mean() > 0.999
    finite = np.isfinite(prediction.depth)
    np.testing.assert_allclose(prediction.depth[finite], depth[finite], rtol=1e-3)
    np.testing.assert_array_equal(~finite, prediction.labels == SKY)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        Predictor(tmp_path / 'nowhere')


def test_nothing_is_predicted_where_the_camera_shows_nothing():
    maps = ('depth', 'logits', 'normals', 'log_variance')
    predictor = predictor_of(Oracle(maps))
    image = np.zeros((*SIZE, 3), np.uint8)
    void = np.flatnonzero(np.arange(SIZE[0] * SIZE[1]) % SIZE[1] < 20)
    whole, part = predictor.predict_batch(
        [Frame(image, K), Frame(image, K, void=void)], predictor.available)
    assert (part.labels[:, :20] == SPACE.void).all() and (part.confidence[:, :20] == 0).all()
    for name in ('depth', 'uncertainty', 'normals'):
        assert np.isnan(getattr(part, name)[:, :20]).all()
    for name in MAPS_NEEDED:
        np.testing.assert_array_equal(
            getattr(part, name)[:, 20:], getattr(whole, name)[:, 20:], name)
        assert not np.array_equal(getattr(part, name), getattr(whole, name), equal_nan=True)


def test_warming_up_prepares_the_network_for_a_size_once(small_model, monkeypatch):
    predictor, seen = Predictor(small_model, 'cpu'), []
    kind = type(predictor.backend)
    run = kind.__call__
    monkeypatch.setattr(
        kind, '__call__', lambda self, image: seen.append(tuple(image.shape)) or run(self, image))
    assert predictor.warm_up((120, 160)) and not predictor.warm_up((120, 160))
    frame = Frame(np.full((120, 160, 3), 7, np.uint8), np.diag([100.0, 100.0, 1.0]))
    predictor.predict(frame)
    assert len(seen) == 2 and len(set(seen)) == 1  # the first frame finds what was prepared
