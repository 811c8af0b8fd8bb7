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

"""The folder of what can be computed again: where it is, and how large it gets."""

from __future__ import annotations

import os

from sync_perception.files import cache


def test_it_is_where_the_environment_says(own_cache):
    folder = cache.cache_folder('graphs')
    assert folder == own_cache / 'graphs' and folder.is_dir()


def test_where_it_cannot_be_written_it_is_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    monkeypatch.setattr(cache.tempfile, 'gettempdir', lambda: str(tmp_path))
    folder = cache.cache_folder('graphs')
    assert folder.is_dir() and folder.is_relative_to(tmp_path)


def test_the_oldest_go_first_with_all_their_files(tmp_path):
    for number in range(5):
        for ending in ('.xml', '.bin'):
            path = tmp_path / f'{number}{ending}'
            path.write_bytes(b'x' * 50)
            os.utime(path, (number, number))
    cache.forget_oldest(tmp_path, ('.xml', '.bin'), most_bytes=320)
    assert {path.stem for path in tmp_path.iterdir()} == {'2', '3', '4'}
    cache.forget_oldest(tmp_path, ('.xml', '.bin'), most_bytes=320, most=2)
    assert {path.name for path in tmp_path.iterdir()} == {'3.xml', '3.bin', '4.xml', '4.bin'}
    cache.forget_oldest(tmp_path, ('.xml', '.bin'), most_bytes=1)
    assert {path.stem for path in tmp_path.iterdir()} == {'4'}
