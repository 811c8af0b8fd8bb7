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


"""Malformed model folders: each is refused in one line, or serves frames all the same."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
import sys

from loaded_models import predictor_of
from mutations import FILES, mutations
import pytest
from safetensors.torch import load_file, save_file
from sync_perception import cli
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub
from sync_perception.models.config import ModelConfig
from sync_perception.runtime import predictor
from sync_perception.runtime.backends import EagerBackend
import torch


@pytest.fixture
def folder(small_model, tmp_path) -> Path:
    """Copy a right model."""
    return shutil.copytree(small_model, tmp_path / 'model')


def refusal(folder: Path) -> str:
    """Load a model; return the message of its refusal, or nothing if it is served."""
    try:
        hub.load(folder)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return ''


def test_every_malformed_config_is_refused_in_one_line(tmp_path):
    """No TypeError and the like: the line names the file and the key."""
    branch = {'kind': 'unet', 'dim': 8, 'multipliers': [1]}
    model = build_model(ModelConfig(
        'sync', {'depth': branch, 'semantics': branch}, LabelSpace.load('kitti6').to_dict()))
    hub.save(model, tmp_path)
    path = tmp_path / 'config.json'
    right = json.loads(path.read_text())
    accepted = set()
    for name, config in mutations(right):
        path.write_text(json.dumps(config))
        key = name.partition(':')[0].partition('.')[0]
        read = hub.load if key in ('all', 'arguments', 'architecture') else hub.read_config
        try:
            read(tmp_path)
        except (ValueError, FileNotFoundError) as error:
            message = str(error)
            assert '\n' not in message and str(tmp_path) in message, (name, message)
            assert len(message) < 2000, (name, len(message))
            if key in right and not name.endswith('missing'):
                assert key in message or 'weights do not fit' in message, (name, message)
        else:
            accepted.add(key)
    assert accepted == set(right) - {'architecture', 'arguments'}


@pytest.mark.parametrize('name', FILES)
def test_a_config_that_is_none_is_refused_in_one_line(folder, name):
    """The line names the file."""
    (folder / 'config.json').write_bytes(FILES[name])
    message = refusal(folder)
    assert str(folder) in message and '\n' not in message


@pytest.mark.parametrize('name', FILES)
def test_weights_that_are_none_are_refused_in_one_line(folder, name):
    """The line names the folder."""
    (folder / 'model.safetensors').write_bytes(FILES[name])
    message = refusal(folder)
    assert str(folder) in message and 'model.safetensors' in message and '\n' not in message


@pytest.mark.parametrize('changes', [
    {'depth_range': [80.0, 0.5]}, {'depth_range': [float('nan'), 80.0]}, {'depth_range': [5, 5]},
    {'canonical_focal': -1}, {'canonical_focal': float('nan')}, {'std': [0.5, 0, 0.5]},
    {'std': [float('nan')] * 3}, {'mean': [0.5, 0.5]}, {'input_pixels': 0},
    {'input_pixels': 1e300}, {'input_pixels': True}, {'input_size': [0, 640]},
    {'input_pixels': 2 ** 25}, {'input_size': [16384, 16384]}, {'input_size': [32, 8192]},
    {'input_multiple': 0},
    {'focal_range': [400, 300]}, {'scale_from': ['guess']}, {'metric': 1}], ids=str)
def test_nonsense_is_refused_by_its_key(folder, changes):
    """The line says which key, what was expected and what was got."""
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    [key] = changes
    with pytest.raises(ValueError, match=f'config.json: {key}'):
        predictor.Predictor(folder, device='cpu')


def spoil_weights(folder: Path, value: float) -> str:
    """Put a number into one of the weights; return the tensor's name."""
    path = folder / 'model.safetensors'
    weights = load_file(path)
    name = next(name for name in weights if 'semantics' in name and name.endswith('.weight'))
    weights[name].view(-1)[-1] = value
    save_file(weights, path)
    return name


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_no_numbers_are_refused(folder, value):
    """The line names the tensor; nothing is served."""
    name = spoil_weights(folder, value)
    with pytest.raises(ValueError, match=f'{name}.*finite'):
        predictor.Predictor(folder, device='cpu')


def test_weights_that_overflow_are_refused(folder, monkeypatch):
    """Finite weights whose maps are not: the map is named."""
    monkeypatch.setattr(
        predictor, 'choose_backend', lambda model, half, *names: EagerBackend(model, half))
    path = folder / 'model.safetensors'
    save_file({name: weight * 1e30 if weight.is_floating_point() else weight
               for name, weight in load_file(path).items()}, path)
    with pytest.raises(ValueError, match='(depth|logits|weight).*finite'):
        predictor.Predictor(folder, device='cpu')


def test_absurd_sizes_take_no_memory(folder):
    """A config of a network of terabytes is refused by its shapes, before it is built."""
    path = folder / 'config.json'
    config = json.loads(path.read_text())
    config['arguments']['depth']['widths'] = [10 ** 6] * 5
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match='weights.*shape'):
        hub.load(folder)


def test_maps_of_another_shape_are_refused(small_model, monkeypatch):
    """Three channels of depth mean nothing."""
    monkeypatch.setattr(
        predictor, 'choose_backend', lambda model, half, *names: EagerBackend(model, half))
    model = hub.load(small_model)
    last = [module for module in model.network.depth.modules()
            if isinstance(module, torch.nn.Conv2d)][-1]
    last.weight = torch.nn.Parameter(last.weight.repeat(3, 1, 1, 1))
    last.bias = torch.nn.Parameter(last.bias.repeat(3))
    model.network.channels_of = {'depth': 3}
    with pytest.raises(ValueError, match=r'depth:.*\(1, 1,.*got \(1, 3,'):
        predictor_of(model)


@pytest.mark.parametrize('spoilt', ['depth_range', 'weights'])
@pytest.mark.parametrize('verb', ['predict', 'export', 'evaluate'])
def test_verbs_end_with_one_line(folder, tmp_path, monkeypatch, capsys, verb, spoilt):
    """No traceback, status 1."""
    if spoilt == 'weights':
        spoil_weights(folder, float('nan'))
    else:
        path = folder / 'config.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), 'depth_range': 'far'}))
    picture = tmp_path / 'image.png'
    picture.write_bytes(b'')
    words = {
        'predict': [str(picture), '--out', str(tmp_path)],
        'export': ['--out', str(tmp_path / 'model.onnx')],
        'evaluate': ['--dataset', 'synthetic']}[verb]
    monkeypatch.setattr(
        sys, 'argv', ['sync_perception', verb, *words, '--model', str(folder)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    message = capsys.readouterr().err
    assert left.value.code == cli.FAILURE == 1
    assert message.count('\n') == 1 and str(folder) in message


def write_graph(path: Path, config: dict, **changes: str) -> None:
    """Write an ONNX file with a config in it, whose graph may break the contract."""
    import onnx
    from onnx import helper
    names = {'image': 'image', 'depth': 'depth', 'kind': 'ReduceMean', **changes}
    axes = helper.make_tensor('axes', onnx.TensorProto.INT64, [1], [1])
    nodes = [helper.make_node('Exp', [names['image']], ['positive'])]
    if names['kind'] == 'Identity':
        nodes.append(helper.make_node('Identity', ['positive'], [names['depth']]))
    else:
        nodes.append(helper.make_node('ReduceMean', ['positive', 'axes'], [names['depth']]))
    if names['kind'] == 'Log':
        nodes[0] = helper.make_node('Log', [names['image']], ['positive'])
    size = config['input_size']
    graph = helper.make_graph(
        nodes, 'graph', [helper.make_tensor_value_info(names['image'], 1, ['batch', 3, *size])],
        [helper.make_tensor_value_info(names['depth'], 1, ['batch', 'channels', *size])], [axes])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = 'sync_perception.json', json.dumps(config)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(('changes', 'message'), [
    ({}, ''), ({'kind': 'Identity'}, r'depth: expected the shape.*\(1, 3,'),
    ({'kind': 'Log'}, 'depth.*finite'), ({'depth': 'distance'}, 'outputs.*distance'),
    ({'image': 'picture'}, 'image.*picture')])
def test_graphs_that_break_the_contract_are_refused(small_model, tmp_path, changes, message):
    """Depth of three channels, NaN, other names: one line, and the right one is served."""
    pytest.importorskip('onnxruntime')
    path = tmp_path / 'model.onnx'
    config = json.loads((small_model / 'config.json').read_text())
    write_graph(path, {**config, 'input_size': [32, 64]}, **changes)
    if not message:
        assert predictor.Predictor(path, device='cpu').available == {'depth'}
        return
    with pytest.raises(ValueError, match=message) as refused:
        predictor.Predictor(path, device='cpu')
    assert str(path) in str(refused.value) and '\n' not in str(refused.value)


def test_a_label_space_without_a_finite_class_is_refused(folder):
    """Depth is NaN wherever the class is at an infinite distance: it would be NaN everywhere."""
    path = folder / 'config.json'
    config = json.loads(path.read_text())
    for entry in config['label_space']['classes']:
        entry['infinite'] = True
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match='label_space: expected .*finite'):
        predictor.Predictor(folder, device='cpu')
