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


"""Load models exported to one file: ONNX by onnxruntime, .pt2 by torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent import futures
from dataclasses import fields
import logging
from pathlib import Path
from typing import Any
import zipfile

from sync_perception.files.checks import first_line
from sync_perception.files.trust import check_code_allowed
from sync_perception.files.whole_files import parse_json
from sync_perception.labels import LabelSpace
from sync_perception.models.config import ModelConfig
from sync_perception.models.exchange.interruptible import call_interruptibly
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor

LOGGER = logging.getLogger(__name__)
EXPORT_FORMATS = {'.onnx': 'onnx', '.pt2': 'pt2'}
CONFIG_KEY = 'sync_perception.json'  # key of the config in both formats
INPUT_NAME = 'image'
ERRORS_ONLY, NOTHING = 3, 4
FIRST_RUN = 60.0
"""Time limit in seconds of the first run of an ONNX file."""


class ExportedModel(nn.Module, ABC):
    """
    Exported network with the contract of `PerceptionModel`, for one image size.

    :param config: config in the file; its `input_size` is that of the network.
    :param name: name of the file, for messages.
    :param device: device of the images and maps.
    :param batch: the file's fixed batch size; None for any.
    """

    def __init__(
            self, config: ModelConfig, name: str, device: torch.device, batch: int | None = None):
        super().__init__()
        self.config, self.name, self.device = config, name, device
        self.one_at_a_time = batch == 1
        self.labels, _ = LabelSpace.from_dict(config.label_space).part(config.label_part)

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """
        Run the network.

        :param image_b3hw: float (B, 3, h, w) of the config's input size, normalised by its mean
            and std; any B, but 1 if the file takes images `one_at_a_time`.
        :return: the network's maps, at h / k, w / k for an integer k.
        :raises ValueError: if the images are of another size.
        """
        expected = (3, *self.config.input_size)
        if image_b3hw.ndim != 4 or tuple(image_b3hw.shape[1:]) != expected:
            raise ValueError(
                f'{self.name} was exported for images (B, 3, h, w) = (B, '
                f'{", ".join(map(str, expected))}), got {tuple(image_b3hw.shape)}')
        return DenseOutput(**self.run(image_b3hw))

    @abstractmethod
    def run(self, image_b3hw: Tensor) -> dict[str, Tensor]:
        """Return the maps by name."""


class OnnxModel(ExportedModel):
    """
    An ONNX file in onnxruntime.

    On a GPU, images and maps are copied through host memory.

    :param path: path of the file.
    :param device: cpu, or cuda if onnxruntime has its CUDA provider; otherwise the model runs on
        the CPU, with a log message.
    :raises ValueError: if it is not an ONNX file of this package.
    """

    def __init__(self, path: str | Path, device: torch.device):
        providers: list[Any] = ['CPUExecutionProvider']
        if device.type == 'cuda' and has_cuda_provider():
            providers.insert(0, ('CUDAExecutionProvider', {'device_id': device.index or 0}))
        elif device.type != 'cpu':
            LOGGER.warning(
                '%s runs on the CPU: onnxruntime has no provider for %s here', path, device)
            device = torch.device('cpu')
        session = open_session(path, providers)
        config = session_config(session, path)
        check_graph(session, path)
        batch = session.get_inputs()[0].shape[0]
        super().__init__(config, str(path), device, batch if isinstance(batch, int) else None)
        self.session = session
        self.map_names = [output.name for output in session.get_outputs()]
        self.has_run = False

    def run(self, image_b3hw: Tensor) -> dict[str, Tensor]:
        """
        Return the maps by name.

        :raises ValueError: if the first run exceeds the time limit.
        """
        images = {INPUT_NAME: image_b3hw.detach().float().contiguous().cpu().numpy()}
        if self.has_run:
            maps = self.session.run(self.map_names, images)
        else:
            maps = self.run_first(images)
            self.has_run = True
        return {name: torch.from_numpy(values).to(self.device)
                for name, values in zip(self.map_names, maps)}

    def run_first(self, images: dict[str, Any]) -> list[Any]:
        """Run the session on a thread that a time limit or Ctrl-C can end."""
        import onnxruntime  # optional: only .onnx files need it
        options = onnxruntime.RunOptions()
        options.log_severity_level = NOTHING  # errors are raised here instead
        try:
            return call_interruptibly(
                lambda: self.session.run(self.map_names, images, options),
                lambda: setattr(options, 'terminate', True), FIRST_RUN)
        except futures.TimeoutError as error:
            raise ValueError(
                f'{self.name}: its first run did not end within {FIRST_RUN:g} s, expected a '
                'network without endless loops') from error


class ProgramModel(ExportedModel):
    """
    A .pt2 file of `torch.export`.

    Such a file can make torch run code, so it is loaded only if `sync_perception.files.trust`
    allows it.

    :param path: path of the file.
    :param device: any torch device.
    :raises ValueError: if loading is not allowed, or it is not a .pt2 file of this package.
    """

    def __init__(self, path: str | Path, device: torch.device):
        check_code_allowed(path)
        config = program_config(path)
        try:
            program = torch.export.load(path)
        except Exception as error:  # torch raises many types of errors for damaged files
            raise ValueError(
                f'{path} is damaged, or was written by a torch that {torch.__version__} does not '
                f'understand: {type(error).__name__}: {first_line(error)}') from error
        if device.type != 'cpu':
            # slow: many modules, which a CPU does not need
            from torch.export.passes import move_to_device_pass
            program = move_to_device_pass(program, device)
        super().__init__(config, str(path), device, traced_batch(program))
        self.program = program.module().requires_grad_(False)

    def train(self, mode: bool = True) -> ProgramModel:
        """Stay in evaluation mode, the only one of the graph."""
        return self

    def run(self, image_b3hw: Tensor) -> dict[str, Tensor]:
        """Return the maps by name."""
        # not called as a module: the hook that checks its input cannot be traced
        return self.program.forward(image_b3hw)


def traced_batch(program: torch.export.ExportedProgram) -> int | None:
    """Return the fixed batch size of a program; None if it takes any."""
    [name] = program.graph_signature.user_inputs
    image = next(node for node in program.graph.nodes if node.name == name).meta['val']
    return image.shape[0] if isinstance(image.shape[0], int) else None


EXPORTED_CLASSES: dict[str, type[OnnxModel] | type[ProgramModel]] = {
    '.onnx': OnnxModel, '.pt2': ProgramModel}


def is_exported(model: str | Path) -> bool:
    """Return whether a model name is that of an exported file."""
    return Path(model).suffix in EXPORT_FORMATS and not Path(model).is_dir()


def load_exported(path: str | Path, device: str | torch.device = 'cpu') -> ExportedModel:
    """
    Load an exported file for inference.

    :raises FileNotFoundError: if the file does not exist.
    :raises ValueError: if it is not a file of its suffix's format, written by this package.
    """
    check_exists(path)
    return EXPORTED_CLASSES[Path(path).suffix](path, torch.device(device)).eval()


def read_exported_config(path: str | Path) -> ModelConfig:
    """
    Read the config in an exported file.

    :raises FileNotFoundError: if the file does not exist.
    :raises ValueError: if it is not a file of its suffix's format, written by this package.
    """
    check_exists(path)
    if Path(path).suffix == '.pt2':
        return program_config(path)
    return session_config(open_session(path, ['CPUExecutionProvider'], optimise=False), path)


def check_exists(path: str | Path) -> None:
    """Check that a file exists."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'no exported model at {path}')


def open_session(path: str | Path, providers: list[Any], optimise: bool = True) -> Any:
    """
    Open an ONNX file.

    :param optimise: whether to optimise the graph, in order to run it.
    :return: an onnxruntime.InferenceSession.
    :raises ValueError: if it is not ONNX, or has operators unknown to onnxruntime.
    """
    import onnxruntime  # optional: only .onnx files need it
    from onnxruntime.capi import onnxruntime_pybind11_state as errors
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')  # see `environment`
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except (errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.Fail,
            errors.NotImplemented, errors.RuntimeException) as error:
        raise ValueError(
            f'{path} is not an ONNX file that onnxruntime can run: {first_line(error)}') from error


def check_graph(session: Any, path: str | Path) -> None:
    """
    Check that an ONNX file has the input and outputs of this package's models.

    :param session: an onnxruntime.InferenceSession.
    :raises ValueError: naming what was got and what was expected.
    """
    inputs = [f'{entry.name} {entry.type}' for entry in session.get_inputs()]
    outputs = [entry.name for entry in session.get_outputs()]
    known = [entry.name for entry in fields(DenseOutput)]
    if inputs != [f'{INPUT_NAME} tensor(float)'] or not set(outputs) <= set(known):
        raise ValueError(
            f'{path}: expected one input, {INPUT_NAME} tensor(float), and outputs of '
            f'{", ".join(known)}; got {", ".join(inputs) or "none"} and '
            f'{", ".join(outputs) or "none"}')


def has_cuda_provider() -> bool:
    """Return whether this build of onnxruntime runs on NVIDIA GPUs."""
    import onnxruntime  # optional: only .onnx files need it
    return 'CUDAExecutionProvider' in onnxruntime.get_available_providers()


def session_config(session: Any, path: str | Path) -> ModelConfig:
    """Return the config in an ONNX file; see `parse_config` for errors."""
    return parse_config(session.get_modelmeta().custom_metadata_map.get(CONFIG_KEY), path)


def program_config(path: str | Path) -> ModelConfig:
    """Return the config in a .pt2 file; see `parse_config` for errors."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path} is not a .pt2 file of torch.export')
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if name.endswith(f'/extra/{CONFIG_KEY}')]
            text = archive.read(found[0]).decode() if found else None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise ValueError(f'{path} is damaged: {error}') from error
    return parse_config(text, path)


def parse_config(text: str | None, path: str | Path) -> ModelConfig:
    """
    Parse the config of an exported file.

    :raises ValueError: if it is missing, invalid or without an input size.
    """
    hint = 'write the file with `sync_perception export`'
    if text is None:
        raise ValueError(f'{path} has no config of sync_perception in it: {hint}')
    source = f'the config in {path}'
    config = ModelConfig.from_dict(parse_json(text, source), source=source)
    if config.input_size is None:
        raise ValueError(f'{source} has no input size, got None: {hint}')
    return config
