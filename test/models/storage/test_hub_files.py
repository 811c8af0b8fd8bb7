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

"""Names of models: paths must exist, and a hub that is out of reach costs no time."""

from __future__ import annotations

import os
import time

from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
import pytest
from sync_perception.models import hub
from sync_perception.models.storage import hub_files
from sync_perception.models.storage.hub_files import find_file


@pytest.fixture
def asked(monkeypatch):
    """Make the hub answer with an exception, which the test appends; return what was asked."""
    urls, answers = [], []

    def look_up(url: str, timeout: float):
        assert timeout <= 5
        urls.append(url)
        if answers:
            raise answers[0]
    monkeypatch.setattr(hub_files, 'get_hf_file_metadata', look_up)
    return urls, answers


@pytest.mark.parametrize('name', ['rooms', '/models/rooms', 'models/rooms', './a/b', 'c/d.onnx'])
def test_a_path_that_does_not_exist_is_refused_without_the_hub(
        name, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'models').mkdir()
    with pytest.raises(FileNotFoundError, match=name):
        hub.load(name)
    assert asked[0] == []


def test_a_hub_out_of_reach_costs_one_look(asked, tmp_path, monkeypatch):
    """What was downloaded before is used; else the message names the model."""
    asked[1].append(OSError('Name or service not known'))

    def from_cache(model: str, name: str, local_files_only: bool):
        assert local_files_only
        if name == 'config.json':
            return str(tmp_path / name)
        raise LocalEntryNotFoundError('not here')
    monkeypatch.setattr(hub_files, 'hf_hub_download', from_cache)
    assert find_file('owner/name', 'config.json') == tmp_path / 'config.json'
    with pytest.raises(ConnectionError, match='owner/name'):
        find_file('owner/name', 'model.safetensors')
    assert len(asked[0]) == 2


def test_what_the_hub_lacks_is_told_apart(asked):
    """A model that is not there is an error, a file that it lacks is none."""
    asked[1].append(EntryNotFoundError('no such file'))
    assert find_file('owner/name', 'preprocessor_config.json') is None
    response = type('Response', (), {'headers': {}, 'request': None})()
    asked[1][0] = RepositoryNotFoundError('no such model', response=response)
    with pytest.raises(FileNotFoundError, match='owner/name'):
        find_file('owner/name', 'config.json')


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors'])
def test_a_pipe_instead_of_a_file_is_refused_at_once(name, small_model, tmp_path):
    """Reading it would wait for ever."""
    for other in ('config.json', 'model.safetensors'):
        if other != name:
            (tmp_path / other).write_bytes((small_model / other).read_bytes())
    os.mkfifo(tmp_path / name)
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match=name):
        hub.load(str(tmp_path))
    assert time.monotonic() - start < 5
