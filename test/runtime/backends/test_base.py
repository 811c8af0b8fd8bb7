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

"""The eager backend, the reference of all others, and the choice of a device."""

from __future__ import annotations

import math

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.runtime.backends import (
    choose_backend,
    choose_device,
    EagerBackend,
    reduced_precision,
)
from sync_perception.runtime.backends.base import difference
from sync_perception.types import DenseOutput
import torch
from torch import nn

BRANCH = {'kind': 'mobile_unet', 'widths': [8, 8, 8, 8, 8]}


@pytest.fixture(scope='module')
def model():
    """Make the default architecture with fresh weights, its couplings awake."""
    torch.manual_seed(0)
    space = LabelSpace.load('driving').to_dict()
    made = build_model(ModelConfig('sync', {'depth': BRANCH, 'semantics': BRANCH}, space)).eval()
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return made


@pytest.fixture
def image() -> torch.Tensor:
    """Make a network input."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(1, 3, 64, 160, generator=generator) * 2 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


def test_reduced_precision_stays_near(model, image):
    expected = EagerBackend(model)(image)
    found = EagerBackend(model, half=True)(image)
    assert found.depth.dtype == found.logits.dtype == torch.float32
    torch.testing.assert_close(found.depth, expected.depth, rtol=0.03, atol=0)
    torch.testing.assert_close(
        found.logits.softmax(1), expected.logits.softmax(1), rtol=0, atol=0.02)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch, model, image):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'avx2': True}, raising=False)
    assert reduced_precision(torch.device('cpu')) is torch.float32
    backend = EagerBackend(model, half=True)
    assert backend.precision == 'float32'
    torch.testing.assert_close(
        backend(image).depth, EagerBackend(model)(image).depth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('change', 'expected'), [
    ({}, 0.0), ({'depth': torch.full((1, 1, 2, 3), 9.0)}, 0.1),
    ({'depth': torch.full((1, 1, 2, 3), float('nan'))}, math.inf),
    ({'depth': torch.ones(1, 1, 3, 2)}, math.inf), ({'depth': None}, math.inf)])
def test_the_difference_is_relative_and_knows_what_is_missing(change, expected):
    maps = {'depth': torch.full((1, 1, 2, 3), 10.0), 'logits': torch.ones(1, 4, 2, 3)}
    found = difference(DenseOutput(**{**maps, **change}), DenseOutput(**maps))
    assert found == pytest.approx(expected)


def test_devices():
    assert choose_device('cpu').type == 'cpu'
    assert choose_device('auto').type == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert choose_device('openvino:GPU').type == 'cpu'
    for name in ('gpu', 'cuda:x', ''):
        with pytest.raises(ValueError, match='device must be'):
            choose_device(name)
    with pytest.raises(ValueError, match='CUDA devices'):
        choose_device('cuda:99')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='this machine has no CUDA device')
@pytest.mark.parametrize('half', [False, True])
def test_cuda_equals_the_cpu(model, image, half):
    expected = EagerBackend(model)(image)
    try:
        found = choose_backend(model.to('cuda'), 'half' if half else 'float32')(image.to('cuda'))
    finally:
        model.to('cpu')
    torch.testing.assert_close(found.depth.cpu(), expected.depth, rtol=0.03, atol=0)
