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

"""Runs networks in OpenVINO: on CPUs about twice as fast as torch, also on Intel GPUs and NPUs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from sync_perception.models.exchange.exported import ExportedModel
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends.base import (
    Backend,
    difference,
    EagerBackend,
    probe,
    reduced_precision,
)
from sync_perception.runtime.backends.graphs import Graphs
from sync_perception.runtime.backends.library import load_openvino
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

MAX_PROGRAMS = 4
CPU = 'CPU'
# greatest difference from eager float32, relative to a map's greatest value
TOLERANCE = {'float32': 1e-3, 'bfloat16': 0.1, 'float16': 0.03}
HINTS = {'float32': 'f32', 'int8': 'f32', 'bfloat16': 'bf16', 'float16': 'f16'}


class Disagreement(RuntimeError):
    """A backend computes something else than the network as it was written."""


class GraphBackend(Backend):
    """
    A network as an OpenVINO graph.

    The graph is compiled for each size of images, in a fifth of a second; the last few are kept.

    :param target: OpenVINO's name of the device: CPU, GPU or NPU.
    :raises ImportError: if OpenVINO is not installed.
    :raises ValueError: if OpenVINO finds no such device.
    :ivar graphs: gives the graph for a size.
    """

    name = 'openvino'
    batches = False
    graphs: Any

    def __init__(self, target: str = CPU):
        self.core = load_openvino().Core()
        self.device, self.target = torch.device('cpu'), target
        check_target(target, self.core.available_devices)
        self.programs: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        shape = tuple(image_b3hw.shape)
        if shape in self.programs:
            self.programs.move_to_end(shape)
        else:
            graph = self.graphs.at(shape[0], shape[2:])
            while len(self.programs) >= MAX_PROGRAMS:
                self.programs.popitem(last=False)
            self.programs[shape] = self.compile(graph, self.precision)
        return run(self.programs[shape], image_b3hw)

    def compile(self, graph: Any, kind: str) -> Any:  # noqa: A003
        """Prepare a graph of fixed shapes to be run; return an openvino.InferRequest."""
        options = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': HINTS[kind]}
        if self.target == CPU:  # whose threads belong to other processes, too
            options |= {'INFERENCE_NUM_THREADS': torch.get_num_threads(),
                        'ENABLE_CPU_PINNING': False}
        return self.core.compile_model(graph, self.target, options).create_infer_request()

    def place(self) -> str:
        """Return the name of the device that computes."""
        return 'cpu' if self.target == CPU else f'openvino:{self.target}'


class OpenVinoBackend(GraphBackend):
    """
    A network in OpenVINO, in floating-point numbers, converted when it is first needed.

    :param model: on the CPU, in evaluation mode.
    :param half: run in bfloat16 (float16 on a GPU or NPU) where the device computes in it.
    :param target: OpenVINO's name of the device: CPU, GPU or NPU.
    :raises ImportError: if OpenVINO is not installed.
    :raises ValueError: if OpenVINO finds no such device.
    :raises Disagreement: if the maps differ from those of the network as it was written.
    :raises RuntimeError: if the network cannot be converted or compiled.
    """

    def __init__(
            self, model: PerceptionModel | ExportedModel, half: bool = False, target: str = CPU):
        super().__init__(target)
        self.precision = precision(half, target)
        reference = EagerBackend(model)

        def agrees(graph: Any, size: tuple[int, int]) -> bool:
            """Tell whether a graph computes in float32 what the model does at a size."""
            image, fixed = probe(model, size), graph.clone()
            fixed.reshape([1, *size, 3])
            found = run(self.compile(fixed, 'float32'), image)
            return difference(found, reference(image)) <= TOLERANCE['float32']

        self.graphs = Graphs(model, agrees)
        image = probe(model)
        off, most = difference(self(image), reference(image)), TOLERANCE[self.precision]
        if not off <= most:
            raise Disagreement(
                f'in OpenVINO the maps differ by {off:.2g} of their greatest value, expected at '
                f'most {most:g}')


def run(request: Any, image_b3hw: Tensor) -> DenseOutput:
    """
    Run a compiled graph.

    :param image_b3hw: float32; copied only if it is not channels-last.
    :return: maps that share the memory of the request's outputs.
    """
    image = image_b3hw.detach().permute(0, 2, 3, 1).contiguous().numpy()
    request.set_input_tensor(load_openvino().Tensor(image, shared_memory=True))
    request.infer()
    return DenseOutput(**{
        output.get_any_name():
            torch.from_numpy(request.get_tensor(output).data).permute(0, 3, 1, 2)
        for output in request.model_outputs})


def precision(half: bool, target: str) -> str:
    """Return the arithmetic of a device, in 16 bits if that is asked for and it has them."""
    if half and target != CPU:
        return 'float16'
    kind = reduced_precision(torch.device('cpu')) if half else torch.float32
    return str(kind).removeprefix('torch.')


def check_target(target: str, available: list[str]) -> None:
    """
    Refuse a device that OpenVINO does not find.

    :raises ValueError: naming those that it finds.
    """
    if target not in {name for found in available for name in (found, found.partition('.')[0])}:
        raise ValueError(
            f'device openvino:{target} is not there: OpenVINO finds {", ".join(available)}')
