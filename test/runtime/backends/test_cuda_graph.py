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

"""CUDA graphs: on a CPU with a recorder that computes anew, and in earnest on a GPU."""

from __future__ import annotations

import logging

import pytest
from sync_perception.models import hub
from sync_perception.runtime.backends import choose_backend, EagerBackend
from sync_perception.runtime.backends.base import difference, Disagreement, probe_image
from sync_perception.runtime.backends.cuda_graph import (
    CapturedGraph,
    CudaGraphBackend,
    MAX_RECORDINGS,
)
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
import torch

SIZES = [(64, 96), (32, 64), (96, 160), (64, 160), (128, 96)]
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='this machine has no CUDA device')


@pytest.fixture(scope='module')
def model(small_model):
    """Load the small model."""
    return hub.load(small_model, torch.device('cpu'))


class Recorder:
    """
    Records as CUDA does, on a CPU: inputs and outputs stay where they are.

    :param factor: of the depth in a replay.
    """

    def __init__(self, factor: float = 1.0):
        self.shapes, self.replays, self.factor = [], 0, factor

    def __call__(self, network, image):
        """Compute once, and again in each replay."""
        self.shapes.append(tuple(image.shape))
        own = image.clone()
        output = network(own).apply(torch.clone)

        def replay():
            self.replays += 1
            for name, values in network(own).maps().items():
                output.maps()[name].copy_(values * self.factor)
        return CapturedGraph(own, output, replay)


def images(model):
    """Return an image of each size, and the first sizes again."""
    return [probe_image(model, size) * factor for factor in (1.0, 0.5)
            for size in (SIZES if factor == 1 else SIZES[-2:])]


def test_each_shape_is_recorded_once_and_replayed_for_every_image(model):
    recorder, eager = Recorder(), EagerBackend(model)
    backend = CudaGraphBackend(model, record=recorder)
    for image in images(model):
        assert difference(backend(image), eager(image)) < 1e-6
    assert recorder.shapes == [(1, 3, *size) for size in SIZES]  # the first is the probe's
    assert recorder.replays == 1 + len(images(model))
    assert len(backend.recordings) == MAX_RECORDINGS
    backend(probe_image(model, SIZES[0]))  # the least recently used was dropped
    assert recorder.shapes[-1] == (1, 3, *SIZES[0])


def test_a_batch_is_a_shape_of_its_own(model):
    recorder = Recorder()
    backend = CudaGraphBackend(model, record=recorder)
    pair = torch.cat([probe_image(model), probe_image(model).flip(3)])
    assert difference(backend(pair), EagerBackend(model)(pair)) < 1e-6
    assert recorder.shapes[-1][0] == 2


def test_what_cannot_be_recorded_runs_in_eager_torch_with_one_warning(model, caplog):
    def fail(network, image):
        raise RuntimeError('operation not permitted when stream is capturing\nin detail')

    with caplog.at_level(logging.WARNING):
        backend = CudaGraphBackend(model, record=fail)
        for _ in range(3):
            assert difference(backend(probe_image(model)),
                              EagerBackend(model)(probe_image(model))) == 0
    assert caplog.text.count('stream is capturing') == 1
    assert 'in detail' not in caplog.text


def test_a_recording_that_computes_something_else_is_refused(model):
    with pytest.raises(Disagreement, match='differ by 0.0[45]'):
        CudaGraphBackend(model, record=Recorder(1.05))


def test_memory_that_runs_out_is_the_predictors_business(model):
    def fail(network, image):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')

    with pytest.raises(torch.cuda.OutOfMemoryError):
        CudaGraphBackend(model, record=fail)


def test_on_a_cpu_the_name_is_refused_with_the_reason(model):
    with pytest.raises(ValueError, match='NVIDIA GPU.*cpu'):
        choose_backend(model, name='cuda_graph')


@needs_gpu
@pytest.mark.parametrize('half', [False, True])
def test_on_a_gpu_every_size_gives_what_eager_gives(small_model, half, caplog):
    own = hub.load(small_model, torch.device('cuda'))
    backend = choose_backend(own, 'half' if half else 'float32')
    assert backend.name == 'cuda_graph'
    eager = EagerBackend(own, half)
    for image in images(own):
        assert difference(backend(image), eager(image)) < 1e-3
    assert None not in backend.recordings.values(), caplog.text


@needs_gpu
def test_on_a_gpu_predictions_are_those_of_the_cpu(small_model):
    import numpy as np
    picture = np.random.default_rng(0).integers(0, 256, (70, 110, 3), np.uint8)
    frame = Frame(picture, np.array([[100.0, 0, 55], [0, 100.0, 35], [0, 0, 1]]))
    found = Predictor(small_model, 'cuda').predict(frame)
    expected = Predictor(small_model, 'cpu', backend='torch').predict(frame)
    assert (found.labels == expected.labels).mean() > 0.99
    np.testing.assert_allclose(found.depth, expected.depth, rtol=0.03)
