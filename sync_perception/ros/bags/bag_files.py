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

"""Files of a rosbag2 bag: their metadata, and reading single files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
import shutil
import sys
from tempfile import TemporaryDirectory
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from sync_perception.files.bags import BAG_SUFFIXES, has_bag_suffix, METADATA, ZSTD
from sync_perception.ros.bags.cut_mcap import CutFile
import yaml

if sys.version_info >= (3, 14):
    from compression import zstd
else:  # also required by rosbags
    from backports import zstd

STATE = 'unfinished.json'  # in the folder of an unfinished bag
INFORMATION = 'rosbag2_bagfile_information'


@dataclass(frozen=True)
class Contents:
    """
    Metadata of a bag.

    :param files: the bag's files in chronological order.
    :param counts: number of messages by file name, if the metadata contain it.
    :param topics: type hash ('' if unknown) by name and type of the topic.
    :param compressed_messages: whether each message is compressed separately.
    """

    files: list[Path]
    counts: dict[str, int]
    topics: dict[tuple[str, str], str]
    compressed_messages: bool = False

    @classmethod
    def of(cls, path: Path) -> Contents:
        """
        Return the contents of a bag.

        :param path: the bag's folder, or one of its files.
        :raises ValueError: if it is not a bag, or its metadata are malformed.
        """
        _check_is_bag(path)
        if path.is_file():
            return cls([path], {}, {})
        metadata = path / METADATA
        try:
            information = yaml.safe_load(metadata.read_text())[INFORMATION]
            storage = information.get('storage_identifier')
            if storage and storage not in BAG_SUFFIXES:  # `ros2 bag reindex` leaves it empty
                raise ValueError(f'it is stored by the plugin {storage!r}, expected one of '
                                 f'{", ".join(BAG_SUFFIXES)}')
            contents = cls._parse(path, information)
        except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError,
                AttributeError) as error:
            problem = f'it has no {error}' if isinstance(error, KeyError) else error
            raise ValueError(
                f'{metadata} is not the metadata of a rosbag2 bag: {problem}') from error
        if not contents.files:
            raise ValueError(f'{metadata} names no file, expected at least one')
        return contents

    @classmethod
    def _parse(cls, folder: Path, information: dict[str, Any]) -> Contents:
        topics = [entry['topic_metadata'] for entry in information['topics_with_message_count']]
        return cls(
            # before version 4, the metadata contain the folder, too
            files=[folder / PurePath(name).name for name in information['relative_file_paths']],
            counts={PurePath(entry['path']).name: int(entry['message_count'])
                    for entry in information.get('files') or ()},
            topics={(topic['name'], topic['type']): topic.get('type_description_hash') or ''
                    for topic in topics},
            compressed_messages=(
                str(information.get('compression_mode') or '').lower() == 'message'))


class BagFile:
    """
    File of a bag, open for reading.

    :param path: an .mcap or .db3 file, or such a file compressed as a whole.
    :param compressed_messages: whether each message is compressed separately.
    :raises Exception: any exception of the library for a damaged file.
    :ivar cut: whether the file is truncated; the messages before the end are readable.
    """

    def __init__(self, path: Path, compressed_messages: bool = False):
        if path.exists() and not path.is_file():
            raise ValueError('it is not a regular file')
        self.path = path
        self.compressed_messages = compressed_messages
        self.unpacked = None
        if path.suffix == ZSTD:
            self.unpacked = TemporaryDirectory(prefix='sync_perception_bag_')
            path = Path(self.unpacked.name, path.stem)
        try:
            if self.unpacked is not None:
                with zstd.open(self.path, 'rb') as packed, path.open('wb') as whole:
                    shutil.copyfileobj(packed, whole)
            self.reader, self.cut = open_reader(path)
        except BaseException:
            self._remove_unpacked()
            raise
        self.connections: list[Connection] = list(self.reader.connections)
        self.message_count = self.reader.message_count
        self.start_time = self.reader.start_time  # far in the future without messages

    def close(self) -> None:
        """Close the file."""
        self.reader.close()
        self._remove_unpacked()

    def _remove_unpacked(self) -> None:
        if self.unpacked is not None:
            self.unpacked.cleanup()

    def messages(self, wanted: Collection[Connection]) -> Iterator[tuple[int, int, bytes]]:
        """
        Yield messages in chronological order, as connection number, time and data.

        :param wanted: selected connections of the file.
        :raises Exception: any exception of the library for a damaged file.
        """
        if not wanted:
            return
        for connection, time, data in self.reader.messages(wanted):
            yield connection.id, time, (
                zstd.decompress(data) if self.compressed_messages else data)


def open_reader(path: Path) -> tuple[Reader, bool]:
    """
    Open a file of a bag.

    :return: the reader, and whether the file is truncated.
    :raises Exception: any exception of the library for a damaged file.
    """
    reader = Reader(path)
    try:
        reader.open()
        return reader, False
    except Exception:
        if path.suffix != BAG_SUFFIXES['mcap']:
            raise
        try:
            rest = Reader(CutFile(path))
            rest.open()
        except Exception:  # noqa: BLE001 - the first error is more informative
            rest = None
        if rest is None:
            raise
        return rest, True


def _check_is_bag(path: Path) -> None:
    """Check that a path can be a bag; the error states the reason."""
    if not path.exists():
        raise ValueError(f'there is no {path}, expected a rosbag2 bag: a folder with {METADATA}, '
                         'or an .mcap or .db3 file')
    if path.is_file():
        if not has_bag_suffix(path):
            raise ValueError(
                f'{path} is not a rosbag2 bag, expected a folder with {METADATA}, or an .mcap or '
                '.db3 file (rosbags-convert turns ROS 1 bags into such)')
    elif (path / STATE).is_file():
        raise ValueError(f'{path} is the unfinished output of process-bag: run the same command '
                         'again to finish it')
    elif not (path / METADATA).is_file():
        raise ValueError(f'{path} is not a rosbag2 bag: it has no {METADATA}')
