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


"""Reads and writes rosbag2 bags through the library rosbags; ROS itself need not be installed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
import shutil
import sqlite3
from typing import Any, NamedTuple

from rosbags.interfaces import (
    Connection,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosbags.typesys.store import Typestore
import yaml

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
SUFFIXES = {'mcap': '.mcap', 'sqlite3': '.db3'}
METADATA = 'metadata.yaml'
VERSION = 9  # of the metadata, as Jazzy writes it
STATE = 'unfinished.json'  # in the folder of a bag that is still being written
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
UNKNOWN_HASH = f'RIHS01_{"0" * 64}'
# what rosbag2 writes for durations that nobody set
INFINITE = QosTime(9223372036, 854775807)


def qos(depth: int = 5, latched: bool = False, reliable: bool = True) -> Qos:
    """
    Describe the quality of service that a topic's publisher offered.

    :param depth: how many messages it keeps.
    :param latched: it keeps them for those who subscribe later.
    :param reliable: what is lost on the way is sent again.
    """
    return Qos(
        history=QosHistory.KEEP_LAST, depth=depth,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=INFINITE, lifespan=INFINITE, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=INFINITE, avoid_ros_namespace_conventions=False)


class Record(NamedTuple):
    """
    One recorded message.

    :param time: when it was recorded, nanoseconds.
    :param data: the message as CDR, the serialisation of ROS 2.
    """

    connection: Connection
    time: int
    data: bytes

    @property
    def topic(self) -> str:
        """Return the name of its topic."""
        return self.connection.topic


class Bag:
    """
    A recorded rosbag2 bag, open for reading; close it, or use it in a `with` statement.

    :param path: the bag's folder, or one of its files (.mcap, .db3).
    :raises ValueError: if there is no bag that can be read.
    :ivar topics: the type of each topic's messages, by the topic's name.
    :ivar counts: the number of each topic's messages.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        _refuse_what_is_no_bag(self.path)
        try:
            self.reader = Reader(self.path)
            self.reader.open()
        except Exception as error:  # whatever a broken file makes of the library
            raise ValueError(
                f'{self.path} is not a rosbag2 bag that can be read '
                f'({type(error).__name__}: {error}); was the recording ended properly? '
                '`ros2 bag reindex` and `mcap recover` mend what was not') from error
        self.connections: list[Connection] = list(self.reader.connections)
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        for connection in self.connections:
            self.topics[connection.topic] = connection.msgtype
            before = self.counts.get(connection.topic, 0)
            self.counts[connection.topic] = before + connection.msgcount

    def __enter__(self) -> Bag:
        """Return the bag."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        if self.reader.is_open:
            self.reader.close()

    @property
    def message_count(self) -> int:
        """Count the messages of all topics."""
        return self.reader.message_count

    @property
    def start_time(self) -> int:
        """Return when the first message was recorded, nanoseconds; 0 for an empty bag."""
        return self.reader.start_time if self.message_count else 0

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """
        Read messages in the order in which they were recorded.

        :param topics: only of these; None for all.
        :raises ValueError: if the file is broken.
        """
        wanted = [each for each in self.connections if topics is None or each.topic in topics]
        messages = self.reader.messages(wanted) if wanted else iter(())
        count = 0
        while True:
            try:
                message = next(messages, None)
            except Exception as error:  # as for opening
                raise ValueError(
                    f'{self.path} is broken after {count} messages '
                    f'({type(error).__name__}: {error})') from error
            if message is None:
                return
            count += 1
            yield Record(*message)

    def listing(self, kinds: Collection[str] | None = None) -> str:
        """List the topics with their types and counts, for people; only of these types."""
        lines = [f'{topic} ({kind}, {self.counts[topic]})'
                 for topic, kind in sorted(self.topics.items()) if not kinds or kind in kinds]
        return ', '.join(lines) or 'none'


def _refuse_what_is_no_bag(path: Path) -> None:
    """Say clearly what a path is that cannot be a bag for rosbags."""
    if not path.exists():
        raise ValueError(f'there is no {path}, expected a rosbag2 bag: a folder with {METADATA}, '
                         'or an .mcap or .db3 file')
    if path.is_file() and path.suffix not in SUFFIXES.values():
        raise ValueError(f'{path} is not a rosbag2 bag, expected a folder with {METADATA}, or an '
                         '.mcap or .db3 file (rosbags-convert turns ROS 1 bags into such)')
    if path.is_file():
        return
    metadata = path / METADATA
    if (path / STATE).is_file():
        raise ValueError(f'{path} is the unfinished output of process-bag: give it the same '
                         'command once more to finish it')
    if not metadata.is_file():
        raise ValueError(f'{path} is not a rosbag2 bag: it has no {METADATA}')
    try:
        storage = yaml.safe_load(metadata.read_text())['rosbag2_bagfile_information'][
            'storage_identifier']
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{metadata} is not the metadata of a rosbag2 bag: '
                         f'{type(error).__name__}: {error}') from error
    if storage not in STORAGES:
        raise ValueError(f'{path} is stored by the plugin {storage!r}, expected one of '
                         f'{", ".join(STORAGES)}')


class BagWriter:
    """
    Writes a bag of one file; under its name it is there only when it is complete.

    Use it in a `with` statement: until the end is reached the files lie in a hidden folder
    beside it, which an error removes.

    :param folder: the bag; it must not be there yet.
    :param storage: mcap or sqlite3.
    :param notes: goes into the bag's metadata as custom data.
    :raises ValueError: if the folder is there, or the storage is unknown.
    :raises OSError: if it cannot be written, such as to a disk that is full.
    """

    def __init__(self, folder: str | Path, storage: str = 'mcap',
                 notes: dict[str, str] | None = None):
        self.folder = Path(folder).expanduser()
        if storage not in STORAGES:
            raise ValueError(f'storage: got {storage!r}, expected one of {", ".join(STORAGES)}')
        if self.folder.exists():
            raise ValueError(f'{self.folder} is there already, expected a new folder')
        # the file is named after its folder, so this must have the name already
        self.hidden = self.folder.parent / f'.{self.folder.name}.partial'
        shutil.rmtree(self.hidden, ignore_errors=True)
        self.writer = Writer(
            self.hidden / self.folder.name, version=VERSION, storage_plugin=STORAGES[storage])
        for key, value in (notes or {}).items():
            self.writer.set_custom_data(key, value)
        self.bytes = 0

    def __enter__(self) -> BagWriter:
        """Begin the file."""
        with _clear_errors(self.folder):
            self.writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Complete the bag and give it its name, or remove it after an error."""
        try:
            if kind is None:
                with _clear_errors(self.folder):
                    self.writer.close()
                    self.writer.path.rename(self.folder)
        finally:
            if self.writer.storage is not None:
                with suppress(Exception):
                    self.writer.abort()
            shutil.rmtree(self.hidden, ignore_errors=True)

    def add_topic(self, topic: str, kind: str, profile: Qos, store: Typestore) -> Connection:
        """
        Add a topic.

        :param kind: the type of its messages, such as `sensor_msgs/msg/Image`.
        :param store: knows that type.
        """
        with _clear_errors(self.folder):
            return self.writer.add_connection(
                topic, kind, typestore=store, offered_qos_profiles=[profile])

    def copy_topic(self, connection: Connection, store: Typestore) -> Connection:
        """
        Add a topic as it is in another bag.

        :param connection: of the other bag.
        :param store: as `typestore` makes it of that bag.
        """
        definition, digest = connection.msgdef.data, connection.digest
        if connection.msgtype in store.fielddefs:
            if connection.msgdef.format == MessageDefinitionFormat.NONE:
                definition, _ = store.generate_msgdef(connection.msgtype, ros_version=2)
            digest = digest or store.hash_rihs01(connection.msgtype)
        with _clear_errors(self.folder):
            return self.writer.add_connection(
                connection.topic, connection.msgtype, msgdef=definition,
                rihs01=digest or UNKNOWN_HASH,
                serialization_format=connection.ext.serialization_format,
                offered_qos_profiles=connection.ext.offered_qos_profiles)

    def write(self, connection: Connection, time: int, data: bytes | memoryview) -> None:
        """
        Write a message.

        :param connection: its topic, as `add_topic` returned it.
        :param time: nanoseconds; a bag is played in the order of these.
        :param data: the message as CDR.
        """
        with _clear_errors(self.folder):
            self.writer.write(connection, time, data)
        self.bytes += len(data)


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    """Turn what a storage raises where it cannot write into OSError with the bag's name."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise OSError(f'cannot write {folder}: {error}') from error


def typestore(bag: Bag | None = None) -> Typestore:
    """
    Return what describes the types of messages: Jazzy's, and those that a bag defines itself.

    :param bag: definitions in it that cannot be understood are left out.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    if bag is None:
        return store
    for connection in bag.connections:
        text, kind = connection.msgdef.data, connection.msgtype
        defined = connection.msgdef.format == MessageDefinitionFormat.MSG
        if defined and kind not in store.fielddefs:
            with suppress(Exception):  # then the definition is copied as it is
                types = get_types_from_msg(text, kind)
                store.register({name: each for name, each in types.items()
                                if name not in store.fielddefs})
    return store
