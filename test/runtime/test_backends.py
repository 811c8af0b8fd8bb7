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

"""Every way to run a network against the eager one."""

from __future__ import annotations

import logging

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.runtime import backends
from sync_perception.runtime.backends import (
    choose_backend,
    choose_device,
    EagerBackend,
    FrozenBackend,
    reduced_precision,
)
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


def test_frozen_equals_eager(model, image):
    expected, found = EagerBackend(model)(image), FrozenBackend(model)(image)
    torch.testing.assert_close(found.depth, expected.depth, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert found.normals is None and found.log_variance is None


def test_reduced_precision_stays_near(model, image):
    expected = EagerBackend(model)(image)
    for backend in (EagerBackend(model, half=True), FrozenBackend(model, half=True)):
        found = backend(image)
        assert found.depth.dtype == found.logits.dtype == torch.float32
        torch.testing.assert_close(found.depth, expected.depth, rtol=0.03, atol=0)
        torch.testing.assert_close(
            found.logits.softmax(1), expected.logits.softmax(1), rtol=0, atol=0.02)


def test_half_leaves_the_model_alone(model):
    FrozenBackend(model, half=True)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


class Tiny(nn.Module):
    """Computes depth with one convolution."""

    device = torch.device('cpu')
    config = ModelConfig('of this test', {}, LabelSpace.load('driving').to_dict())

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image_b3hw):
        return DenseOutput(depth=self.convolution(image_b3hw).exp())


def test_frozen_serves_changing_sizes_and_forgets_the_oldest(image):
    model = Tiny().eval()
    frozen, eager = FrozenBackend(model), EagerBackend(model)
    for width in (32, 64, 96, 128, 160, 32):
        found, expected = frozen(image[..., :width]), eager(image[..., :width])
        torch.testing.assert_close(found.depth, expected.depth, rtol=1e-4, atol=1e-4)
    assert len(frozen.programs) == backends.MAX_PROGRAMS


def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch, model, image):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'avx2': True}, raising=False)
    assert reduced_precision(torch.device('cpu')) is torch.float32
    backend = FrozenBackend(model, half=True)
    assert backend.precision == 'float32'
    torch.testing.assert_close(
        backend(image).depth, EagerBackend(model)(image).depth, rtol=1e-4, atol=1e-4)


def test_chooses_the_frozen_network_on_a_cpu():
    assert isinstance(choose_backend(Tiny().eval()), FrozenBackend)


class Unfreezable(nn.Module):
    """Raises when it is traced."""

    device = torch.device('cpu')
    config = ModelConfig('of this test', {}, LabelSpace.load('driving').to_dict())

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image_b3hw):
        if torch.jit.is_tracing():
            raise RuntimeError('no tracing here')
        return DenseOutput(depth=image_b3hw[:, :1].abs() * self.scale + 1)


class Fickle(Unfreezable):
    """Takes a branch that depends on the data: traced, it computes something else."""

    def forward(self, image_b3hw):
        factor = 2.0 if torch.jit.is_tracing() else 1.0
        return DenseOutput(depth=image_b3hw[:, :1].abs() * self.scale * factor + 1)


@pytest.mark.parametrize('kind, message', [
    (Unfreezable, 'cannot be frozen'), (Fickle, 'something else')])
def test_a_model_that_cannot_be_frozen_runs_as_written(kind, message, image, caplog):
    with caplog.at_level(logging.WARNING):
        backend = choose_backend(kind().eval())
    assert isinstance(backend, EagerBackend) and message in caplog.text
    torch.testing.assert_close(backend(image).depth, image[:, :1].abs() + 1)


def test_devices():
    assert choose_device('cpu').type == 'cpu'
    assert choose_device('auto').type == ('cuda' if torch.cuda.is_available() else 'cpu')
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
        found = choose_backend(model.to('cuda'), half)(image.to('cuda'))
    finally:
        model.to('cpu')
    torch.testing.assert_close(found.depth.cpu(), expected.depth, rtol=0.03, atol=0)
