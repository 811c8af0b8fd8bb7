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

"""Networks in OpenVINO against the eager ones: values, sizes, the graphs that are kept."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sync_perception.kitti.drive import KittiDrive
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.config import ModelConfig
from sync_perception.resources import default_model_folder
from sync_perception.runtime.backends import EagerBackend, graphs, OpenVinoBackend
from sync_perception.runtime.backends.base import difference, Disagreement, probe_image
from sync_perception.runtime.backends.openvino import MAX_PROGRAMS
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import DenseOutput
import torch
from torch import nn

pytest.importorskip('openvino')
pytestmark = pytest.mark.timeout(400)  # conversions keep a core busy for seconds
SIZES = [(64, 96), (32, 64), (96, 160), (64, 160), (128, 96), (50, 70)]


@pytest.fixture(autouse=True)
def cache(shared_cache):
    """Return where graphs are kept."""
    return shared_cache / 'openvino'


@pytest.fixture
def model(small_model):
    """Load the small model."""
    return hub.load(small_model)


def test_every_size_gives_what_eager_gives(model):
    """In float32, to 1e-4 of a map's greatest value; the latest few sizes stay compiled."""
    fast, eager = OpenVinoBackend(model), EagerBackend(model)
    for size in [*SIZES, SIZES[0]]:
        image = probe_image(model, size)
        assert difference(fast(image), eager(image)) < 1e-4, size
        plain = image.contiguous()  # not channels-last
        assert difference(fast(plain), eager(image)) < 1e-4, size
    assert len(fast.programs) == MAX_PROGRAMS
    pair = torch.cat([probe_image(model), probe_image(model).flip(3)])
    assert difference(fast(pair), eager(pair)) < 1e-4


def test_half_precision_stays_near(model):
    fast, eager = OpenVinoBackend(model, half=True), EagerBackend(model)
    assert fast.precision in ('bfloat16', 'float32')  # the latter where the CPU has no such
    assert difference(fast(probe_image(model)), eager(probe_image(model))) < 0.1
    assert {values.dtype for values in model.parameters()} == {torch.float32}


def test_a_graph_is_converted_once(model, cache, monkeypatch):
    """Another process, or a later one, reads it; a file that cannot be read is written again."""
    expected = OpenVinoBackend(model)(probe_image(model))

    def fail(*_):
        raise AssertionError('converted again')

    with monkeypatch.context() as patch:
        patch.setattr(graphs, 'convert_to_openvino', fail)
        found = OpenVinoBackend(model)(probe_image(model))
    assert difference(found, expected) == 0
    [path] = cache.glob(f'{graphs.network_fingerprint(model)}-any.xml')
    path.write_text('not a graph')
    assert difference(OpenVinoBackend(model)(probe_image(model)), expected) < 1e-6
    assert path.stat().st_size > 1000


def test_a_compilation_is_kept_for_the_next_start(model, cache):
    """A later process reads it; a damaged file, as a full disk leaves it, is replaced."""
    image = probe_image(model, (96, 224))
    first = OpenVinoBackend(model)
    kept = set(cache.glob('*.blob'))
    expected = first(image)
    assert not was_read(first, image)
    [path] = set(cache.glob('*.blob')) - kept
    later = OpenVinoBackend(model)
    assert difference(later(image), expected) == 0
    assert was_read(later, image)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:len(whole) // 2])
    again = OpenVinoBackend(model)
    assert difference(again(image), expected) < 1e-6
    assert path.read_bytes()[:100] == whole[:100]
    assert path.stat().st_size == len(whole)


def was_read(backend, image) -> bool:
    """Return whether the program for an image was read from the cache."""
    program = backend.programs[tuple(image.shape)].get_compiled_model()
    return program.get_property('LOADED_FROM_CACHE')


def test_other_weights_are_another_graph(model):
    """And so is another config; what a training noted about itself is not looked at."""
    name = graphs.network_fingerprint(model)
    model.config.record['hours'] = 3
    assert graphs.network_fingerprint(model) == name
    model.config.depth_range[1] += 1
    other = graphs.network_fingerprint(model)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert len({name, other, graphs.network_fingerprint(model)}) == 3


class Network(nn.Module):
    """Computes depth with one convolution."""

    device = torch.device('cpu')

    def __init__(self):
        super().__init__()
        self.config = ModelConfig(
            'of this test', {}, LabelSpace.load('driving').to_dict())
        self.convolution = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image_b3hw):
        """Return the depth."""
        return DenseOutput(depth=self.convolution(image_b3hw).exp())


class Sized(Network):
    """Takes a constant of the image's size, which no graph for all sizes can have."""

    def forward(self, image_b3hw):
        """Return the depth."""
        height, width = image_b3hw.shape[-2:]
        row = torch.linspace(0, 1, width).expand(1, 1, height, width)
        return DenseOutput(depth=self.convolution(image_b3hw) + row)


class Fickle(Network):
    """Computes something else while it is traced."""

    def forward(self, image_b3hw):
        """Return the depth."""
        factor = 2.0 if torch.compiler.is_exporting() else 1.0
        return DenseOutput(depth=self.convolution(image_b3hw) * factor)


def test_a_network_that_depends_on_the_size_has_a_graph_for_each(cache):
    torch.manual_seed(0)
    model = Sized().eval()
    fast, eager = OpenVinoBackend(model), EagerBackend(model)
    for size in SIZES[:3]:
        assert difference(fast(probe_image(model, size)), eager(probe_image(model, size))) < 1e-4
    kept = {path.stem.partition('-')[2]
            for path in cache.glob(f'{graphs.network_fingerprint(model)}*xml')}
    assert kept == {f'{height}x{width}' for height, width in SIZES[:3]}


def test_a_network_that_computes_something_else_is_refused():
    with pytest.raises(Disagreement, match='differ'):
        OpenVinoBackend(Fickle().eval())


def test_a_device_that_is_not_there_is_refused(small_model):
    """Naming those that are."""
    with pytest.raises(ValueError, match=r'openvino:MOON.*CPU'):
        Predictor(small_model, device='openvino:MOON')


def test_the_cpu_can_be_named_as_openvinos_device(small_model):
    described = Predictor(small_model, device='openvino:CPU').describe()
    assert (described['backend'], described['device']) == ('openvino', 'cpu')


@pytest.mark.exhaustive  # its conversion takes half a minute
def test_the_default_model_sees_the_same_street(data_root):
    """On a real frame: labels but for ties, depth to a thousandth."""
    [drive] = (data_root / 'kitti').glob('*/*_sync')
    frame = KittiDrive(drive).frame(0)
    found = Predictor(device='cpu', backend='openvino', precision='float32').predict(frame)
    expected = Predictor(device='cpu', backend='torch').predict(frame)
    assert (found.labels == expected.labels).mean() > 0.9999
    np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-3)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-3)


def test_the_default_models_8_bit_graph_sees_almost_the_same_street(data_root):
    """On a real frame: 95 % of the labels, depth within 5 % in the median."""
    [drive] = (data_root / 'kitti').glob('*/*_sync')
    frame = KittiDrive(drive).frame(0)
    predictor = Predictor(device='cpu', precision='int8')
    assert predictor.describe()['precision'] == 'int8'
    found = predictor.predict(frame)
    expected = Predictor(device='cpu', backend='torch').predict(frame)
    assert (found.labels == expected.labels).mean() > 0.95
    both = np.isfinite(found.depth) & np.isfinite(expected.depth)
    ratio = found.depth[both] / expected.depth[both]
    assert np.median(np.abs(ratio - 1)) < 0.05


SIGNALLED = """
import ctypes, os, signal, sys
from sync_perception.models import hub
from sync_perception.runtime.backends import OpenVinoBackend
from sync_perception.runtime.backends.library import SignalStack

def signal_stack():
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack.ss_sp, stack.ss_size

before = signal_stack()
backend = OpenVinoBackend(hub.load(sys.argv[1]))
assert signal_stack() == before, (signal_stack(), before)
signal.signal(signal.SIGUSR1, lambda *arguments: print('handled', flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='sigaltstack as Linux has it')
@pytest.mark.parametrize('kind', [
    'small', pytest.param('default', marks=pytest.mark.exhaustive)])
def test_the_thread_keeps_its_signal_stack(kind, small_model):
    """On processors with AMX, OpenVINO gives it another one, and frees that one later."""
    folder = {'small': small_model, 'default': default_model_folder()}[kind]
    done = subprocess.run(
        [sys.executable, '-c', SIGNALLED, str(folder)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr
