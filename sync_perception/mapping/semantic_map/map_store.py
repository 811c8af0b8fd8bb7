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

"""The node's map: begun or continued, saved, loaded and cleared."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
import time

from sync_perception.files.locks import output_lock
from sync_perception.files.resume import check_same_settings
from sync_perception.labels import LabelSpace
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.storage import (
    DESCRIPTION,
    read_map_description,
    TileFiles,
)
from sync_perception.types import MalformedInput


class MapStore:
    """
    Map that is begun with the first frame, or continued from a folder.

    No other process can write to the folder until `close`.

    :param settings: settings of a new map; a stored one must have the same.
    :param folder: folder of the map; None for a map in memory only.
    :param device: torch device of the voxels.
    :ivar map: the map; None until there is a frame or a stored map.
    :ivar saved_at: time of the last save, seconds of the monotonic clock.
    :raises ValueError: if the folder is in use, or holds a map with other settings.
    """

    def __init__(self, settings: MapSettings, folder: Path | None, device: str):
        self.settings, self.folder, self.device = settings, folder, device
        self.map: SemanticMap | None = None
        self.saved_frames = 0
        self.saved_at = time.monotonic()
        self.lock = ExitStack()
        if folder is not None:
            self.lock.enter_context(output_lock(folder))
            try:
                if self.is_stored:
                    self.load()
            except BaseException:
                self.lock.close()
                raise

    @property
    def is_stored(self) -> bool:
        """Return whether the folder holds a map."""
        return self.folder is not None and (self.folder / DESCRIPTION).is_file()

    @property
    def unsaved_frames(self) -> int:
        """Return the number of frames since the last save."""
        return 0 if self.map is None else self.map.frames - self.saved_frames

    def for_labels(self, space: LabelSpace) -> SemanticMap:
        """
        Return the map for frames with these labels; it is begun if there is none.

        :raises MalformedInput: if the map has other classes.
        """
        if self.map is None:
            self.map = SemanticMap(space, self.settings, None, self.device)
            if self.folder is not None:  # a map that was cleared stays there until the next save
                files = read_map_description(self.folder)[3] if self.is_stored else None
                self.map.files = TileFiles(self.folder, files)
                self.map.files.current = {}
        elif self.map.space.names != space.names:
            raise MalformedInput(
                'label space', f'the frames have the label space {space.name!r:.60} with '
                f'{len(space)} classes, expected that of the map, {self.map.space.name!r:.60} '
                f'with {len(self.map.space)}: call the service ~/clear to begin a new map')
        return self.map

    def save(self) -> str:
        """
        Store the map in its folder.

        :return: what was done, for the user.
        :raises ValueError: if there is no folder or no map.
        :raises OSError: if the disk is full; the map in memory is unchanged.
        """
        if self.folder is None:
            raise ValueError('map.folder: got none, expected a folder for the map')
        if self.map is None:
            raise ValueError('there is no map yet')
        self.map.commit()
        self.saved_frames, self.saved_at = self.map.frames, time.monotonic()
        return f'saved the map of {self.map.frames} frames in {self.folder}'

    def load(self) -> str:
        """
        Return to the map as last saved.

        :return: what was done, for the user.
        :raises ValueError: if there is none, or it has other settings.
        """
        if not self.is_stored:
            raise ValueError(f'there is no map in {self.folder}' if self.folder else
                             'map.folder: got none, expected the folder of a map')
        stored, _ = SemanticMap.load(self.folder, self.device)
        check_same_settings(
            self.folder, asdict(stored.settings),
            {**asdict(self.settings), 'up': list(self.settings.up)},
            'set the parameters map.* to these values, or name another folder')
        self.map, self.saved_frames = stored, stored.frames
        return f'loaded the map of {stored.frames} frames from {self.folder}'

    def clear(self) -> str:
        """
        Begin a new map; a saved one stays in the folder until the next save.

        :return: what was done, for the user.
        """
        frames = 0 if self.map is None else self.map.frames
        self.map = None
        self.saved_frames, self.saved_at = 0, time.monotonic()
        return f'cleared the map of {frames} frames'

    def close(self) -> None:
        """Release the folder."""
        self.lock.close()
