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

"""Semantic map: frames with known poses become one labelled, metric map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.mapping.semantic_map.blocks import Blocks, unpack
from sync_perception.mapping.semantic_map.observation import observe
from sync_perception.mapping.semantic_map.settings import check_classes, MapSettings, TILE
from sync_perception.mapping.semantic_map.storage import (
    DESCRIPTION,
    map_description,
    read_map_description,
    tile_keys,
    TileFiles,
)
from sync_perception.mapping.semantic_map.visibility import blocks_in_view, surface_blocks
from sync_perception.mapping.semantic_map.voxel_fusion import Fusion
from sync_perception.types import Frame, Prediction

Tile = tuple[np.ndarray, dict[str, np.ndarray]]


class SemanticMap:
    """
    Voxel map of surfaces with colour and labels, which grows where something is seen.

    Memory is bounded: blocks farther from the camera than the settings' radius are written to the
    map's folder, and read back when the camera returns. The files are committed by `commit`; until
    then the folder holds the map as last committed.

    :param space: label space of the predictions.
    :param folder: folder for the map's files; None to forget distant blocks.
    :param device: torch device of the voxels.
    :raises ValueError: if the folder contains a map already, or the label space is too large.
    :ivar frames: number of fused frames.
    :ivar changed: tiles changed by frames since the caller has last cleared it.
    """

    def __init__(self, space: LabelSpace, settings: MapSettings | None = None,
                 folder: str | Path | None = None, device: str = 'cpu'):
        check_classes(len(space))
        if folder is not None and (Path(folder) / DESCRIPTION).exists():
            raise ValueError(
                f'{folder} contains a map already, expected another folder, or `SemanticMap.load`')
        self.space, self.settings = space, settings or MapSettings()
        self.blocks = Blocks(device)
        self.files = None if folder is None else TileFiles(Path(folder))
        self.dirty: set[int] = set()
        self.changed: set[int] = set()
        self.paged_at: np.ndarray | None = None
        self.frames = 0

    @classmethod
    def load(cls, folder: str | Path, device: str = 'cpu') -> tuple[SemanticMap, dict[str, Any]]:
        """
        Open a stored map, to continue it or to read it.

        :return: the map, and the state that was given to `commit`.
        :raises FileNotFoundError: if there is no map.
        :raises ValueError: if it is malformed.
        """
        settings, space, state, files = read_map_description(Path(folder))
        stored = cls(space, settings, None, device)
        stored.files = TileFiles(Path(folder), files)
        stored.frames = int(state.get('frames', 0))
        return stored, state

    def integrate(self, frame: Frame, prediction: Prediction, world_T_camera: np.ndarray) -> None:
        """
        Fuse a frame.

        :param prediction: depth, and if there are any, labels, confidence and uncertainty.
        :param world_T_camera: float64 (4, 4), the camera's pose, optical frame, metres.
        :raises ValueError: if the pose is not finite, or the maps are not those of the frame.
        """
        if world_T_camera.shape != (4, 4) or not np.isfinite(world_T_camera).all():
            raise ValueError(f'a pose must be a finite (4, 4) matrix, got {world_T_camera}')
        seen = observe(frame, prediction, self.space, self.settings)
        place = world_T_camera[:3, 3]
        self._page(place)
        new = self._within_reach(surface_blocks(seen, world_T_camera, self.settings), place)
        self.blocks.add(new.tolist())
        known = self._within_reach(self.blocks.keys(), place)
        camera_T_world = np.linalg.inv(world_T_camera)
        in_view = blocks_in_view(
            known, self.blocks.has_surface[self.blocks.find(known)], seen, camera_T_world,
            self.settings)
        keys = np.union1d(known[in_view], new)
        Fusion(self.blocks, seen, camera_T_world, self.settings).update(keys)
        empty = keys[~self.blocks.has_surface[self.blocks.find(keys)]]
        self.blocks.remove(np.setdiff1d(empty, new).tolist())
        touched = np.unique(tile_keys(keys)).tolist()
        self.dirty.update(touched)
        self.changed.update(touched)
        self.frames += 1

    def tiles(self) -> list[int]:
        """Return the keys of all tiles, in memory or in files, sorted."""
        found = set(np.unique(tile_keys(self.blocks.keys())).tolist())
        return sorted(found | (set(self.files.current) - self.dirty if self.files else set()))

    def read_tile(self, tile: int) -> Tile:
        """Return the keys of a tile's blocks, sorted, and their properties."""
        keys = self.blocks.keys()
        keys = keys[tile_keys(keys) == tile]
        if not len(keys) and self.files and tile in self.files.current and tile not in self.dirty:
            return self.files.read(tile)
        return keys, self.blocks.read(keys)

    def commit(self, state: dict[str, Any] | None = None) -> None:
        """
        Store the map in its folder; a crash at any time leaves the former or the new map.

        :param state: plain values to be stored with it, such as the number of the next frame.
        :raises ValueError: if the map has no folder.
        :raises OSError: if the disk is full.
        """
        if self.files is None:
            raise ValueError('this map has no folder, expected one to store its files in')
        for tile in sorted(self.dirty):
            self._write(tile)
        self.files.commit(map_description(
            self.settings, self.space, {**(state or {}), 'frames': self.frames}))

    def _within_reach(self, keys: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the blocks whose tiles are certainly in memory."""
        centres = (unpack(keys) + 0.5) * self.settings.block
        distance = np.linalg.norm(centres - place, axis=1)
        return keys[distance <= self.settings.radius]

    def _page(self, place: np.ndarray) -> None:
        """Write tiles that are out of reach, and read those that come into reach."""
        slack = self.settings.block
        if self.paged_at is not None and np.linalg.norm(place - self.paged_at) < slack:
            return
        self.paged_at = place.copy()
        limit = self.settings.radius + 2 * slack
        keys = self.blocks.keys()
        own = tile_keys(keys)
        present = np.unique(own)
        for tile in present[self._distances(present, place) > 1.1 * limit].tolist():
            if self.files is not None and tile in self.dirty:
                self._write(tile)
            self.dirty.discard(tile)
            self.blocks.remove(keys[own == tile].tolist())
        if self.files is None:
            return
        absent = np.array(sorted(set(self.files.current) - set(present.tolist()) - self.dirty),
                          np.int64)
        for tile in absent[self._distances(absent, place) <= limit].tolist():
            self.blocks.write(*self.files.read(tile))

    def _distances(self, tiles: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the distance of each tile's nearest point from a place, metres."""
        low = unpack(tiles) * TILE * self.settings.block
        outside = np.maximum(low - place, place - low - self.settings.tile)
        return np.linalg.norm(np.maximum(outside, 0), axis=1)

    def _write(self, tile: int) -> None:
        keys = self.blocks.keys()
        keys = keys[tile_keys(keys) == tile]
        if len(keys):
            self.files.write(tile, keys, self.blocks.read(keys))
        else:
            self.files.remove(tile)
        self.dirty.discard(tile)
