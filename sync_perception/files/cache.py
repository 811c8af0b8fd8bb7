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

"""Cache folder for results that can be recomputed."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import tempfile

from sync_perception.resources import PACKAGE


def cache_folder(*parts: str) -> Path:
    """
    Return a folder in the package's cache, created if missing.

    The cache is in XDG_CACHE_HOME, by default ~/.cache. If that is not writable, as in a container
    with a read-only home, it is in the folder of temporary files.

    :param parts: names of nested folders in the package's cache.
    """
    home = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    folder = Path(home, PACKAGE, *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    owner = os.getuid() if hasattr(os, 'getuid') else 'user'
    folder = Path(tempfile.gettempdir(), f'{PACKAGE}-{owner}', *parts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def forget_oldest(
        folder: Path, endings: Sequence[str], most_bytes: int, most: int = 32) -> None:
    """
    Delete the least recently used entries of a cache; the most recent one is always kept.

    :param endings: endings of the files of an entry; the time of the first file counts.
    :param most_bytes: largest size of the cache.
    :param most: largest number of entries.
    """
    found = []
    for path in folder.glob(f'*{endings[0]}'):
        files = [path.with_suffix(ending) for ending in endings]
        try:
            size = sum(file.stat().st_size for file in files)
            found.append((path.stat().st_mtime, size, files))
        except OSError:  # another process has deleted it
            continue
    total = 0
    for number, (_, size, files) in enumerate(sorted(found, reverse=True)):
        total += size
        if number and (number >= most or total > most_bytes):
            for file in files:
                file.unlink(missing_ok=True)
