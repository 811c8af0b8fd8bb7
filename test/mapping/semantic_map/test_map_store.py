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

"""The node's map in its folder: begun, saved, loaded, continued, cleared, and kept from others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rendered_room import around, Room, SPACE
from sync_perception.labels import LabelSpace
from sync_perception.mapping.semantic_map.map_store import MapStore
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.types import MalformedInput

SETTINGS = MapSettings(voxel=0.2, max_range=8, radius=10, relative_sigma=0.01)
POSES = around(6)


def fuse(store: MapStore, *poses) -> None:
    """Add frames of the room."""
    for pose in poses:
        store.for_labels(SPACE).integrate(*Room().render(pose), pose)


@pytest.fixture
def store(tmp_path):
    """Return a map of two frames in a folder."""
    made = MapStore(SETTINGS, tmp_path / 'map', 'cpu')
    fuse(made, *POSES[:2])
    yield made
    made.close()


def test_loading_returns_to_the_saved_map(store):
    """Frames since then are counted as unsaved, and are gone after loading."""
    assert store.unsaved_frames == 2
    assert '2 frames' in store.save()
    blocks = len(store.map.blocks)
    fuse(store, POSES[2])
    assert store.unsaved_frames == 1
    assert len(store.map.blocks) > blocks
    assert '2 frames' in store.load()
    assert store.unsaved_frames == 0
    assert store.map.frames == 2


def test_the_next_process_continues_the_map(store):
    """The folder is refused while another process has it, and with other settings."""
    store.save()
    with pytest.raises(ValueError, match='map'):
        MapStore(SETTINGS, store.folder, 'cpu')
    store.close()
    for _ in range(2):  # a refused folder is released
        with pytest.raises(ValueError, match='voxel'):
            MapStore(replace(SETTINGS, voxel=0.3), store.folder, 'cpu')
    following = MapStore(SETTINGS, store.folder, 'cpu')
    assert following.map.frames == 2
    following.close()


def test_a_saved_map_outlasts_clearing_until_the_next_save(store):
    """A new map can be begun, with other labels, and the old one can still be loaded."""
    store.save()
    assert '2 frames' in store.clear()
    assert store.map is None and store.is_stored
    store.load()
    with pytest.raises(MalformedInput, match='clear'):
        store.for_labels(LabelSpace.load('nyud40'))
    store.clear()
    fuse(store, POSES[3])
    store.save()
    store.load()
    assert store.map.frames == 1


def test_a_map_in_memory_only_cannot_be_saved_or_loaded():
    """The messages name the parameter that gives it a folder."""
    store = MapStore(SETTINGS, None, 'cpu')
    fuse(store, POSES[0])
    for action in (store.save, store.load):
        with pytest.raises(ValueError, match='map.folder'):
            action()
    assert store.map.frames == 1
