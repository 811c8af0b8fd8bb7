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

"""Several cameras in one call of the network: the answers of one by one, and who cannot."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
from loaded_models import predictor_of
import numpy as np
import pytest
from sync_perception.models import hub
from sync_perception.models.exchange.exported import ExportedModel
from sync_perception.runtime.backends import Backend, OnnxBackend
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import DenseOutput, Frame, Prediction
import torch
import zoo


class Recorder(Backend):
    """Runs a backend and remembers the shapes of its inputs."""

    def __init__(self, backend: Backend, batches: bool):
        self.backend, self.batches = backend, batches
        self.precision, self.device, self.name = backend.precision, backend.device, backend.name
        self.shapes = []

    def __call__(self, image_b3hw):
        """Run it."""
        self.shapes.append(tuple(image_b3hw.shape))
        return self.backend(image_b3hw)


def recording(folder, batches=True) -> Predictor:
    """Load a model whose backend says of itself whether it can take batches."""
    return recorded(hub.load(folder), batches)


def recorded(model, batches=True, **settings) -> Predictor:
    """Serve a model as it was written."""
    predictor = predictor_of(model, **settings)
    predictor.backend = Recorder(predictor.backend, batches)
    return predictor


def camera(seed: int, size: tuple[int, int], focal: float) -> Frame:
    """Return a frame of smooth noise."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    K = np.array([[focal, 0, size[1] / 2], [0, 1.1 * focal, size[0] / 2], [0, 0, 1.0]])
    return Frame(cv2.resize(small, size[::-1]), K, stamp=seed, frame_id=f'camera{seed}')


def assert_close(found: Prediction, expected: Prediction):
    """Compare all maps; labels may differ where two classes are as good as equal."""
    for field in fields(Prediction):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if b is None:
            assert a is None, field.name
        elif field.name == 'labels':
            assert a.dtype == np.uint8 and (a == b).mean() > 0.999
        else:
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# by area and shape the network sees the first, second and fourth at 64x96, the third at 96x64
FRAMES = [
    camera(0, (80, 120), 100.0), camera(1, (160, 240), 310.0), camera(2, (120, 80), 70.0),
    camera(3, (80, 120), 45.0)]


def test_one_call_for_each_input_size_and_the_same_answers(small_model):
    predictor = recording(small_model)
    found = predictor.predict_batch(FRAMES)
    assert predictor.backend.shapes == [(3, 3, 64, 96), (1, 3, 96, 64)]
    for frame, prediction in zip(FRAMES, found):
        assert prediction.depth.shape == frame.size
        assert_close(prediction, predictor.predict(frame))
    assert len(predictor.backend.shapes) == 2 + len(FRAMES)


def test_metres_follow_each_camera(small_model):
    """The same pixels from lenses of twice and half the focal length are twice and half as far."""
    predictor = recorded(hub.load(small_model), max_depth=1e6)
    image = FRAMES[0].image
    lenses = [Frame(image, np.diag([k, k, 1]) @ FRAMES[0].K) for k in (1.0, 2.0, 0.5)]
    plain, twice, half = predictor.predict_batch(lenses)
    assert predictor.backend.shapes == [(3, 3, 64, 96)]
    np.testing.assert_allclose(twice.depth, 2 * plain.depth, rtol=1e-5)
    np.testing.assert_allclose(half.depth, plain.depth / 2, rtol=1e-5)


def test_each_frame_has_outputs_of_its_own(small_model):
    predictor = recording(small_model)
    wanted = [{'depth'}, set(), None, {'labels', 'confidence'}]
    found = predictor.predict_batch(FRAMES, wanted)
    given = [{field.name for field in fields(Prediction)
              if getattr(prediction, field.name) is not None} for prediction in found]
    assert given == [{'depth'}, set(), {'depth', 'labels', 'confidence'}, wanted[3]]
    # the frame of which nothing is wanted does not pass through the network
    assert predictor.backend.shapes == [(2, 3, 64, 96), (1, 3, 96, 64)]
    assert [p.depth is None for p in predictor.predict_batch(FRAMES[:2], {'labels'})] == [True] * 2


def test_refused_outputs_and_no_frames(small_model):
    predictor = recording(small_model)
    assert predictor.predict_batch([]) == []
    with pytest.raises(ValueError, match='2 .* 4'):
        predictor.predict_batch(FRAMES, [{'depth'}, {'depth'}])
    with pytest.raises(ValueError, match='normals'):
        predictor.predict_batch(FRAMES, [{'depth'}, {'depth', 'normals'}, None, None])
    assert predictor.backend.shapes == []


@pytest.mark.parametrize('name', ['uncoupled', 'depth_alone', 'semantics_alone'])
def test_every_map_of_several_architectures(name):
    model = zoo.build(name)
    predictor = recorded(model)
    frames = [FRAMES[0], FRAMES[3]]
    for frame, found in zip(frames, predictor.predict_batch(frames, predictor.available)):
        assert_close(found, predictor.predict(frame, predictor.available))
    assert predictor.backend.shapes[0][0] == 2


def test_a_backend_that_gains_nothing_gets_one_image_a_call(small_model):
    predictor = recording(small_model, batches=False)
    found = predictor.predict_batch(FRAMES)
    assert [shape[0] for shape in predictor.backend.shapes] == [1] * 4
    assert_close(found[3], predictor.predict(FRAMES[3]))


def test_openvino_gets_one_image_a_call(small_model, shared_cache):
    """Another number of images would be another graph, and no faster."""
    pytest.importorskip('openvino')
    predictor = Predictor(small_model, device='cpu', backend='openvino')
    found = predictor.predict_batch(FRAMES)
    assert {shape[0] for shape in predictor.backend.programs} == {1}
    assert_close(found[3], predictor.predict(FRAMES[3]))


class Fixed(ExportedModel):
    """An exported file that takes one image at once."""

    def __init__(self, model):
        config = replace(model.config, input_size=[64, 96])
        super().__init__(config, 'fixed.onnx', torch.device('cpu'), batch=1)
        self.model = model

    def run(self, image_b3hw) -> dict:
        """Refuse another number of images, as onnxruntime does."""
        assert len(image_b3hw) == 1
        return self.model(image_b3hw).maps()


def test_an_exported_file_for_one_image_gets_one(small_model):
    predictor = recording(small_model)
    expected = predictor.predict_batch(FRAMES[:2])
    model = Fixed(hub.load(small_model))
    predictor.backend = OnnxBackend(model)
    with torch.inference_mode():
        found = predictor.predict_batch(FRAMES[:2])
    for one, other in zip(found, expected):
        assert_close(one, other)


def test_predictions_of_a_batch_own_their_maps(small_model):
    """Neither each other's memory nor the network's output, which the next call may overwrite."""
    predictor = recording(small_model)
    kept: list[DenseOutput] = []
    run = predictor.backend.backend

    def keep(image_b3hw):
        maps = run(image_b3hw).maps()
        kept.append(DenseOutput(**{
            name: torch.nn.functional.interpolate(values, image_b3hw.shape[2:])
            for name, values in maps.items()}))
        return kept[-1]

    predictor.backend.backend = keep
    # at the network's own size nothing is resized, so nothing is copied by chance
    frames = [camera(seed, (64, 96), 400.0) for seed in range(3)]
    predictions = predictor.predict_batch(frames)
    before = [p.depth.copy() for p in predictions], [p.confidence.copy() for p in predictions]
    with torch.inference_mode():
        for values in kept[0].maps().values():
            assert values.shape[2:] == (64, 96)
            values.fill_(7.0)
    predictions[0].depth[:] = 1.0
    predictor.predict_batch([Frame(255 - frame.image, frame.K) for frame in frames])
    for index in (1, 2):
        np.testing.assert_array_equal(predictions[index].depth, before[0][index])
        np.testing.assert_array_equal(predictions[index].confidence, before[1][index])


def test_a_focal_length_unlike_those_of_training_is_told(small_model):
    """64x96 is what the network sees of 80x120: focal lengths shrink by 0.8."""
    model = hub.load(small_model)
    model.config = replace(model.config, focal_range=[60.0, 90.0])
    predictor = recorded(model)
    assert predictor.focal_problem(camera(0, (80, 120), 100.0)) == ''
    assert predictor.focal_problem(camera(0, (80, 120), 75.0)) == ''
    for focal, seen in ((70.0, '56'), (200.0, '160')):
        problem = predictor.focal_problem(camera(0, (80, 120), focal))
        assert f'is {seen} pixels' in problem and '60 to 90' in problem and '96x64' in problem
        assert '\n' not in problem
    assert recording(small_model).focal_problem(FRAMES[0]) == ''


def test_a_model_without_depth_does_not_mind_the_focal_length():
    model = zoo.build('semantics_alone')
    model.config = replace(model.config, focal_range=[400.0, 500.0])
    assert recorded(model).focal_problem(FRAMES[0]) == ''


@pytest.mark.skipif(not torch.cuda.is_available(), reason='this machine has no CUDA device')
def test_a_gpu_gives_the_same_in_one_call(small_model):
    predictor = Predictor(small_model, device='cuda')
    expected = [Predictor(small_model, device='cpu').predict(frame) for frame in FRAMES]
    for _ in range(3):  # the buffer of the images and the memory of the maps come around again
        for found, one in zip(predictor.predict_batch(FRAMES), expected):
            np.testing.assert_allclose(found.depth, one.depth, rtol=0.03)
            assert (found.labels == one.labels).mean() > 0.95
