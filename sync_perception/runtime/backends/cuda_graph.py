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

"""Networks on an NVIDIA GPU as CUDA graphs, one for each input size, recorded from eager torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
import logging

from sync_perception.files.checks import first_line
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends.base import (
    Backend,
    check_against_reference,
    EagerBackend,
    probe_image,
)
from sync_perception.runtime.memory import is_out_of_memory
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

LOGGER = logging.getLogger(__name__)
MAX_RECORDINGS = 4  # each holds the memory of all of the network's maps
WARM_UP_RUNS = 3  # as torch advises before a capture; cuDNN chooses its algorithms in them


@dataclass
class CapturedGraph:
    """
    Recorded calls of a network on images of one shape.

    :param image: input of the recorded calls; it is overwritten before each replay.
    :param output: output of the recorded calls; each replay overwrites it.
    :param replay: repeats the recorded calls on the device.
    """

    image: Tensor
    output: DenseOutput
    replay: Callable[[], None]


def record_graph(network: EagerBackend, image_b3hw: Tensor) -> CapturedGraph:
    """
    Record the calls of a network on a GPU.

    :param image_b3hw: an image of the shape to record.
    :raises RuntimeError: if the network does something that cannot be recorded, such as a copy to
        the host.
    """
    image = torch.empty_like(image_b3hw).copy_(image_b3hw)
    side = torch.cuda.Stream(image.device)
    side.wait_stream(torch.cuda.current_stream(image.device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_RUNS):
            network(image)
    torch.cuda.current_stream(image.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # other threads may use the GPU meanwhile
    with torch.cuda.graph(graph, capture_error_mode='thread_local'):
        output = network(image)
    return CapturedGraph(image, output, graph.replay)


class CudaGraphBackend(Backend):
    """
    Model on an NVIDIA GPU, without the time that launching each operation takes on the host.

    Each input shape is recorded when it first occurs, and the most recent ones are kept. A shape
    that cannot be recorded runs in eager torch, with a warning.

    :param model: on its device, in evaluation mode.
    :param half: run in float16 instead of float32.
    :param record: function that records the network.
    :raises Disagreement: if the maps differ from those of eager torch.
    """

    name = 'cuda_graph'

    def __init__(self, model: PerceptionModel, half: bool = False,
                 record: Callable[[EagerBackend, Tensor], CapturedGraph] = record_graph):
        self.eager, self.record = EagerBackend(model, half), record
        self.device, self.precision = self.eager.device, self.eager.precision
        self.batches = self.eager.batches
        self.recordings: OrderedDict[tuple[int, ...], CapturedGraph | None] = OrderedDict()
        check_against_reference(self, self.eager, probe_image(model))

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        shape = tuple(image_b3hw.shape)
        with torch.inference_mode():
            if shape in self.recordings:
                self.recordings.move_to_end(shape)
            else:
                self.add(shape, image_b3hw)
            recording = self.recordings[shape]
            if recording is None:
                return self.eager(image_b3hw)
            recording.image.copy_(image_b3hw)
            recording.replay()
            return recording.output

    def add(self, shape: tuple[int, ...], image_b3hw: Tensor) -> None:
        """Record the network for a shape, or note that this is not possible."""
        while len(self.recordings) >= MAX_RECORDINGS:
            self.recordings.popitem(last=False)
        try:
            self.recordings[shape] = self.record(self.eager, image_b3hw)
        except Exception as error:  # torch has many classes of errors
            if is_out_of_memory(error):
                raise
            LOGGER.warning('images of shape %s run in eager torch, since the network cannot be '
                           'recorded as a CUDA graph: %s', shape, first_line(error))
            self.recordings[shape] = None
