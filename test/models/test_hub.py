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

"""A model is a folder: exact round trips, named mistakes, no pickles, any input size."""

from __future__ import annotations

from dataclasses import asdict
import json
import math
from pathlib import Path
import re

from full_disk import full_disk
import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError
import pytest
from safetensors import safe_open
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub
from sync_perception.models.config import ModelConfig
from sync_perception.models.storage import hub_files
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


def make_config(kind: str = 'unet', **changes) -> ModelConfig:
    """Describe a small synchronised model."""
    branch = {'kind': 'mobile_unet'} if kind == 'mobile_unet' else {
        'kind': 'unet', 'dim': 8, 'multipliers': [1, 2, 2]}
    return ModelConfig(**{
        'architecture': 'sync',
        'arguments': {'depth': branch, 'semantics': branch},
        'label_space': LabelSpace.load('camvid11').to_dict(),
        **changes})


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write a model whose couplings are awake."""
    model = build_model(make_config(focal_range=[300.0, 400.0], record={'steps': 7}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) / 10)
    hub.save(model, tmp_path, card='# A model')
    return tmp_path


def edit_config(folder: Path, **changes) -> None:
    """Change keys of config.json."""
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize('kind', ['unet', 'mobile_unet'])
def test_save_and_load_round_trip_exactly(tmp_path, kind):
    """Config, weights, buffers and outputs come back, every bit of them."""
    model = build_model(make_config(kind, input_pixels=1000, depth_range=[1.0, 90.0]))
    model.train()
    model(torch.randn(2, 3, 64, 64))  # moves the running statistics of batch norms
    model.eval()
    hub.save(model, tmp_path / 'new' / 'folder')
    loaded = hub.load(tmp_path / 'new' / 'folder')
    assert loaded.config == model.config
    assert loaded.labels.names == LabelSpace.load('camvid11').names
    assert not loaded.training
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    image = torch.randn(1, 3, 40, 72)
    with torch.no_grad():
        expected, got = model(image), loaded(image)
    assert torch.equal(expected.depth, got.depth)
    assert torch.equal(expected.logits, got.logits)


def test_the_folder_holds_config_weights_and_card(folder):
    """Nothing else is in it, and others' tools can read it."""
    assert sorted(p.name for p in folder.iterdir()) == [
        'README.md', 'config.json', 'model.safetensors']
    with safe_open(folder / 'model.safetensors', 'pt') as weights:
        assert 'network.depth.stem.weight' in weights.keys()
    assert hub.read_config(folder).record == {'steps': 7}


def test_a_full_disk_leaves_the_former_model(folder):
    """One error with the file's name; the folder loads as before."""
    former = (folder / 'model.safetensors').read_bytes()
    model = hub.load(folder)
    with full_disk(), pytest.raises(OSError, match=r'model\.safetensors.*GB'):
        hub.save(model, folder)
    assert (folder / 'model.safetensors').read_bytes() == former
    assert sorted(path.name for path in folder.iterdir()) == [
        'README.md', 'config.json', 'model.safetensors']


def test_a_second_save_keeps_the_card(folder):
    """Without a new text the README stays."""
    hub.save(hub.load(folder), folder)
    assert (folder / 'README.md').read_text() == '# A model'


def test_loading_prints_nothing(folder, capfd):
    """Standard output belongs to whoever asked for a model."""
    hub.load(folder)
    assert capfd.readouterr().out == ''


def test_an_unknown_config_key_is_refused_by_name(folder):
    """A misspelt key is an error, not a default."""
    edit_config(folder, input_pixel=5)
    with pytest.raises(ValueError, match="unknown keys.*'input_pixel'"):
        hub.load(folder)


def test_a_missing_config_key_is_refused_by_name(folder):
    """So is one that has no default."""
    config = json.loads((folder / 'config.json').read_text())
    del config['label_space']
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match="missing keys.*'label_space'"):
        hub.load(folder)


@pytest.mark.parametrize('changes, message', [
    ({'architecture': 'sink'}, "architecture.*sync.*'sink'"),
    ({'arguments': {'depth': {'kind': 'unet'}}}, 'semantics'),
    ({'arguments': {'depth': {'kind': 'anet'}, 'semantics': {'kind': 'unet'}}},
     "kind.*unet.*'anet'"),
    ({'arguments': {'depth': {'kind': 'unet', 'blok': 1}, 'semantics': {'kind': 'unet'}}}, 'blok'),
    ({'arguments': {'depth': {'kind': 'unet', 'block': 'x'}, 'semantics': {'kind': 'unet'}}},
     "unknown block 'x'"),
    ({'label_space': {'name': 'a', 'classes': [{'name': 'b', 'colour': [0, 0, 0]}]}}, 'colour'),
])
def test_unknown_names_inside_a_config_are_refused(folder, changes, message):
    """Architecture, branch, argument, block and label space: each by name."""
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=message):
        hub.load(folder)


def test_a_config_that_is_not_json_is_refused(folder):
    """The message names the file."""
    (folder / 'config.json').write_text('{')
    with pytest.raises(ValueError, match='config.json is not JSON'):
        hub.load(folder)


def test_weights_of_another_model_are_refused(folder, tmp_path):
    """Strictly: neither other shapes nor missing tensors pass."""
    config = hub.read_config(folder)
    config.arguments['depth']['dim'] = 16
    (folder / 'config.json').write_text(json.dumps(asdict(config)))
    with pytest.raises(ValueError, match='weights do not fit'):
        hub.load(folder)


def test_damaged_weights_are_refused(folder):
    """A file cut short is the user's problem, said in one line."""
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match='model.safetensors'):
        hub.load(folder)


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors'])
def test_a_folder_without_a_file_is_refused(folder, name):
    """What is missing is named."""
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        hub.load(folder)


@pytest.fixture
def no_pickle(monkeypatch):
    """Fail at any attempt to unpickle weights."""
    def refuse(*args, **kwargs):
        raise AssertionError('unpickled')
    monkeypatch.setattr(torch, 'load', refuse)


def test_pickles_are_never_loaded_from_a_folder(folder, no_pickle):
    """A pytorch_model.bin is not even looked at."""
    weights = hub.load(folder).state_dict()
    (folder / 'model.safetensors').unlink()
    torch.save(weights, folder / 'pytorch_model.bin')
    with pytest.raises(FileNotFoundError, match='model.safetensors'):
        hub.load(folder)


def serve_hub(monkeypatch, download) -> None:
    """Let a function stand for the hub: it returns the path of a model's file, or raises."""
    monkeypatch.setattr(hub_files, 'get_hf_file_metadata', lambda url, timeout: download(
        *re.fullmatch(r'https://.*/(.*/.*)/resolve/main/(.*)', url).groups()))
    for module in (hub_files, huggingface_hub.hub_mixin):
        monkeypatch.setattr(module, 'hf_hub_download', download)


def test_pickles_are_never_loaded_from_the_hub(folder, no_pickle, monkeypatch):
    """A repository that has only a pickle is refused, and its pickle is not fetched."""
    fetched = []

    def download(repo_id: str, filename: str, **options) -> str:
        fetched.append(filename)
        if filename != 'config.json':
            raise EntryNotFoundError(f'{repo_id} has no {filename}')
        return str(folder / filename)

    serve_hub(monkeypatch, download)
    with pytest.raises(FileNotFoundError, match='someone/model.*model.safetensors'):
        hub.load('someone/model')
    assert set(fetched) == {'config.json', 'model.safetensors'}


def test_a_hub_id_loads_like_a_folder(folder, monkeypatch):
    """What the hub's client returns is read by the same code."""
    def download(repo_id, filename, **options):
        return str(folder / filename)

    serve_hub(monkeypatch, download)
    ours, theirs = hub.load(folder).state_dict(), hub.load('someone/model').state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize('kind, factor', [('unet', 1), ('mobile_unet', 2)])
@pytest.mark.parametrize('size', [(37, 61), (64, 32), (5, 7), (1, 1), (33, 96)])
def test_any_input_size(kind, factor, size):
    """Maps come at the input's size, or at the whole fraction of it that the branch gives."""
    model = build_model(make_config(kind)).eval()
    with torch.no_grad():
        output = model(torch.randn(2, 3, *size))
    expected = tuple(math.ceil(side / factor) for side in size)
    assert output.depth.shape == (2, 1, *expected)
    assert output.logits.shape == (2, 11, *expected)
    assert torch.isfinite(output.depth).all()
    assert torch.isfinite(output.logits).all()


def test_padding_repeats_the_border():
    """An odd size gives what the image, continued by its last row and column, gives."""
    model = build_model(make_config()).eval()
    image = torch.randn(1, 3, 30, 41)
    rows = torch.arange(32).clamp(max=29)
    columns = torch.arange(44).clamp(max=40)
    with torch.no_grad():
        output, whole = model(image), model(image[:, :, rows][:, :, :, columns])
    torch.testing.assert_close(output.depth, whole.depth[..., :30, :41])
    torch.testing.assert_close(output.logits, whole.logits[..., :30, :41])
