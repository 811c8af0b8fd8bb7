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

"""What the name of a model means."""

from __future__ import annotations

import pytest
from sync_perception.resources import default_model_folder, is_hub_id, model_source, shipped_models


@pytest.mark.parametrize('name, is_id', [
    ('owner/name', True), ('nvidia/segformer-b0', True), ('a/b.c_d', True),
    ('rooms', False), ('/models/rooms', False), ('./rooms', False), ('~/rooms', False),
    ('../rooms', False), ('$HOME/rooms', False), ('models/indoor/rooms', False), ('rooms/', False),
    ('models/rooms.onnx', False), ('models/rooms.pt2', False), ('a b/c', False), ('', False)])
def test_what_looks_like_a_path(name, is_id, tmp_path, monkeypatch):
    """Is every name but owner/name, and that, too, where the owner is a folder here."""
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(name) is is_id
    (tmp_path / 'owner').mkdir()
    assert not is_hub_id('owner/name')


def test_names_of_the_shipped_models(tmp_path, monkeypatch):
    """A shipped model's name is its folder wherever the program runs; other names stay."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'driving').mkdir()
    default = default_model_folder()
    assert shipped_models()['driving'] == default and (default / 'config.json').is_file()
    for name in (None, '', 'default', 'driving'):
        assert model_source(name) == default
    for name in ('./driving', 'owner/driving', tmp_path / 'driving'):
        assert model_source(name) == name
