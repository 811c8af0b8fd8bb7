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

"""OpenVINO backend: about twice as fast as torch on CPUs; also for Intel GPUs and NPUs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from sync_perception.files.cache import cache_folder, forget_oldest
from sync_perception.models.exchange.exported import ExportedModel
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends.base import (
    Backend,
    BACKEND_TOLERANCE,
    check_against_reference,
    difference,
    EagerBackend,
    probe_image,
    reduced_precision,
)
from sync_perception.runtime.backends.graphs import Graphs, MAX_BYTES
from sync_perception.runtime.backends.library import kept_signal_stack, load_openvino
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

MAX_PROGRAMS = 4
CPU = 'CPU'
# greatest difference from eager float32, relative to the greatest value of the map
HINTS = {'float32': 'f32', 'bfloat16': 'bf16', 'float16': 'f16'}


class GraphBackend(Backend):
    """
    Network as an OpenVINO graph.

    The graph is compiled for each image size, which takes half a second for an 8-bit graph and a
    tenth for others. The most recent compilations are kept in memory, and on disk for the next
    start, where they take a third of that time. OpenVINO compiles again if a file is damaged.

    :param target: OpenVINO's name of the device: CPU, GPU or NPU.
    :raises ImportError: if OpenVINO is not installed.
    :raises ValueError: if OpenVINO finds no such device.
    :ivar graphs: returns the graph for a size.
    """

    name = 'openvino'
    batches = False
    graphs: Any

    def __init__(self, target: str = CPU):
        self.core = load_openvino().Core()
        self.device, self.target = torch.device('cpu'), target
        with kept_signal_stack():  # the plugins are loaded here
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
        return run_request(self.programs[shape], image_b3hw)

    def compile(self, graph: Any, kind: str) -> Any:  # noqa: A003
        """Compile a graph of fixed shapes; return an openvino.InferRequest."""
        folder = cache_folder('openvino')
        options = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': HINTS[kind],
                   'CACHE_DIR': str(folder)}
        if self.target == CPU:  # other processes need the CPU's threads, too
            options |= {'INFERENCE_NUM_THREADS': torch.get_num_threads(),
                        'ENABLE_CPU_PINNING': False}
        with kept_signal_stack():
            program = self.core.compile_model(graph, self.target, options)
            forget_oldest(folder, ('.blob',), MAX_BYTES)
            return program.create_infer_request()

    def place(self) -> str:
        """Return the name of the device that computes."""
        return 'cpu' if self.target == CPU else f'openvino:{self.target}'


class OpenVinoBackend(GraphBackend):
    """
    Network in OpenVINO in floating point, converted when it is first needed.

    :param model: on the CPU, in evaluation mode.
    :param half: run in bfloat16 (float16 on a GPU or NPU) if the device supports it.
    :param target: OpenVINO's name of the device: CPU, GPU or NPU.
    :raises ImportError: if OpenVINO is not installed.
    :raises ValueError: if OpenVINO finds no such device.
    :raises Disagreement: if the maps differ from those of the network in eager torch.
    :raises RuntimeError: if the network cannot be converted or compiled.
    """

    def __init__(
            self, model: PerceptionModel | ExportedModel, half: bool = False, target: str = CPU):
        super().__init__(target)
        self.precision = precision(half, target)
        reference = EagerBackend(model)

        def agrees(graph: Any, size: tuple[int, int]) -> bool:
            """Return whether a graph in float32 agrees with the model at a size."""
            image, fixed = probe_image(model, size), graph.clone()
            fixed.reshape([1, *size, 3])
            found = run_request(self.compile(fixed, 'float32'), image)
            return difference(found, reference(image)) <= BACKEND_TOLERANCE['float32']

        self.graphs = Graphs(model, agrees)
        check_against_reference(self, reference, probe_image(model))


def run_request(request: Any, image_b3hw: Tensor) -> DenseOutput:
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
    """Return the number format of a device: 16-bit if requested and supported, else float32."""
    if half and target != CPU:
        return 'float16'
    kind = reduced_precision(torch.device('cpu')) if half else torch.float32
    return str(kind).removeprefix('torch.')


def check_target(target: str, available: list[str]) -> None:
    """
    Check that OpenVINO finds a device.

    :raises ValueError: if it does not; the message lists the devices found.
    """
    if target not in {name for found in available for name in (found, found.partition('.')[0])}:
        raise ValueError(
            f'device openvino:{target} is not there: OpenVINO finds {", ".join(available)}')
