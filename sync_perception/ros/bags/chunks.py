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
Bag that is written in chunks, so that an interruption loses at most one chunk.

Each chunk is a file of the bag. Until the last one is written, the folder has a state file instead
of metadata.yaml, which lists the finished chunks and the settings. No program mistakes the folder
for a bag, and a resumed job knows where to continue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import shutil
from typing import Any

from sync_perception.files.bags import BAG_SUFFIXES, METADATA
from sync_perception.files.resume import check_same_settings
from sync_perception.files.whole_files import write_text
from sync_perception.ros.bags.bag_files import INFORMATION, STATE
from sync_perception.ros.bags.rosbag2 import BagWriter, clear_errors
import yaml


class ChunkedBag:
    """
    New bag, or interrupted bag to be continued.

    :param folder: folder of the bag.
    :param storage: mcap or sqlite3.
    :param settings: all settings that affect the output, in JSON types.
    :ivar chunks: metadata (`bag`) and the caller's `facts` of each finished chunk.
    :raises ValueError: if the folder exists and is not an interrupted bag with the same settings.
    """

    def __init__(self, folder: str | Path, storage: str, settings: dict[str, Any]):
        self.folder = Path(folder).expanduser()
        self.storage = storage
        self.settings = settings
        self.chunks: list[dict[str, Any]] = []
        if storage not in BAG_SUFFIXES:
            raise ValueError(
                f'storage: got {storage!r}, expected one of {", ".join(BAG_SUFFIXES)}')
        if is_begun(self.folder):
            self._resume()
        else:
            with clear_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._save()

    @property
    def state_file(self) -> Path:
        """Return the file that marks the bag as unfinished."""
        return self.folder / STATE

    def _resume(self) -> None:
        refuse_unless_resumable(self.folder, self.settings, complete=True)
        self.chunks = read_state(self.folder)['chunks']
        known = {STATE, *(chunk['bag']['relative_file_paths'][0] for chunk in self.chunks)}
        missing = known - {path.name for path in self.folder.iterdir()}
        if missing:
            raise ValueError(f'{self.folder} lacks {", ".join(sorted(missing))}, which was '
                             'written before: remove the folder and start again')
        for path in self.folder.iterdir():  # remains of an unfinished chunk
            if path.name not in known:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _save(self) -> None:
        text = json.dumps({'settings': self.settings, 'chunks': self.chunks}, indent=1)
        write_text(self.state_file, text)

    @contextmanager
    def chunk(self, facts: dict[str, Any]) -> Iterator[BagWriter]:
        """
        Write the next file of the bag; it is kept if the `with` block ends without error.

        :param facts: stored in `chunks`; the caller may fill it until the block ends.
        :raises OSError: if it cannot be written.
        """
        name = f'{self.folder.name}_{len(self.chunks)}'
        part = self.folder / name
        with BagWriter(part, self.storage) as writer:
            yield writer
        information = read_metadata(part)
        file = information['relative_file_paths'][0]
        with clear_errors(self.folder / file), (part / file).open('rb') as written:
            os.fsync(written.fileno())
            (part / file).rename(self.folder / file)
        self.chunks.append({'bag': information, 'facts': facts})
        self._save()
        shutil.rmtree(part)

    def finish(self, notes: dict[str, str]) -> None:
        """
        Complete the bag: write the metadata of all chunks and remove the state file.

        :param notes: custom data of the metadata.
        """
        information = join_metadata([chunk['bag'] for chunk in self.chunks])
        information['custom_data'] = notes
        text = yaml.safe_dump({INFORMATION: information}, sort_keys=False)
        write_text(self.folder / METADATA, text)
        self.state_file.unlink()


def is_begun(folder: Path) -> bool:
    """Return whether a folder exists with more than the remains of a state file."""
    return folder.exists() and (
        not folder.is_dir() or any(path.name != f'.{STATE}.part' for path in folder.iterdir()))


def read_state(folder: Path) -> dict[str, Any]:
    """
    Read the state of an interrupted bag: its `settings` and the finished `chunks`.

    :raises ValueError: if the folder is not an interrupted bag, or its state is malformed.
    """
    file = folder / STATE
    if not file.is_file():
        what = ('is already a finished bag' if (folder / METADATA).is_file()
                else 'already exists and is not an interrupted bag')
        raise ValueError(f'{folder} {what}, expected a new or empty folder, or an interrupted bag')
    try:
        state = json.loads(file.read_text())
        return {'settings': dict(state['settings']), 'chunks': list(state['chunks'])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{file} is damaged ({error}): remove {folder} and start '
                         'again') from error


def refuse_unless_resumable(folder: str | Path, settings: dict[str, Any] | None = None,
                            complete: bool = False) -> None:
    """
    Check that an existing folder can be resumed.

    :param settings: settings that are known so far.
    :param complete: whether these are all settings.
    :raises ValueError: if it is not an interrupted bag, or was started with other settings.
    """
    folder, settings = Path(folder).expanduser(), settings or {}
    if not is_begun(folder):
        return
    before = read_state(folder)['settings']
    known = {key: before.get(key) for key in (before if complete else settings)}
    check_same_settings(folder, known, settings, 'use the former settings to finish it, or write '
                                                 'to another folder')


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read the metadata of a bag."""
    return yaml.safe_load((folder / METADATA).read_text())[INFORMATION]


def join_metadata(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Return the metadata of a bag of several files from those of one-file bags with equal topics.

    :param parts: metadata in the order of the files, at least one.
    """
    files = [file for part in parts for file in part['files'] if file['message_count']]
    begin = min(start_of(file) for file in files)
    end = max(start_of(file) + file['duration']['nanoseconds'] for file in files)
    counts = Counter()
    for part in parts:
        for entry in part['topics_with_message_count']:
            counts[entry['topic_metadata']['name']] += entry['message_count']
    topics = [{**entry, 'message_count': counts[entry['topic_metadata']['name']]}
              for entry in parts[0]['topics_with_message_count']]
    return {
        **parts[0],
        'duration': {'nanoseconds': end - begin},
        'starting_time': {'nanoseconds_since_epoch': begin},
        'message_count': sum(file['message_count'] for file in files),
        'topics_with_message_count': topics,
        'relative_file_paths': [file['path'] for file in files],
        'files': files}


def start_of(file: dict[str, Any]) -> int:
    """Return the start time of a file of a bag in nanoseconds."""
    return file['starting_time']['nanoseconds_since_epoch']
