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

"""OpenVINO backend for the 8-bit graph that `sync_perception quantise` writes beside a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sync_perception.files.whole_files import read_json
from sync_perception.models.exchange.exported import ExportedModel
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.storage.hub_files import find_file
from sync_perception.runtime.backends.graphs import network_digest
from sync_perception.runtime.backends.library import load_openvino
from sync_perception.runtime.backends.openvino import CPU, GraphBackend, precision
import torch

GRAPH, WEIGHTS, FACTS = 'int8.xml', 'int8.bin', 'int8.json'
INSTRUCTIONS = ('avx512_vnni', 'avx_vnni', 'amx_int8')
"""Instruction sets that multiply 8-bit integers faster than floats, by their names in torch."""


def find_quantised(model: str) -> Path | None:
    """
    Return the path of a model's 8-bit graph.

    :param model: a folder, or an id of the Hugging Face hub.
    :return: int8.xml, with int8.bin and int8.json beside it; None if the model has no such graph.
    """
    if not all(find_file(model, name) for name in (WEIGHTS, FACTS)):
        return None
    return find_file(model, GRAPH)


def int8_is_faster() -> bool:
    """Return whether this processor is faster with 8-bit integers than with floats."""
    capable = getattr(torch.cpu, 'get_capabilities', dict)()
    return any(capable.get(name, False) for name in INSTRUCTIONS)


class FixedGraphBackend(GraphBackend):
    """
    8-bit OpenVINO graph for all image sizes, run on the CPU.

    :param graph: an openvino.Model with input (B, h, w, 3) and outputs named like the maps.
    :param multiple: both sides of an image are multiples of it, pixels.
    :param floats: number format of the layers that are not in 8 bits, float32 or bfloat16.
    :raises ImportError: if OpenVINO is not installed.
    """

    precision = 'int8'

    def __init__(self, graph: Any, multiple: int = 32, floats: str = 'float32'):
        super().__init__()
        self.graphs, self.floats = FixedGraph(graph, multiple), floats

    def compile(self, graph: Any, kind: str) -> Any:  # noqa: A003
        """Compile a graph of fixed shapes; return an openvino.InferRequest."""
        return super().compile(graph, self.floats)


class QuantisedBackend(FixedGraphBackend):
    """
    Backend for the 8-bit graph in a model's folder.

    `sync_perception quantise` compares the accuracy of the graph with that of the network when it
    writes the graph. Loading checks only that the graph was made from this network; the predictor
    checks its shapes. Layers that are not in 8 bits run in bfloat16 if `quantise` found that the
    accuracy allows it and this processor has such instructions.

    :param model: the network from which the graph was made.
    :param path: int8.xml, with int8.bin and int8.json beside it.
    :raises ImportError: if OpenVINO is not installed.
    :raises ValueError: if the graph was made of another network, or cannot be read.
    """

    def __init__(self, model: PerceptionModel | ExportedModel, path: Path):
        facts = read_json(path.with_name(FACTS))
        if not isinstance(facts, dict) or facts.get('network') != network_digest(model):
            raise ValueError(
                f'{path} was made from another network than that in its folder: quantise the '
                'model again')
        fast = precision(half=True, target=CPU)
        floats = fast if facts.get('floats') == fast else 'float32'
        try:
            super().__init__(
                load_openvino().Core().read_model(path), model.config.input_multiple, floats)
        except RuntimeError as error:
            raise ValueError(f'{path} is not a graph that OpenVINO can read') from error


class FixedGraph:
    """
    Source of graphs that returns the same graph for all sizes.

    :param graph: an openvino.Model of images (B, h, w, 3) of any size.
    :param multiple: both sides of an image are multiples of it, pixels.
    """

    def __init__(self, graph: Any, multiple: int):
        self.graph, self.multiple = graph, multiple

    def at(self, batch: int, size: tuple[int, int]) -> Any:
        """
        Return the graph for a batch size and an image size (height, width), shapes fixed.

        :raises ValueError: if a side is not a multiple of `multiple`.
        """
        if any(side % self.multiple for side in size):
            raise ValueError(f'expected sides that are multiples of {self.multiple}, got {size}')
        graph = self.graph.clone()
        graph.reshape([batch, *size, 3])
        return graph
