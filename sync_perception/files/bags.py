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

"""Names of the files of rosbag2 bags."""

from __future__ import annotations

from pathlib import Path

BAG_SUFFIXES = {'mcap': '.mcap', 'sqlite3': '.db3'}
"""Suffix of a bag's file by its storage plugin."""
ZSTD = '.zstd'
"""Additional suffix of a file that is compressed as a whole."""
METADATA = 'metadata.yaml'
"""File in the folder of a bag."""


def has_bag_suffix(path: Path) -> bool:
    """Return whether a file has the name of a bag's file."""
    suffix = Path(path.stem).suffix if path.suffix == ZSTD else path.suffix
    return suffix in BAG_SUFFIXES.values()


def is_bag(path: str | Path) -> bool:
    """Return whether a path is a rosbag2 bag: one of its files, or a folder with its metadata."""
    path = Path(path)
    return (path / METADATA).is_file() or (has_bag_suffix(path) and not path.is_dir())
