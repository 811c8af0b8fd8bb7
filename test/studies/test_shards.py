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


"""The part of some work that a process does."""

from __future__ import annotations

import pytest
from sync_perception.studies.shards import parse_shard


def test_shards_that_do_not_exist_are_refused():
    """Parts count from 1."""
    for wrong in ('0/2', '3/2', 'a', '1/0'):
        with pytest.raises(ValueError, match='expected i/n'):
            parse_shard(wrong)
    assert parse_shard('3/3') == (3, 3)


def test_torchrun_says_it_too(monkeypatch):
    """Its ranks count from 0; alone, a process does everything."""
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    assert parse_shard(None) == (1, 1)
    monkeypatch.setenv('RANK', '2')
    monkeypatch.setenv('WORLD_SIZE', '4')
    assert parse_shard(None) == (3, 4)
    assert parse_shard('1/2') == (1, 2)
