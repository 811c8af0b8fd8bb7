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


"""Export of a model to one file, ONNX or torch's .pt2, with its config inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from io import BytesIO
import json
import logging
from pathlib import Path
import re

from sync_perception.files.trust import code_allowed
from sync_perception.files.whole_files import write_bytes
from sync_perception.models.exchange.exported import (
    CONFIG_KEY,
    EXPORT_FORMATS,
    ExportedModel,
    INPUT_NAME,
    load_exported,
)
from sync_perception.models.perception_model import PerceptionModel
import torch
from torch import nn, Tensor
from torch.export import Dim, ExportedProgram

MAX_ONNX_BYTES = 1_800_000_000  # protobuf limits a file to 2 GiB; larger models need a second file


class NamedMaps(nn.Module):
    """Wrapper of a model that returns its maps as a plain dictionary."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the maps of normalised images (B, 3, h, w)."""
        return self.model(image).maps()


def export_model(
        model: PerceptionModel, out: str | Path, size: tuple[int, int],
        file_format: str | None = None, opset: int | None = None) -> dict[str, float]:
    """
    Write a model to one file, load it again, and compare both on noise.

    The file takes images of one size, in its config, and batches of any size.

    :param model: on the CPU, in evaluation mode.
    :param out: path that ends in .onnx or .pt2; missing folders are created.
    :param size: height and width of the network's input; the file pads it to the multiple that the
        network needs, such as 32.
    :param file_format: onnx or pt2; by default that of the suffix of `out`.
    :param opset: ONNX opset version; None for torch's default.
    :return: greatest difference between the file and the model by map, relative to the greatest
        value of the map.
    :raises ValueError: if the model is itself an exported file, a size is not positive, format and
        suffix disagree, an opset is given for .pt2, or the weights are too large for one ONNX
        file.
    """
    out = Path(out)
    file_format = check_format(out, file_format, opset)
    if isinstance(model, ExportedModel):
        raise ValueError(f'expected a model folder to export, got an exported file, {model.name}')
    if min(size) < 1:
        raise ValueError(f'size must be a positive height and width, got {tuple(size)}')
    config = json.dumps(asdict(replace(model.config, input_size=list(size))))
    program = trace(model, size)
    if file_format == 'onnx':
        content = onnx_bytes(program, config, opset)
    else:
        content = program_bytes(program, config)
    write_bytes(out, content)
    with code_allowed(True):  # written right here
        return compare_models(model, load_exported(out), size)


def trace(model: PerceptionModel, size: tuple[int, int]) -> ExportedProgram:
    """
    Capture a model as a graph for images of one size, in batches of any number.

    :param model: on the CPU, in evaluation mode.
    :param size: height and width.
    """
    # two, because torch would treat a batch of one as constant
    image = torch.zeros(2, 3, *size)
    with torch.no_grad():
        program = torch.export.export(
            NamedMaps(model).eval(), (image,), dynamic_shapes={INPUT_NAME: {0: Dim('batch')}})
    program.example_inputs = None  # to save space in the file
    return program


def program_bytes(program: ExportedProgram, config: str) -> memoryview:
    """Return the bytes of a .pt2 file; in memory, as torch aborts the process on a full disk."""
    content = BytesIO()
    torch.export.save(program, content, extra_files={CONFIG_KEY: config})
    return content.getbuffer()


def onnx_bytes(program: ExportedProgram, config: str, opset: int | None = None) -> bytes:
    """
    Return the bytes of an ONNX file of a graph and its config.

    Only onnxscript's linear-time optimisations run: the others take minutes on a large
    transformer, and every runtime has its own.

    :raises ValueError: if the weights are too large for one file.
    """
    # optional: only exporting to ONNX needs these
    from onnx_ir.passes import common
    from onnxscript import optimizer
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    if size > MAX_ONNX_BYTES:
        raise ValueError(
            f'one ONNX file can contain {MAX_ONNX_BYTES / 1e9} GB of weights, this model has '
            f'{size / 1e9:.1f} GB: export it to .pt2')
    with quiet_export(), torch.no_grad():  # as traced: attention differs where gradients are on
        converted = torch.onnx.export(
            program, dynamo=True, optimize=False, verbose=False, opset_version=opset,
            input_names=[INPUT_NAME], output_names=output_names(program),
            dynamic_shapes={INPUT_NAME: {0: 'batch'}})
        optimizer.fold_constants(converted.model)
    common.CommonSubexpressionEliminationPass()(converted.model)
    common.RemoveUnusedNodesPass()(converted.model)
    converted.model.metadata_props[CONFIG_KEY] = config
    return converted.model_proto.SerializeToString()


def output_names(program: ExportedProgram) -> list[str]:
    """Return the names of the maps in the order of the graph's outputs."""
    return list(program.call_spec.out_spec.unflatten(range(program.call_spec.out_spec.num_leaves)))


def compare_models(
        model: nn.Module, exported: ExportedModel, size: tuple[int, int]) -> dict[str, float]:
    """
    Compare two models on the same noise, in another batch size than the traced one.

    :return: greatest difference by map, relative to the greatest value of the map.
    """
    image = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected, found = model(image).maps(), exported(image).maps()
    return {name: float((found[name] - values).abs().max() / values.abs().max().clamp_min(1e-12))
            for name, values in expected.items()}


def check_format(out: Path, file_format: str | None, opset: int | None) -> str:
    """
    Return the format of an output file.

    :raises ValueError: if the format is unknown, disagrees with the suffix, or has no opset.
    """
    by_ending = EXPORT_FORMATS.get(out.suffix)
    if file_format is not None and file_format not in EXPORT_FORMATS.values():
        raise ValueError(
            f'format must be one of {", ".join(EXPORT_FORMATS.values())}, got {file_format!r}')
    if by_ending is None or file_format not in (None, by_ending):
        endings = file_format or ' or .'.join(EXPORT_FORMATS.values())
        raise ValueError(f'expected a file that ends in .{endings}, got {out}')
    if opset is not None and by_ending != 'onnx':
        raise ValueError(f"an opset is ONNX's alone, got {opset} for {out}")
    return by_ending


def parse_size(text: str) -> tuple[int, int]:
    """
    Parse height and width from text such as 192x640.

    :raises ValueError: if the text is malformed.
    """
    match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if match is None:
        raise ValueError(f'size must be HEIGHTxWIDTH in pixels, such as 192x640, got {text!r}')
    return int(match[1]), int(match[2])


@contextmanager
def quiet_export() -> Iterator[None]:
    """Suppress the exporters' irrelevant warnings."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
