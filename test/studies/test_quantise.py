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
"""An 8-bit graph: close to the network, written only if accuracy holds, refused elsewhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from small_batches import TINY
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.resources import default_model_folder
from sync_perception.runtime.backends import BackendError, choose_backend, OpenVinoBackend
from sync_perception.runtime.backends.graphs import network_digest
from sync_perception.runtime.backends.quantised import (
    FACTS,
    find_quantised,
    GRAPH,
    QuantisedBackend,
)
from sync_perception.runtime.predictor import Predictor
from sync_perception.studies.quantise import (
    AccuracyLimits,
    after_last_layers,
    losses,
    QuantisationData,
    quantise,
    unbounded_depthwise,
    write_graph,
)
from sync_perception.types import Frame
import torch

LOOSE = AccuracyLimits(miou=1.0, abs_rel=10.0)
FRAME = Frame(
    np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8),
    np.array([[80.0, 0, 75], [0, 80, 45], [0, 0, 1]]))


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """Write a small model without an 8-bit graph."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(
        'sync', {'depth': TINY, 'semantics': None, 'uncertainty': True},
        LabelSpace.load('driving').to_dict(), input_pixels=64 * 96)).eval()
    path = tmp_path_factory.mktemp('plain') / 'model'
    hub.save(model, path)
    return path


@pytest.fixture(scope='module')
def folder(plain, tmp_path_factory):
    """Write the model with a graph beside it: the network's own, since NNCF takes a minute."""
    pytest.importorskip('openvino', reason='8-bit graphs run in OpenVINO')
    path = tmp_path_factory.mktemp('quantised') / 'model'
    shutil.copytree(plain, path)
    network = hub.load(path)
    graph = OpenVinoBackend(network).graphs.for_all
    write_graph(path, graph, {'network': network_digest(network)})
    return path


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_the_graph_is_close_to_the_network_at_every_size(plain, tmp_path):
    """Mean errors: a random network has no margin that would hide them."""
    pytest.importorskip('nncf', reason='sync_perception quantise needs NNCF')
    pytest.importorskip('open3d', reason='the street world needs Open3D')
    folder = tmp_path / 'model'
    shutil.copytree(plain, folder)
    result = quantise(
        folder, [QuantisationData('synthetic', '')], images=4, judged=1, limits=LOOSE)
    assert result['attempt'] == 'all layers in 8 bits'
    facts = json.loads((folder / FACTS).read_text())
    assert facts['sources'] == [
        {'dataset': 'synthetic', 'root': '', 'split': 'train', 'judged': 'val'}]
    assert facts['floats'] == result['floats'] in ('float32', 'bfloat16')
    assert facts['scores'] == {name: result[name] for name in ('float32', 'int8')}
    model = hub.load(folder)
    backend = QuantisedBackend(model, find_quantised(str(folder)))
    for size in ((64, 96), (96, 160)):
        image = torch.rand(1, 3, *size)
        with torch.inference_mode():
            expected = model(image).maps()
        found = backend(image).maps()
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].shape == values.shape
            off = (found[name] - values).abs().mean() / values.abs().max()
            assert 0 < off < 0.05, name


def test_metres_are_never_rounded_to_8_bits():
    """In the default model's graph nothing is quantised where no layer follows."""
    openvino = pytest.importorskip('openvino', reason='8-bit graphs run in OpenVINO')
    graph = openvino.Core().read_model(default_model_folder() / GRAPH)
    final = set(after_last_layers(graph))
    kinds = {operation.get_type_name(): operation.get_friendly_name() in final
             for operation in graph.get_ops()}
    assert kinds['MaxPool'] and not kinds['Convolution']
    assert not [operation.get_friendly_name() for operation in graph.get_ops()
                if operation.get_type_name() == 'FakeQuantize'
                and operation.get_friendly_name() in final]


def test_what_follows_the_last_layer_is_found():
    """A convolution, whose result is read by another one and by the end of the graph."""
    openvino = pytest.importorskip('openvino', reason='8-bit graphs run in OpenVINO')
    from openvino import opset8 as operations
    image = operations.parameter([1, 1, 8, 8], name='image')
    geometry = ([1, 1], [0, 0], [0, 0], [1, 1])  # strides, padding, dilation
    weight = np.ones((1, 1, 1, 1), np.float32)
    first = operations.exp(operations.convolution(image, weight, *geometry), name='between')
    second = operations.exp(operations.convolution(first, weight, *geometry), name='metres')
    graph = openvino.Model([second, operations.negative(first, name='other end')], [image])
    assert set(after_last_layers(graph)) == {'metres', 'other end'}


def test_clamped_depthwise_convolutions_are_told_from_others():
    """One with a bias and a clamp after it, one that is read by a clamp and by the end."""
    openvino = pytest.importorskip('openvino', reason='8-bit graphs run in OpenVINO')
    from openvino import opset8 as operations
    geometry = ([1, 1], [0, 0], [0, 0], [1, 1])  # strides, padding, dilation
    weight = np.ones((2, 1, 1, 1, 1), np.float32)
    image = operations.parameter([1, 2, 8, 8], name='image')
    clamped = operations.group_convolution(image, weight, *geometry, name='clamped')
    biased = operations.add(clamped, np.ones((1, 2, 1, 1), np.float32))
    free = operations.group_convolution(
        operations.clamp(biased, 0.0, 6.0), weight, *geometry, name='free')
    graph = openvino.Model([operations.clamp(free, 0.0, 6.0), operations.negative(free)], [image])
    assert unbounded_depthwise(graph) == ['free']


def test_int8_is_used_where_it_is_asked_for(folder):
    predictor = Predictor(folder, 'cpu', precision='int8')
    assert predictor.describe()['precision'] == 'int8'
    prediction = predictor.predict(FRAME)
    assert prediction.depth.shape == (90, 150)
    assert Predictor(folder, 'cpu', precision='float32').describe()['precision'] == 'float32'


@pytest.mark.parametrize(('allowed', 'has', 'floats'), [
    ('bfloat16', 'bfloat16', 'bfloat16'), ('bfloat16', 'float32', 'float32'),
    ('float32', 'bfloat16', 'float32')])
def test_the_other_layers_run_in_16_bits_where_measured_and_supported(
        folder, tmp_path, monkeypatch, allowed, has, floats):
    monkeypatch.setattr(
        'sync_perception.runtime.backends.quantised.precision', lambda half, target: has)
    other = tmp_path / 'model'
    shutil.copytree(folder, other)
    facts = json.loads((other / FACTS).read_text())
    (other / FACTS).write_text(json.dumps({**facts, 'floats': allowed}))
    backend = QuantisedBackend(hub.load(other), find_quantised(str(other)))
    assert (backend.precision, backend.floats) == ('int8', floats)


@pytest.mark.parametrize('fast', [True, False])
def test_auto_uses_int8_where_the_processor_is_faster_with_it(folder, monkeypatch, fast):
    monkeypatch.setattr('sync_perception.runtime.backends.choice.int8_is_faster', lambda: fast)
    model = hub.load(folder)
    backend = choose_backend(model, name='openvino', folder=str(folder))
    assert backend.precision == ('int8' if fast else 'float32')


def test_what_cannot_run_in_int8_is_refused(folder, plain):
    with pytest.raises(BackendError, match="backend 'torch'"):
        Predictor(folder, 'cpu', backend='torch', precision='int8')
    with pytest.raises(BackendError, match="'int4'"):
        Predictor(folder, 'cpu', precision='int4')
    with pytest.raises(BackendError, match=f'{plain} has no {GRAPH}'):
        Predictor(plain, 'cpu', precision='int8')


def test_a_graph_of_another_network_is_refused_and_auto_says_so(
        folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr('sync_perception.runtime.backends.choice.int8_is_faster', lambda: True)
    other = tmp_path / 'other'
    shutil.copytree(folder, other)
    model = hub.load(other)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    hub.save(model, other)
    with pytest.raises(BackendError, match='another network'):
        Predictor(other, 'cpu', precision='int8')
    assert Predictor(other, 'cpu', backend='openvino').describe()['precision'] == 'float32'
    assert 'another network' in caplog.text


def test_a_loss_of_accuracy_writes_nothing(plain, monkeypatch):
    """No graph is within limits that demand more than the network gives."""
    nncf = pytest.importorskip('nncf', reason='sync_perception quantise needs NNCF')
    pytest.importorskip('open3d', reason='the street world needs Open3D')
    monkeypatch.setattr(nncf, 'quantize', lambda graph, *arguments, **options: graph)  # slow
    with pytest.raises(ValueError, match='accuracy.*synthetic'):
        quantise(plain, [QuantisationData('synthetic', '')], 2, 1,
                 AccuracyLimits(miou=-1.0, abs_rel=-10.0))
    assert sorted(path.name for path in plain.iterdir()) == ['config.json', 'model.safetensors']


def test_losses_by_hand():
    before = {'a': {'miou': 0.70, 'abs_rel': 0.150}, 'b': {'miou': 0.5}}
    after = {'a': {'miou': 0.695, 'abs_rel': 0.154}, 'b': {'miou': 0.52}}
    assert losses(before, after, AccuracyLimits()) == ''
    strict = AccuracyLimits(abs_rel=0.003)
    assert losses(before, after, strict).startswith('abs_rel on a goes from 0.15')
    assert losses(after, before, AccuracyLimits()).startswith('miou on b goes from 0.52')
