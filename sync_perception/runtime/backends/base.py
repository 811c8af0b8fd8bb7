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

"""Interface of inference backends, and the eager torch backend as the reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
import math

from sync_perception.models.exchange.exported import ExportedModel
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

PROBE_CELLS = (2, 3)
"""Height and width of a probe in multiples of the sides of a network's input."""
BACKEND_TOLERANCE = {'float32': 1e-3, 'bfloat16': 0.1, 'float16': 0.03}
"""Largest difference from eager torch, relative to each map's greatest value, by precision."""


class Disagreement(RuntimeError):
    """The output of a backend differs from that of the network in eager torch."""


class Backend(ABC):
    """
    Network that runs on one device in one precision.

    :ivar name: torch, cuda_graph, openvino or onnxruntime.
    :ivar precision: number format of the network: float32, bfloat16 or float16.
    :ivar device: torch device of the input images and of the output maps.
    :ivar batches: whether a call with several images is possible and no slower than one by one.
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

    def place(self) -> str:
        """Return the name of the device that computes."""
        return str(self.device)


class EagerBackend(Backend):
    """
    Model in eager torch, in float32 or under autocast; the reference for all other backends.

    :param model: on its device, in evaluation mode.
    :param half: run in the device's 16-bit format instead of float32.
    """

    name = 'torch'

    def __init__(self, model: PerceptionModel | ExportedModel, half: bool = False):
        self.model = model.to(memory_format=torch.channels_last)
        self.device = model.device
        self.dtype = reduced_precision(self.device) if half else torch.float32
        self.precision = str(self.dtype).removeprefix('torch.')
        # on a CPU, batches overflow the caches: three images are slower together than in turn
        self.batches = self.device.type != 'cpu' and takes_batches(model)

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        reduced = self.dtype is not torch.float32
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=True), torch.autocast(
                self.device.type, self.dtype if reduced else None, enabled=reduced):
            return in_float32(self.model(image_b3hw))


def probe_image(
        model: PerceptionModel | ExportedModel, size: tuple[int, int] | None = None) -> Tensor:
    """
    Return a test image (1, 3, h, w) for a model, on its device, channels-last.

    :param size: height and width; by default a small size that the model accepts.
    """
    size = size or model.config.input_size or [
        cells * model.config.input_multiple for cells in PROBE_CELLS]
    image = torch.linspace(-1, 1, 3 * math.prod(size), device=model.device)
    return image.reshape(1, 3, *size).contiguous(memory_format=torch.channels_last)


def difference(found: DenseOutput, expected: DenseOutput) -> float:
    """
    Return the greatest relative difference of two outputs; infinity if maps or sizes differ.

    The difference of a map is its greatest absolute difference divided by the greatest absolute
    value of the expected map; the result is the maximum over the maps.
    """
    maps, references = found.maps(), expected.maps()
    if maps.keys() != references.keys():
        return math.inf
    greatest = 0.0
    for name, values in references.items():
        if maps[name].shape != values.shape:
            return math.inf
        off = (maps[name] - values).abs().max() / values.abs().max().clamp_min(1e-12)
        greatest = max(greatest, float(off.nan_to_num(nan=math.inf)))
    return greatest


def check_against_reference(backend: Backend, reference: Backend, image_b3hw: Tensor) -> None:
    """
    Check that a backend gives the maps of the reference, as far as its precision allows.

    :raises Disagreement: if it does not; the message states the difference.
    """
    off = difference(backend(image_b3hw), reference(image_b3hw))
    most = BACKEND_TOLERANCE[backend.precision]
    if not off <= most:
        raise Disagreement(
            f'in {backend.name} the maps differ by {off:.2g} of their greatest value, expected at '
            f'most {most:g}')


def takes_batches(model: PerceptionModel | ExportedModel) -> bool:
    """Return whether a model accepts several images at once; exported files may not."""
    return not isinstance(model, ExportedModel) or not model.one_at_a_time


def reduced_precision(device: torch.device) -> torch.dtype:
    """
    Return the device's fast 16-bit format, or float32 if it has none.

    A CPU without bfloat16 instructions emulates the format, which is slower than float32.
    """
    if device.type == 'cuda':
        return torch.float16
    capable = getattr(torch.cpu, 'get_capabilities', dict)()
    fast = any(capable.get(name, False) for name in ('avx512_bf16', 'amx_bf16', 'bf16'))
    return torch.bfloat16 if fast else torch.float32


def in_float32(output: DenseOutput) -> DenseOutput:
    """Return the same maps in float32."""
    return output.apply(lambda values: values.float())
