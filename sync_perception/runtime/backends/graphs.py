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

"""Conversion of networks to OpenVINO graphs for images of any size, with a cache on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any
import warnings

import numpy as np
from sync_perception.files.cache import cache_folder, forget_oldest
from sync_perception.models.exchange.export import NamedMaps, output_names
from sync_perception.models.exchange.exported import ExportedModel, OnnxModel
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends.free_size import free_size
from sync_perception.runtime.backends.library import load_openvino, quiet_conversion
import torch

LOGGER = logging.getLogger(__name__)
FORMAT = 2  # version of the cached graphs; raised when the conversion changes
MAX_BYTES = 2_000_000_000


def network_fingerprint(model: PerceptionModel | ExportedModel) -> str:
    """Return a unique key of a network: a hash of its config, weights and library versions."""
    config = replace(model.config, record={})
    known = [FORMAT, type(model).__name__, asdict(config), torch.__version__,
             load_openvino().__version__]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    digest.update(weights_digest(model).encode())
    return digest.hexdigest()[:32]


def weights_digest(model: PerceptionModel | ExportedModel) -> str:
    """Return the hexadecimal SHA-256 of a network's weights and their names."""
    if isinstance(model, ExportedModel):
        return hashlib.sha256(Path(model.name).read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values.detach().cpu().numpy()).data)
    return digest.hexdigest()


def network_digest(model: PerceptionModel | ExportedModel) -> str:
    """Return the hexadecimal SHA-256 of what a network computes: weights, arguments and finish."""
    config = model.config
    known = [config.architecture, config.arguments, config.finish, weights_digest(model)]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def convert_to_openvino(model: PerceptionModel | ExportedModel, size: tuple[int, int]) -> Any:
    """
    Convert a network to an OpenVINO graph with input (B, h, w, 3) of one size.

    :param model: on the CPU, in evaluation mode.
    :param size: height and width.
    :return: an openvino.Model whose outputs (B, h, w, C) have the names of the maps.
    """
    library = load_openvino()
    if isinstance(model, OnnxModel):
        return channels_last(library.Core().read_model(model.name), model.map_names)
    with warnings.catch_warnings(), quiet_conversion(), torch.no_grad():
        warnings.simplefilter('ignore')  # tracing warns that sizes become constants, as intended
        program = torch.export.export(
            NamedMaps(model).eval(), (torch.zeros(1, 3, *size),), strict=False)
        graph = library.convert_model(program)
    return channels_last(graph, output_names(program))


def channels_last(graph: Any, names: Sequence[str]) -> Any:
    """
    Convert the inputs and outputs of a graph to channels-last, and name the outputs.

    :param names: names of the maps, in the order of the outputs.
    """
    from openvino.preprocess import PrePostProcessor  # optional library
    for output, name in zip(graph.outputs, names):
        output.get_tensor().set_names({name})
    steps = PrePostProcessor(graph)
    nhwc, nchw = layouts()
    steps.input().tensor().set_layout(nhwc)
    steps.input().model().set_layout(nchw)
    for name in names:
        steps.output(name).model().set_layout(nchw)
        steps.output(name).tensor().set_layout(nhwc)
    return steps.build()


def layouts() -> tuple[Any, Any]:
    """Return OpenVINO's channels-last and channels-first layouts."""
    library = load_openvino()
    return library.Layout('NHWC'), library.Layout('NCHW')


class Graphs:
    """
    OpenVINO graphs of one network: one graph for all sizes if possible.

    A graph is converted once and then read from the cache folder. A network whose padding or
    attention depends on the image size has one graph per size.

    :param model: on the CPU, in evaluation mode; released when it is no longer needed.
    :param agrees: function that returns whether a graph agrees with the model at a size.
    """

    def __init__(self, model: PerceptionModel | ExportedModel, agrees: Any):
        self.model: PerceptionModel | ExportedModel | None = model
        self.name, self.agrees = network_fingerprint(model), agrees
        self.folder = cache_folder('openvino')
        self.multiple = model.config.input_multiple
        self.for_all: Any = None
        if model.config.input_size is None:
            self.for_all = self.read('any') or self.convert_for_all()

    def at(self, batch: int, size: tuple[int, int]) -> Any:
        """Return the graph for a batch size and an image size (height, width), shapes fixed."""
        if self.for_all is not None and not any(side % self.multiple for side in size):
            graph = self.for_all.clone()
        else:
            name = f'{size[0]}x{size[1]}'
            graph = self.read(name) or self.keep(convert_to_openvino(self.model, size), name)
        graph.reshape([batch, *size, 3])
        return graph

    def convert_for_all(self) -> Any:
        """Return a graph for all sizes, or None if the network has none."""
        cell = self.multiple
        traced, second, third = (2 * cell, 3 * cell), (3 * cell, 5 * cell), (4 * cell, 2 * cell)
        graph = convert_to_openvino(self.model, traced)
        try:
            free_size(graph, traced, convert_to_openvino(self.model, second), second)
            suits = self.agrees(graph, traced) and self.agrees(graph, third)
        except RuntimeError as error:
            LOGGER.debug('no graph of the network suits all sizes: %s', error)
            suits = False
        return self.keep(graph, 'any') if suits else None

    def read(self, size: str) -> Any:
        """Return a graph from the cache folder, or None if it is missing or unreadable."""
        path = self.path(size)
        if not path.is_file():
            return None
        try:
            graph = load_openvino().Core().read_model(path)
        except RuntimeError as error:
            LOGGER.warning('%s is not a valid graph and is written again: %s', path, error)
            return None
        os.utime(path)
        return graph

    def keep(self, graph: Any, size: str) -> Any:
        """
        Write a graph to the cache folder atomically, and return what later starts will read.

        Its compiled program is kept as well, under a key that reading changes.
        """
        path = self.path(size)
        beside = path.with_name(f'.{path.stem}.{os.getpid()}.xml')
        try:
            load_openvino().save_model(graph, beside, compress_to_fp16=False)
            beside.with_suffix('.bin').replace(path.with_suffix('.bin'))
            beside.replace(path)  # last: a graph without weights is never read
            forget_oldest(self.folder, ('.xml', '.bin'), MAX_BYTES)
        except (OSError, RuntimeError) as error:
            LOGGER.warning('cannot store the graph of the network in %s: %s', self.folder, error)
            return graph
        return self.read(size) or graph

    def path(self, size: str) -> Path:
        """Return the cache path of the graph for a size."""
        return self.folder / f'{self.name}-{size}.xml'
