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

"""What the predictor does when a device has not the memory: one by one, smaller, then an error."""

from __future__ import annotations

from dataclasses import replace
import logging

from loaded_models import predictor_of
import numpy as np
import pytest
from sync_perception.models import hub
from sync_perception.runtime import predictor as predictors
from sync_perception.runtime.backends import Backend, EagerBackend
from sync_perception.runtime.memory import cause_of, is_out_of_memory, memory_of, OutOfMemoryError
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
import torch

K = np.array([[100.0, 0, 60], [0, 100.0, 40], [0, 0, 1]])
FULL, HALF = 64 * 96, 32 * 64


class Cramped(Backend):
    """A network on a device that has memory for so many pixels at once."""

    name, precision, batches = 'cramped', 'float32', True

    def __init__(self, folder, pixels: int, error: Exception | None = None):
        self.run = EagerBackend(hub.load(folder))
        self.device, self.pixels = self.run.device, pixels
        self.error = error or torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')
        self.shapes = []

    def __call__(self, image_b3hw):
        """Run the network, or raise."""
        self.shapes.append((image_b3hw.shape[0], *image_b3hw.shape[2:]))
        if image_b3hw[:, 0].numel() > self.pixels:
            raise self.error
        return self.run(image_b3hw)


def cramped(folder, pixels, error=None) -> Predictor:
    """Load a model on such a device."""
    predictor = Predictor(folder, device='cpu')
    predictor.backend = Cramped(folder, pixels, error)
    return predictor


def street(seed: int = 0) -> Frame:
    """Return a frame that the network sees at 64x96, and at 32x64 with half the area."""
    return Frame(np.random.default_rng(seed).integers(0, 256, (80, 120, 3), np.uint8), K)


@pytest.fixture
def freed(monkeypatch) -> list:
    """Record for which devices the cache was emptied."""
    devices = []
    monkeypatch.setattr(predictors, 'free_memory', devices.append)
    return devices


def test_one_retry_at_half_the_area_and_then_it_stays_there(small_model, freed, caplog):
    predictor = cramped(small_model, HALF)
    assert predictor.reduced == ''
    with caplog.at_level(logging.WARNING):
        first = predictor.predict(street())
    assert predictor.backend.shapes == [(1, 64, 96), (1, 32, 64)]
    assert first.depth.shape == (80, 120) and freed == [torch.device('cpu')]
    assert '96x64' in predictor.reduced and '64x32' in predictor.reduced
    assert predictor.reduced in caplog.text and '\n' not in predictor.reduced
    predictor.predict(street(1))
    assert predictor.backend.shapes[2:] == [(1, 32, 64)]


def test_the_smaller_input_keeps_the_metres(small_model, freed):
    """What a model of half the area says from the start, its canonical focal length included."""
    model = hub.load(small_model)
    model.config = replace(model.config, input_pixels=FULL // 2)
    expected = predictor_of(model).predict(street())
    found = cramped(small_model, HALF).predict(street())
    np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-4)


def test_memory_for_neither_is_a_clear_error_each_time(small_model, freed):
    predictor = cramped(small_model, 0)
    for attempt in (1, 2):
        with pytest.raises(OutOfMemoryError) as raised:
            predictor.predict(street())
        told = str(raised.value)
        for part in ('cpu', '96x64', '64x32', 'smaller model', 'Tried to allocate 2 GiB'):
            assert part in told
        assert '\n' not in told and raised.value.__cause__ is None
        # the error must not hold on to the maps of the calls that failed
        assert raised.value.__context__ is None
        assert predictor.backend.shapes == [(1, 64, 96), (1, 32, 64)] * attempt
        assert predictor.reduced == ''
    predictor.backend.pixels = FULL  # another program made room
    predictor.predict(street())
    assert predictor.backend.shapes[-1] == (1, 64, 96) and predictor.reduced == ''


def test_it_shrinks_once_only(small_model, freed):
    predictor = cramped(small_model, HALF)
    predictor.predict(street())
    predictor.backend.pixels = 0
    with pytest.raises(OutOfMemoryError, match='64x32'):
        predictor.predict(street())
    assert predictor.backend.shapes[2:] == [(1, 32, 64)]


def test_a_batch_goes_one_by_one_before_it_shrinks(small_model, freed):
    predictor = cramped(small_model, FULL)
    found = predictor.predict_batch([street(0), street(1), street(2)])
    assert predictor.backend.shapes == [(3, 64, 96)] + [(1, 64, 96)] * 3
    assert predictor.reduced == '' and len(freed) == 1
    expected = Predictor(small_model, device='cpu').predict(street(2))
    np.testing.assert_allclose(found[2].depth, expected.depth, rtol=1e-4, atol=1e-4)
    predictor.predict_batch([street(0), street(1)])
    assert predictor.backend.shapes[4:] == [(1, 64, 96)] * 2


def test_a_batch_without_memory_for_one_shrinks_then(small_model, freed):
    predictor = cramped(small_model, HALF)
    found = predictor.predict_batch([street(0), street(1)])
    assert predictor.backend.shapes == [(2, 64, 96), (1, 64, 96), (1, 32, 64), (1, 32, 64)]
    assert [prediction.depth.shape for prediction in found] == [(80, 120)] * 2
    assert '64x32' in predictor.reduced


def test_a_model_of_one_size_cannot_shrink(small_model, freed):
    predictor = cramped(small_model, 0)
    predictor.config = replace(predictor.config, input_size=[64, 96])
    with pytest.raises(OutOfMemoryError, match='cannot change'):
        predictor.predict(street())
    assert predictor.backend.shapes == [(1, 64, 96)]


def test_memory_that_runs_out_after_the_network_counts_too(small_model, freed, monkeypatch):
    """At the camera's size, many classes take more than the network did."""
    predictor = cramped(small_model, FULL)
    monkeypatch.setattr(predictors, 'classify', lambda *_: (_ for _ in ()).throw(
        torch.OutOfMemoryError('CUDA out of memory')))
    with pytest.raises(OutOfMemoryError):
        predictor.predict(street())
    assert predictor.backend.shapes == [(1, 64, 96), (1, 32, 64)]


def test_other_errors_are_not_mistaken_for_it(small_model, freed):
    predictor = cramped(small_model, 0, RuntimeError('Given groups=1, weight of size [8, 3]'))
    with pytest.raises(RuntimeError, match='Given groups') as raised:
        predictor.predict_batch([street(), street(1)])
    assert type(raised.value) is RuntimeError and freed == []


@pytest.mark.parametrize('error', [
    torch.OutOfMemoryError(), MemoryError(),
    RuntimeError('CUDA error: out of memory\nFor debugging consider CUDA_LAUNCH_BLOCKING=1'),
    RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'),
    RuntimeError('The following operation failed in the TorchScript interpreter.\n'
                 "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried")])
def test_what_libraries_say(error):
    assert is_out_of_memory(error)
    cause = cause_of(error)
    assert cause and '\n' not in cause
    if 'TorchScript' in str(error):
        assert cause.startswith('RuntimeError: DefaultCPUAllocator')


def test_torch_itself_says_so_on_a_cpu():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    with pytest.raises(RuntimeError) as raised:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(raised.value)


def test_memory_is_told_of_gpus_only(monkeypatch):
    assert memory_of(torch.device('cpu')) == {}
    mib = 2 ** 20
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (900 * mib, 1000 * mib))
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda device: 30 * mib)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda device: 80 * mib)
    assert memory_of(torch.device('cuda')) == {
        'GPU memory used (MiB)': '30', 'GPU memory most (MiB)': '80',
        'GPU memory free (MiB)': '900', 'GPU memory total (MiB)': '1000'}
