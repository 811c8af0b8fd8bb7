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

"""Ways to run a network on a device: the eager reference, and faster ones that agree with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
import copy
import logging
import math
import warnings

from sync_perception.models.exported import ExportedModel, OnnxModel
from sync_perception.models.hub import PerceptionModel
from sync_perception.models.interface import present_maps
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor

LOGGER = logging.getLogger(__name__)
MAX_PROGRAMS = 4
PROFILING_RUNS = 2
PROBE_SIZE = (64, 96)
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


def choose_device(name: str) -> torch.device:
    """
    Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device that is there.

    :raises ValueError: if the name is another, or the machine has no such device.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    kind, _, index = name.partition(':')
    if kind not in ('cpu', 'cuda') or (index and not index.isdecimal()):
        raise ValueError(f'device must be auto, cpu, cuda or cuda:N, got {name!r}')
    count = torch.cuda.device_count()
    if kind == 'cuda' and int(index or 0) >= count:
        raise ValueError(f'device {name!r} asked for, but this machine has {count} CUDA devices')
    return torch.device(name)


class Backend(ABC):
    """
    A network, ready to run on one device in one precision.

    :ivar name: of the way it runs, for people.
    :ivar precision: of the network's arithmetic: float32, bfloat16 or float16.
    :ivar device: where it runs.
    :ivar batches: whether several images in one call are possible, and no slower than one by one.
    """

    name: str
    precision: str
    device: torch.device
    batches: bool

    @abstractmethod
    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """
        Run the network.

        :param image_b3hw: float32 (B, 3, h, w), normalised, channels-last, on the device.
        :return: float32 maps on the device; valid until the next call.
        """


class EagerBackend(Backend):
    """
    The model as it was written, float32 or under autocast: the reference for all others.

    :param model: on its device, in evaluation mode.
    :param half: run in the device's 16-bit format instead of float32.
    """

    name = 'eager'

    def __init__(self, model: PerceptionModel, half: bool = False):
        self.model = model.to(memory_format=torch.channels_last)
        self.device = model.device
        self.dtype = reduced_precision(self.device) if half else torch.float32
        self.precision = str(self.dtype).removeprefix('torch.')
        # on a CPU, three images together take longer than one after the other: caches overflow
        self.batches = self.device.type != 'cpu' and takes_batches(model)

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        reduced = self.dtype is not torch.float32
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=True), torch.autocast(
                self.device.type, self.dtype if reduced else None, enabled=reduced):
            return in_float32(self.model(image_b3hw))


class FrozenBackend(Backend):
    """
    The traced and frozen model on a CPU: constants folded, Python gone from the hot path.

    Tracing fixes the shapes, so each input size is traced once; the last few are kept. Another
    number of images would be traced anew, for seconds, to be slower than one after the other.

    :param model: on the CPU, in evaluation mode.
    :param half: run in bfloat16 where the CPU computes in it, instead of float32.
    """

    name = 'frozen'
    batches = False

    def __init__(self, model: PerceptionModel, half: bool = False):
        self.device = torch.device('cpu')
        self.dtype = reduced_precision(self.device) if half else torch.float32
        self.precision = str(self.dtype).removeprefix('torch.')
        if self.dtype is not torch.float32:
            model = copy.deepcopy(model).to(self.dtype)
        self.model = model.to(memory_format=torch.channels_last)
        self.programs: dict[tuple[int, ...], tuple[torch.jit.ScriptModule, list[str]]] = {}

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        image_b3hw = image_b3hw.to(self.dtype)
        size = tuple(image_b3hw.shape)
        if size not in self.programs:
            while len(self.programs) >= MAX_PROGRAMS:
                self.programs.pop(next(iter(self.programs)))
            self.programs[size] = self.freeze(image_b3hw)
        program, present = self.programs[size]
        with torch.no_grad():
            maps = program(image_b3hw)
        return in_float32(DenseOutput(**dict(zip(present, maps))))

    def freeze(self, image_b3hw: Tensor) -> tuple[torch.jit.ScriptModule, list[str]]:
        """Trace the model at an input's size; return the program and the maps it gives."""
        with warnings.catch_warnings(), torch.no_grad():
            # sizes become constants, and that is meant
            warnings.simplefilter('ignore')
            present = list(present_maps(self.model(image_b3hw)))
            wrapped = _TupleOutput(self.model, present).eval()
            program = torch.jit.freeze(torch.jit.trace(wrapped, image_b3hw, check_trace=False))
            for _ in range(PROFILING_RUNS):
                program(image_b3hw)
        return program, present


class OnnxBackend(Backend):
    """
    An ONNX file in onnxruntime, in the precision in which it was exported.

    :param model: the file's.
    """

    name = 'onnxruntime'
    precision = 'float32'

    def __init__(self, model: OnnxModel):
        self.model, self.device = model, model.device
        self.batches = takes_batches(model)

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        return in_float32(self.model(image_b3hw))


class _TupleOutput(nn.Module):
    """A model with a plain tuple as its output, as TorchScript wants it."""

    def __init__(self, model: PerceptionModel, present: list[str]):
        super().__init__()
        self.model = model
        self.present = present

    def forward(self, image_b3hw: Tensor) -> tuple[Tensor, ...]:
        output = self.model(image_b3hw)
        return tuple(getattr(output, name) for name in self.present)


def choose_backend(model: PerceptionModel | ExportedModel, half: bool = False) -> Backend:
    """
    Choose the fastest way to run a model on the device where it is.

    A model that does not survive being frozen (control flow that depends on the data, an operator
    without a TorchScript form) runs as it was written. An exported file keeps its precision.
    """
    if half and isinstance(model, ExportedModel):
        LOGGER.warning('%s keeps the precision that it was exported in', model.name)
        half = False
    if isinstance(model, OnnxModel):
        return OnnxBackend(model)
    reference = EagerBackend(model, half)
    if model.device.type != 'cpu':
        return reference
    image = probe(model)
    expected = present_maps(reference(image))
    try:
        frozen = FrozenBackend(model, half)
        found = present_maps(frozen(image))
    except RuntimeError as error:
        LOGGER.warning('the model cannot be frozen and runs slower: %s', error)
        return reference
    tolerance = TOLERANCE[frozen.dtype]
    if found.keys() != expected.keys() or not all(
            torch.allclose(found[name], expected[name], rtol=tolerance, atol=tolerance)
            for name in expected):
        LOGGER.warning('frozen, the model computes something else; it runs as written')
        return reference
    return frozen


def probe(model: PerceptionModel | ExportedModel) -> Tensor:
    """Make an image (1, 3, h, w) to try a model with, on its device, of a size that it takes."""
    size = model.config.input_size or PROBE_SIZE
    return torch.linspace(-1, 1, 3 * math.prod(size), device=model.device).reshape(1, 3, *size)


def takes_batches(model: PerceptionModel | ExportedModel) -> bool:
    """Tell whether a model takes several images at once: an exported file need not."""
    return not isinstance(model, ExportedModel) or not model.one_at_a_time


def reduced_precision(device: torch.device) -> torch.dtype:
    """
    Return the device's fast 16-bit format, float32 where it has none.

    A CPU without bfloat16 instructions emulates the format, slower than float32.
    """
    if device.type == 'cuda':
        return torch.float16
    capable = getattr(torch.cpu, 'get_capabilities', dict)()
    fast = any(capable.get(name, False) for name in ('avx512_bf16', 'amx_bf16', 'bf16'))
    return torch.bfloat16 if fast else torch.float32


def in_float32(output: DenseOutput) -> DenseOutput:
    """Return the same maps in float32."""
    return DenseOutput(**{name: values.float() for name, values in present_maps(output).items()})
