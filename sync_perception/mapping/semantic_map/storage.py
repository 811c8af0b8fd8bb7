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

"""
Storage of a map: one file for each tile of blocks, and a description that names the files.

Tiles are written to new files. The description is replaced atomically, so that it always names a
complete set of files, also after the process was killed.
"""

from __future__ import annotations

from dataclasses import asdict
import io
from pathlib import Path
import re
from typing import Any
import zlib

import numpy as np
from sync_perception.files.checks import mapping
from sync_perception.files.whole_files import read_json, write_bytes, write_json
from sync_perception.labels import LabelSpace
from sync_perception.mapping.semantic_map.blocks import pack, PROPERTIES, unpack, VOXELS
from sync_perception.mapping.semantic_map.settings import MapSettings, TILE

DESCRIPTION = 'map.json'
TILES = 'tiles'
FORMAT = 1
TILE_NAME = re.compile(r'(-?\d+)_(-?\d+)_(-?\d+)\.(\d+)\.tile')
FAST = 1  # zlib level


def tile_keys(keys: np.ndarray) -> np.ndarray:
    """Return the key of the tile that contains each block."""
    return pack(unpack(keys) // TILE)


class TileFiles:
    """
    The files of a map's folder.

    :param folder: the map's folder.
    :param files: file name by tile, as of the last commit.
    :ivar committed: files of the last commit.
    :ivar current: the newest file of each tile.
    :ivar number: number of new files, greater than that of all committed ones.
    """

    def __init__(self, folder: Path, files: dict[int, str] | None = None):
        self.folder = folder
        self.committed = dict(files or {})
        self.current = dict(self.committed)
        numbers = [int(TILE_NAME.fullmatch(name)[4]) for name in self.committed.values()]
        self.number = max(numbers, default=0) + 1
        self._remove_others()

    def write(self, tile: int, keys: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Write the blocks of a tile to a new file."""
        x, y, z = unpack(np.array([tile]))[0]
        name = f'{x}_{y}_{z}.{self.number}.tile'
        write_bytes(self.folder / TILES / name, encode_blocks(keys, values))
        self.current[tile] = name

    def read(self, tile: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """
        Return the blocks of a tile, as last written.

        :raises ValueError: if the file is damaged.
        """
        path = self.folder / TILES / self.current[tile]
        try:
            return decode_blocks(path.read_bytes())
        except (ValueError, KeyError, zlib.error, EOFError) as error:
            raise ValueError(f'{path} is not a tile of a map: {error}') from error

    def remove(self, tile: int) -> None:
        """Forget a tile, which no longer has a block."""
        self.current.pop(tile, None)

    def commit(self, description: dict[str, Any]) -> None:
        """Make the current files those of the map, and remove the others."""
        files = dict(sorted((str(tile), name) for tile, name in self.current.items()))
        write_json(self.folder / DESCRIPTION, {**description, 'tiles': files})
        self.committed = dict(self.current)
        self.number += 1
        self._remove_others()

    def _remove_others(self) -> None:
        kept = set(self.committed.values())
        for path in (self.folder / TILES).glob('*'):
            if path.name not in kept and (
                    TILE_NAME.fullmatch(path.name) or path.name.endswith('.part')):
                path.unlink(missing_ok=True)


def map_description(
        settings: MapSettings, space: LabelSpace, state: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a map, except its tiles."""
    return {'format': FORMAT, 'settings': {**asdict(settings), 'up': list(settings.up)},
            'label_space': space.to_dict(), 'state': state}


def read_map_description(
        folder: Path) -> tuple[MapSettings, LabelSpace, dict[str, Any], dict[int, str]]:
    """
    Read the description of a map.

    :return: settings, label space, the caller's state, and the files by tile.
    :raises FileNotFoundError: if the folder has none.
    :raises ValueError: if it is malformed.
    """
    path = folder / DESCRIPTION
    content = read_json(path)
    mapping(content, str(path))
    if content.get('format') != FORMAT:
        raise ValueError(f'{path}: expected format {FORMAT}, got {content.get("format")!r}')
    for name in ('settings', 'label_space', 'state', 'tiles'):
        mapping(content.get(name), f'{path}: {name}')
    try:
        settings = MapSettings(**content['settings'])
        files = {int(key): name for key, name in content['tiles'].items()}
    except TypeError as error:
        raise ValueError(f'{path}: {error}') from error
    for name in files.values():
        if not isinstance(name, str) or not TILE_NAME.fullmatch(name):
            raise ValueError(f'{path}: expected names such as 0_0_0.1.tile, got {name!r}')
    space = LabelSpace.from_dict(content['label_space'], f'{path}: label_space')
    return settings, space, content['state'], files


def encode_blocks(keys: np.ndarray, values: dict[str, np.ndarray]) -> bytes:
    """Return blocks as bytes: only the voxels that were seen, compressed."""
    seen = values['weight'] > 0
    arrays = {'keys': keys, 'seen': np.packbits(seen, axis=1)}
    arrays.update((name, array[seen]) for name, array in values.items())
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return zlib.compress(content.getvalue(), FAST)


def decode_blocks(content: bytes) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the blocks that `encode_blocks` has written."""
    with np.load(io.BytesIO(zlib.decompress(content)), allow_pickle=False) as arrays:
        keys = arrays['keys']
        seen = np.unpackbits(arrays['seen'], axis=1, count=VOXELS).astype(bool)
        values = {}
        for name, (_, shape) in PROPERTIES.items():
            stored = arrays[name]
            values[name] = np.zeros((len(keys), VOXELS, *shape), stored.dtype)
            values[name][seen] = stored
    return keys, values
