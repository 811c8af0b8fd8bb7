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

"""Whatever is interrupted while it is written: the former file stays whole."""

from __future__ import annotations

from pathlib import Path

from full_disk import full_disk
from mutations import FILES
import pytest
from safetensors.torch import load_file
from sync_perception.models import hub
from sync_perception.training.loop.checkpoints import WholeCheckpoints
import torch


def test_a_checkpoint_comes_back(tmp_path):
    path = tmp_path / 'new' / 'last.ckpt'
    WholeCheckpoints().save_checkpoint({'step': 3, 'weight': torch.arange(4)}, path)
    assert torch.load(path)['weight'].tolist() == [0, 1, 2, 3]
    assert [file.name for file in path.parent.iterdir()] == ['last.ckpt']


def test_an_interrupted_checkpoint_leaves_the_former(tmp_path, monkeypatch):
    path = tmp_path / 'last.ckpt'
    writer = WholeCheckpoints()
    writer.save_checkpoint({'step': 3}, path)

    def half(beside, content):
        with beside.open('wb') as file:
            file.write(content[:len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'write_bytes', half)
    with pytest.raises(KeyboardInterrupt):
        writer.save_checkpoint({'step': 6}, path)
    monkeypatch.undo()
    assert torch.load(path) == {'step': 3}
    writer.save_checkpoint({'step': 6}, path)
    assert torch.load(path) == {'step': 6}
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoints_elsewhere_are_refused(tmp_path):
    with pytest.raises(TypeError, match='local folders'):
        WholeCheckpoints().save_checkpoint({}, tmp_path / 'a.ckpt', storage_options={'anon': True})


@pytest.mark.parametrize('written', [0, 100])
def test_an_interrupted_export_leaves_the_former_model(
        small_model, tmp_path, monkeypatch, written):
    model = hub.load(small_model)
    hub.save(model, tmp_path)
    with torch.no_grad():
        next(model.parameters()).add_(1)

    def half(beside, content):
        with beside.open('wb') as file:
            file.write(content[:written])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'write_bytes', half)
    with pytest.raises(KeyboardInterrupt):
        hub.save(model, tmp_path)
    monkeypatch.undo()
    hub.load(tmp_path)
    before, kept = (load_file(path / 'model.safetensors') for path in (small_model, tmp_path))
    assert all(torch.equal(before[name], kept[name]) for name in before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['config.json', 'model.safetensors']


def test_a_full_disk_is_named(tmp_path):
    """One error with the file's name, and no half of a checkpoint."""
    path = tmp_path / 'last.ckpt'
    with full_disk(), pytest.raises(OSError, match='last.ckpt.*GB'):
        WholeCheckpoints().save_checkpoint({'a': torch.zeros(100_000)}, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', FILES)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, name):
    """No traceback of torch, no end without a word on an empty file."""
    path = tmp_path / 'broken.ckpt'
    path.write_bytes(FILES[name])
    with pytest.raises(ValueError, match='broken.ckpt') as refused:
        WholeCheckpoints().load_checkpoint(path, weights_only=False)
    assert '\n' not in str(refused.value)


def test_a_cut_or_foreign_checkpoint_is_refused_in_one_line(tmp_path):
    path = tmp_path / 'other.ckpt'
    torch.save({'state_dict': {}, 'weights': torch.zeros(1000)}, path)
    with pytest.raises(ValueError, match='other.ckpt.*lacks global_step'):
        WholeCheckpoints().load_checkpoint(path, weights_only=False)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match='other.ckpt.*damaged') as refused:
            WholeCheckpoints().load_checkpoint(path, weights_only=False)
        assert '\n' not in str(refused.value)
