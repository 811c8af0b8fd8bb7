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

"""Selection of the backend: the requested one, or the fastest that agrees with eager torch."""

from __future__ import annotations

from importlib.util import find_spec
import logging
import os
from pathlib import Path
import time

from sync_perception.files.checks import first_line
from sync_perception.models.exchange.exported import ExportedModel, OnnxModel
from sync_perception.models.network_input import network_size
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime import BACKENDS, PRECISIONS
from sync_perception.runtime.backends import remembered
from sync_perception.runtime.backends.base import (
    Backend,
    Disagreement,
    EagerBackend,
    probe_image,
)
from sync_perception.runtime.backends.cuda_graph import CudaGraphBackend
from sync_perception.runtime.backends.onnxruntime import OnnxBackend
from sync_perception.runtime.backends.openvino import CPU, OpenVinoBackend
from sync_perception.runtime.backends.quantised import (
    find_quantised,
    GRAPH,
    int8_is_faster,
    QuantisedBackend,
)

LOGGER = logging.getLogger(__name__)
VARIABLE = 'SYNC_PERCEPTION_BACKEND'  # backend of `auto`; set it to skip the measurement
INSTALL = "pip install 'sync_perception[openvino]'"
SHAPE = (375, 1242)  # image size at which backends are compared
SHARE = 4  # divisor of the input area while timing; the order of backends does not depend on it
MOST_RUNS = 5
BUDGET = 3.0  # seconds after which no further run starts


class BackendError(ValueError):
    """A backend that is unknown, not installed, or unable to run the model."""


def choose_backend(
        model: PerceptionModel | ExportedModel, precision: str = 'auto', name: str = 'auto',
        target: str = '', folder: str = '') -> Backend:
    """
    Return the named backend, or for `auto` the fastest that agrees with eager torch.

    `auto` measures once per machine and model and caches the result. An exported file keeps its
    own precision.

    :param model: on its device, in evaluation mode.
    :param precision: float32; half for the device's 16-bit format, if it has one; int8 for the
        8-bit graph in the model's folder, run by OpenVINO on a CPU; auto for int8 if the model
        has such a graph and the processor is faster with it, otherwise float32.
    :param name: auto, torch, cuda_graph, openvino or onnxruntime.
    :param folder: the model's folder or hub id, which may contain an 8-bit graph.
    :param target: OpenVINO's name of a device, such as GPU; empty for the torch device.
    :raises BackendError: if the backend is unknown, not installed, not possible for this model or
        device, or fails; auto falls back to the reference with a warning instead.
    """
    check_backend(name)
    check_precision(precision)
    half = precision == 'half'
    if half and isinstance(model, ExportedModel):
        LOGGER.warning('%s keeps the precision that it was exported in', model.name)
        half = False
    if target:
        if name not in ('auto', 'openvino'):
            raise BackendError(
                f'device openvino:{target} needs the backend openvino, got {name!r}')
        return openvino_backend(model, half, target)
    if precision == 'int8':
        return required_quantised(model, name, folder)
    requested = name
    if requested == 'auto':
        name = os.environ.get(VARIABLE) or 'auto'
        check_backend(name)
    if precision == 'auto' and name in ('auto', 'openvino'):
        quantised = quantised_if_faster(model, folder)
        if quantised is not None:
            return quantised
    if name == 'auto' or (requested == 'auto' and not can_run(model, name)):
        return fastest(model, half)
    problem = unusable_reason(model, name)
    if problem:
        raise BackendError(f'backend {name!r}: {problem}')
    if name == 'cuda_graph':
        return cuda_graph_backend(model, half)
    return openvino_backend(model, half, CPU) if name == 'openvino' else reference(model, half)


def check_backend(name: str) -> None:
    """
    Check that a backend is known.

    :raises BackendError: if it is not; the message lists the known backends.
    """
    if name not in BACKENDS:
        raise BackendError(f'backend must be one of {", ".join(BACKENDS)}, got {name!r}')


def check_precision(precision: str) -> None:
    """
    Check that a precision is known.

    :raises BackendError: if it is not; the message lists the known precisions.
    """
    if precision not in PRECISIONS:
        raise BackendError(
            f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}')


def required_quantised(
        model: PerceptionModel | ExportedModel, name: str, folder: str) -> QuantisedBackend:
    """
    Return the backend for the 8-bit graph in a model's folder.

    :raises BackendError: if there is no graph, it was made from another network, the backend is
        not OpenVINO, or the device is not a CPU.
    """
    problem = unusable_reason(model, 'openvino') if name in ('auto', 'openvino') else (
        f'it does not run 8-bit graphs, which openvino does, got backend {name!r}')
    path = None if problem else find_quantised(folder)
    if path is None:
        raise BackendError(f"precision 'int8': {problem}" if problem else (
            f"precision 'int8': {folder} has no {GRAPH}: write it with `sync_perception "
            'quantise`'))
    try:
        return QuantisedBackend(model, path)
    except ValueError as error:
        raise BackendError(f"precision 'int8': {error}") from error


def quantised_if_faster(
        model: PerceptionModel | ExportedModel, folder: str) -> QuantisedBackend | None:
    """Return the 8-bit backend of a local model folder if this processor is faster with it."""
    if not (folder and Path(folder).is_dir() and can_run(model, 'openvino')
            and int8_is_faster()):
        return None
    path = find_quantised(folder)
    try:
        return None if path is None else QuantisedBackend(model, path)
    except ValueError as error:
        LOGGER.warning('the model runs in float32: %s', error)
        return None


def reference(model: PerceptionModel | ExportedModel, half: bool) -> Backend:
    """Return the backend that runs a model without conversion."""
    return OnnxBackend(model) if isinstance(model, OnnxModel) else EagerBackend(model, half)


def unusable_reason(model: PerceptionModel | ExportedModel, name: str) -> str:
    """Return why a backend cannot run a model; empty if it can."""
    onnx = isinstance(model, OnnxModel)
    if name == 'torch' and onnx:
        return f'{model.name} is an ONNX file, which onnxruntime or openvino runs'
    if name == 'onnxruntime' and not onnx:
        return 'it runs ONNX files only: write one with `sync_perception export`'
    if name == 'cuda_graph' and (model.device.type != 'cuda' or isinstance(model, ExportedModel)):
        return ('it runs model folders on an NVIDIA GPU, got '
                f'{type(model).__name__} on {model.device}')
    if name == 'openvino' and model.device.type != 'cpu':
        return f'it runs on the CPU or on openvino:GPU, not on {model.device}'
    if name == 'openvino' and find_spec('openvino') is None:
        return f'it is not installed: {INSTALL}'
    return ''


def can_run(model: PerceptionModel | ExportedModel, name: str) -> bool:
    """Return whether a backend can run a model."""
    return not unusable_reason(model, name)


def openvino_backend(
        model: PerceptionModel | ExportedModel, half: bool, target: str) -> OpenVinoBackend:
    """
    Return the OpenVINO backend of a model.

    :raises BackendError: if OpenVINO cannot run the model; the message gives the reason.
    """
    try:
        return OpenVinoBackend(model, half, target)
    except ModuleNotFoundError as error:
        raise BackendError(f"backend 'openvino': it is not installed: {INSTALL}") from error
    except Exception as error:
        raise BackendError(f"backend 'openvino': {first_line(error)}") from error


def cuda_graph_backend(model: PerceptionModel, half: bool) -> CudaGraphBackend:
    """
    Return the CUDA graph backend of a model.

    :raises BackendError: if its maps differ from those of eager torch.
    """
    try:
        return CudaGraphBackend(model, half)
    except Disagreement as error:
        raise BackendError(f"backend 'cuda_graph': {error}") from error


def fastest(model: PerceptionModel | ExportedModel, half: bool) -> Backend:
    """Return the fastest available backend that agrees with eager torch, measured or cached."""
    slow = reference(model, half)
    if can_run(model, 'cuda_graph'):
        try:
            return CudaGraphBackend(model, half)
        except Disagreement as error:
            LOGGER.warning('the model runs in eager torch: %s', error)
    if not can_run(model, 'openvino'):
        return slow
    key = remembered.key(model, half)
    known = remembered.recall(key)
    if known == slow.name:
        return slow
    try:
        fast = OpenVinoBackend(model, half)
    except Exception as error:  # noqa: BLE001 - torch.export raises many unrelated error classes
        LOGGER.warning('the model runs in %s, since OpenVINO cannot run it: %s',
                       slow.name, first_line(error))
        remembered.remember(key, slow.name, {'error': first_line(error)})
        return slow
    if known != fast.name:
        times = time_backends([slow, fast], model)
        known = min(times, key=times.get)
        LOGGER.info('the backend %s is the fastest: %s', known, times)
        remembered.remember(key, known, {'seconds': times})
    return fast if known == fast.name else slow


def time_backends(
        backends: list[Backend], model: PerceptionModel | ExportedModel) -> dict[str, float]:
    """Return the shortest time in seconds per image of each backend; the backends alternate."""
    for backend in backends:
        seconds(backend, model)
    turns: dict[str, list[float]] = {backend.name: [] for backend in backends}
    start = time.perf_counter()
    for turn in range(MOST_RUNS):
        if turn and time.perf_counter() - start > BUDGET:
            break
        for backend in backends:
            turns[backend.name].append(seconds(backend, model))
    return {name: round(min(values), 5) for name, values in turns.items()}


def seconds(backend: Backend, model: PerceptionModel | ExportedModel) -> float:
    """Return the seconds of one run of a backend, at a quarter of the model's input area."""
    config = model.config
    size = config.input_size or network_size(
        SHAPE, config.input_pixels // SHARE, config.input_multiple)
    image = probe_image(model, tuple(size))
    start = time.perf_counter()
    backend(image)
    return time.perf_counter() - start
