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


"""Whether a network computes the same however it is run: what tests in other processes call."""

from __future__ import annotations

from pathlib import Path
import tempfile
import traceback
from typing import Any

from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.exchange.export import onnx_bytes, trace
from sync_perception.models.exchange.exported import INPUT_NAME
from sync_perception.models.perception_model import PerceptionModel
import torch
from torch import nn, Tensor
from zoo import BRANCH_ZOO, MODEL_ZOO

SIZE = (64, 96)
BATCHES = (1, 3)  # the graphs are captured with 2
CONTAINED = ('refinenet',)  # networks of the zoo that another one there holds whole
# as text they reach the test whole: some of torch's own break a pool of processes when they travel
ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError,
    TypeError, ValueError)


def parts() -> dict[str, tuple[str, dict[str, Any]]]:
    """
    List networks that together hold every line of the zoo's, each of them once.

    Every branch alone, every network that has none, and a coupled, aligned pair.
    """
    found = {}
    for name, describe in BRANCH_ZOO.items():
        branch = describe()
        if branch['kind'] == 'unet':
            branch['multipliers'] = [1, 2]  # a third level would repeat the second's graph
        semantics = branch['kind'] == 'transformers_segmentation'
        found[name] = ('sync', {
            'depth': None if semantics else branch, 'semantics': branch if semantics else None})
    for name, describe in MODEL_ZOO.items():
        architecture, arguments = describe()
        if architecture != 'sync' and name not in CONTAINED:
            found[f'{name} (whole)'] = architecture, arguments
    found['coupled pair'] = 'sync', {
        'depth': BRANCH_ZOO['depth_anything'](), 'semantics': BRANCH_ZOO['segformer'](),
        'alignment': True}
    return found


def build_part(name: str) -> PerceptionModel:
    """Build one of the parts, with no weight at zero."""
    torch.manual_seed(0)
    architecture, arguments = parts()[name]
    space = LabelSpace.load('driving').to_dict()
    return awaken(build_model(ModelConfig(architecture, arguments, space)).eval())


def awaken(model: nn.Module) -> nn.Module:
    """Add noise to every weight, so that couplings, gates and heads take part; in place."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(noise * (0.5 / weight[0].numel()) ** 0.5 if weight.ndim > 1
                        else 0.1 * noise.abs())
    return model


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the greatest difference of two outputs, relative to the map's greatest value."""
    assert list(found) == list(expected), (list(found), list(expected))
    return max(
        float((found[name].float() - values).abs().max() / values.abs().max().clamp_min(1e-12))
        for name, values in expected.items())


def compiled(model: PerceptionModel) -> float:
    """Compile as a whole, without graph breaks; the backend runs what the compiler would get."""
    torch._dynamo.reset()
    program = torch.compile(model, fullgraph=True, backend='aot_eager')
    return compare(lambda image: program(image).maps(), model, BATCHES[:1])


def exported(model: PerceptionModel, folder: Path) -> dict[str, float]:
    """Capture the graph with two images, and write it as ONNX; run both with other numbers."""
    import onnxruntime
    program = trace(model, SIZE)
    path = folder / 'model.onnx'
    path.write_bytes(onnx_bytes(program, '{}'))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]

    def run(image: Tensor) -> dict[str, Tensor]:
        maps = session.run(None, {INPUT_NAME: image.numpy()})
        return {name: torch.from_numpy(values) for name, values in zip(names, maps)}

    return {'exported': compare(program.module(), model), 'onnx': compare(run, model)}


def compare(run: Any, model: PerceptionModel, batches: tuple[int, ...] = BATCHES) -> float:
    """Return the greatest difference between a way to run a model and the model, over batches."""
    worst = 0.0
    for batch in batches:
        image = torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            worst = max(worst, difference(run(image), model(image).maps()))
    return worst


def differences(name: str) -> dict[str, float | str]:
    """
    Compile and export one of the parts.

    :return: by way to run it (`compiled`, `exported`, `onnx`), the greatest difference from the
        network as written, or the error's text; under `spread`, that of the least lively map.
    """
    torch.set_num_threads(1)
    model = build_part(name)
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = model(image).maps()
    found: dict[str, float | str] = {
        'spread': min(float(values.std() / values.abs().max()) for values in maps.values())}
    try:
        found['compiled'] = compiled(model)
    except ERRORS:
        found['compiled'] = traceback.format_exc()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found |= exported(model, Path(folder))
    except ERRORS:
        found['exported'] = found['onnx'] = traceback.format_exc()
    return found
