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

"""Which paths are bags."""

from __future__ import annotations

import pytest
from sync_perception.files.bags import is_bag


@pytest.mark.parametrize(('name', 'expected'), [
    ('a.mcap', True), ('a.db3', True), ('a.mcap.zstd', True), ('a.tar.zstd', False),
    ('a.mp4', False)])
def test_names_of_files(name, expected):
    """A compressed file is a bag only if what it compresses is one."""
    assert is_bag(name) is expected


def test_a_folder_with_metadata_is_a_bag(tmp_path):
    """The name of the folder does not matter."""
    folder = tmp_path / 'drive.mcap'
    folder.mkdir()
    assert not is_bag(folder)
    (folder / 'metadata.yaml').touch()
    assert is_bag(folder)
