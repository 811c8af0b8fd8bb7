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

"""`sync_perception quantise`: write an 8-bit graph of a model that keeps its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
import logging
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets import open_dataset
from sync_perception.evaluation.evaluate import evenly_spread
from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.files.whole_files import cannot_write, write_json
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.network_input import input_size_of, normalise, resize_image
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends.graphs import network_digest
from sync_perception.runtime.backends.library import kept_signal_stack
from sync_perception.runtime.backends.openvino import (
    CPU,
    GraphBackend,
    OpenVinoBackend,
    precision,
)
from sync_perception.runtime.backends.quantised import FACTS, FixedGraphBackend, GRAPH, WEIGHTS
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

LOG = logging.getLogger(__name__)
ATTENTION = ('MatMul', 'Divide', 'Softmax', 'Power', 'ReduceSum')
"""Operations of attention and its normalisation, whose sums span too many orders of magnitude."""
DEPTHWISE = 'GroupConvolution'
LAYERS = ('Convolution', DEPTHWISE, 'MatMul')
"""Types of operations with weights, or as expensive."""


def of_types(graph: Any, types: Sequence[str]) -> list[str]:
    """Return the names of an openvino.Model's operations of some types."""
    return [operation.get_friendly_name() for operation in graph.get_ordered_ops()
            if operation.get_type_name() in types]


def unbounded_depthwise(graph: Any) -> list[str]:
    """
    Return the names of depthwise convolutions whose results are not clamped, as by ReLU6.

    All channels of a result are rounded with the same step. Those of a depthwise convolution have
    very different ranges, unless a clamp limits them all.
    """
    names = []
    for operation in graph.get_ordered_ops():
        if operation.get_type_name() == DEPTHWISE:
            after = readers(operation)
            if [node.get_type_name() for node in after] == ['Add']:  # the bias
                after = readers(after[0])
            if any(node.get_type_name() != 'Clamp' for node in after):
                names.append(operation.get_friendly_name())
    return names


def readers(operation: Any) -> list[Any]:
    """Return the operations that read an operation's results."""
    return [reader.get_node() for output in operation.outputs()
            for reader in output.get_target_inputs()]


ATTEMPTS: dict[str, Callable[[Any], list[str]]] = {
    'all layers in 8 bits': lambda graph: [],
    'attention in floats': lambda graph: of_types(graph, ATTENTION),
    'attention and unbounded depthwise convolutions in floats':
        lambda graph: of_types(graph, ATTENTION) + unbounded_depthwise(graph),
    'attention and depthwise convolutions in floats':
        lambda graph: of_types(graph, (*ATTENTION, DEPTHWISE)),
}
"""Names of operations that stay in floats, from the fastest graph to the most accurate one."""


@dataclass(frozen=True)
class QuantisationData:
    """
    Data set for calibration and evaluation of a quantised model.

    :param dataset: a key of `sync_perception.datasets.DATASETS`.
    :param root: its folder.
    :param split: split of the calibration images.
    :param judged: split of the accuracy comparison.
    """

    dataset: str
    root: str
    split: str = 'train'
    judged: str = 'val'


@dataclass(frozen=True)
class AccuracyLimits:
    """
    Greatest accepted loss of accuracy on any of the data sets.

    :param miou: loss of mean intersection over union.
    :param abs_rel: growth of the mean relative error of depth.
    """

    miou: float = 0.01
    abs_rel: float = 0.005


class GraphModel:
    """
    Adapter of a backend to the model interface of `Evaluation`.

    :param model: source of config and label space.
    :param backend: backend that runs the model, on the CPU.
    """

    def __init__(self, model: PerceptionModel, backend: GraphBackend):
        self.config, self.labels, self.backend = model.config, model.labels, backend
        self.device = torch.device('cpu')

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the backend and copy its maps, which are only valid until its next call."""
        image = image_b3hw.contiguous(memory_format=torch.channels_last)
        return self.backend(image).apply(torch.clone)


def quantise(
        model: str | Path, sources: Sequence[QuantisationData], images: int = 50,
        judged: int = 100, limits: AccuracyLimits = AccuracyLimits()) -> dict[str, Any]:
    """
    Write the 8-bit graph of a model into its folder, if it keeps the accuracy.

    Ranges of activations are taken from images of the sources (NNCF's post-training
    quantisation). If the accuracy falls too far with all layers in 8 bits, more of them stay in
    floats: see ATTEMPTS. These are bfloat16 if this processor has instructions for it and the
    accuracy allows it.

    :param model: a model folder; int8.xml, int8.bin and int8.json are written there.
    :param sources: data sets with images like those that the model will see.
    :param images: number of calibration images, shared evenly among the sources.
    :param judged: greatest number of images of each source on which accuracy is compared.
    :param limits: greatest accepted loss of accuracy.
    :return: `attempt`, the number format `floats` of the layers that are not in 8 bits, and by
        data set the scores `float32` and `int8`.
    :raises ModuleNotFoundError: if NNCF or OpenVINO is not installed.
    :raises ValueError: if the model is no folder, its graph is bound to one size of images, or
        every attempt costs more accuracy than allowed; nothing is written then.
    """
    import nncf  # an optional library, which takes seconds to import
    folder = Path(model)
    if not folder.is_dir():
        raise ValueError(f'expected a model folder to write to, got {model}')
    network = hub.load(folder)
    backend = OpenVinoBackend(network)
    if backend.graphs.for_all is None:
        raise ValueError(f'{model}: expected a network that takes images of any size as one '
                         'graph; the sizes of this one are part of its graph')
    logging.getLogger('nncf').setLevel(logging.ERROR)
    data = list(calibration_images(network, sources, images))
    before = scores(GraphModel(network, backend), sources, judged)
    problem = ''
    final = after_last_layers(backend.graphs.for_all)
    for attempt, sensitive in ATTEMPTS.items():
        with kept_signal_stack():
            graph = nncf.quantize(
                backend.graphs.for_all.clone(), nncf.Dataset(data),
                preset=nncf.QuantizationPreset.MIXED, subset_size=len(data),
                ignored_scope=nncf.IgnoredScope(
                    names=list(dict.fromkeys([*sensitive(backend.graphs.for_all), *final])),
                    validate=False))
        # the fastest format comes first
        for floats in dict.fromkeys((precision(half=True, target=CPU), 'float32')):
            after = scores(GraphModel(network, FixedGraphBackend(
                graph, network.config.input_multiple, floats)), sources, judged)
            problem = losses(before, after, limits)
            if not problem:
                found = {'attempt': attempt, 'floats': floats}
                write_graph(folder, graph, {
                    'network': network_digest(network), **found, 'images': len(data),
                    'sources': [asdict(source) for source in sources],
                    'scores': {'float32': before, 'int8': after},
                    'versions': {name: version(name) for name in ('nncf', 'openvino')}})
                return {**found, 'float32': before, 'int8': after}
            LOG.warning('%s, other layers in %s: %s', attempt, floats, problem)
    raise ValueError(f'{model}: 8 bits cost too much accuracy: {problem}')


def after_last_layers(graph: Any) -> list[str]:
    """
    Return the names of an openvino.Model's operations that no LAYERS follow.

    They turn the last layers' results into metres and finish the maps: 8 bits would round metres
    to steps of a 256th of the greatest depth, for hardly any time.
    """
    followed: set[str] = set()
    final = []
    for operation in reversed(graph.get_ordered_ops()):
        name = operation.get_friendly_name()
        if any(node.get_type_name() in LAYERS or node.get_friendly_name() in followed
               for node in readers(operation)):
            followed.add(name)
        elif operation.get_type_name() not in (*LAYERS, 'Result'):
            final.append(name)
    return final


def calibration_images(
        model: PerceptionModel, sources: Sequence[QuantisationData], count: int
        ) -> Iterator[np.ndarray]:
    """
    Yield images as the network's graph takes them, spread evenly over the sources.

    :return: float32 (1, h, w, 3), normalised, at the size at which the network sees them.
    """
    for source in sources:
        samples = open_dataset(source.dataset, source.root, source.split)
        for name in evenly_spread(samples.ids, max(1, count // len(sources))):
            image = samples.read(name).image
            seen = resize_image(image, input_size_of(model.config, image.shape[:2]))
            batch = torch.from_numpy(np.ascontiguousarray(seen))[None]
            ready = normalise(batch, model.config.mean, model.config.std)
            yield ready.permute(0, 2, 3, 1).contiguous().numpy()


def scores(
        model: GraphModel, sources: Sequence[QuantisationData], limit: int
        ) -> dict[str, dict[str, float]]:
    """Return mIoU and abs rel, as far as they are measured, by data set."""
    found = {}
    for source in sources:
        samples = open_dataset(source.dataset, source.root, source.judged)
        space = None if samples.label_space is None else LabelSpace.load(samples.label_space)
        evaluation = Evaluation(model, space, DepthMetrics(max_depth=samples.max_depth))
        for name in track(evenly_spread(samples.ids, limit), f'{source.dataset}, {source.judged}',
                          console=Console(stderr=True)):
            evaluation.add(samples.read(name), samples.crop(name))
        measured = evaluation.scores()
        found[source.dataset] = {
            name: round(float(measured[name]), 5) for name in ('miou', 'abs_rel')
            if name in measured}
    return found


def losses(
        before: dict[str, dict[str, float]], after: dict[str, dict[str, float]],
        limits: AccuracyLimits) -> str:
    """Describe the losses of accuracy beyond the limits; '' if there are none."""
    problems = []
    for dataset, values in before.items():
        for name, allowed, sign in (
                ('miou', limits.miou, 1), ('abs_rel', limits.abs_rel, -1)):
            if name in values and sign * (values[name] - after[dataset][name]) > allowed:
                problems.append(
                    f'{name} on {dataset} goes from {values[name]:.4f} to '
                    f'{after[dataset][name]:.4f}, expected a change of at most {allowed}')
    return '; '.join(problems)


def write_graph(folder: Path, graph: Any, facts: dict[str, Any]) -> None:
    """
    Write the graph, its weights and the record, each file atomically, the graph last.

    :raises OSError: if they cannot be written, naming the file and the space on its disk.
    """
    import openvino  # an optional library
    beside = folder / f'.{GRAPH}'
    try:
        openvino.save_model(graph, beside, compress_to_fp16=False)
        beside.with_suffix('.bin').replace(folder / WEIGHTS)
        write_json(folder / FACTS, facts)
        beside.replace(folder / GRAPH)
    except (OSError, RuntimeError) as error:
        raise cannot_write(folder / GRAPH, OSError(str(error))) from error
    finally:
        for suffix in ('.xml', '.bin'):
            beside.with_suffix(suffix).unlink(missing_ok=True)


def quantise_summary(result: dict[str, Any]) -> str:
    """Return a one-line summary of the change of accuracy."""
    parts = [f'{name} on {dataset} {values[name]:.4f} -> {result["int8"][dataset][name]:.4f}'
             for dataset, values in result['float32'].items() for name in values]
    return f'{result["attempt"]}, other layers in {result["floats"]}: {", ".join(parts)}'
