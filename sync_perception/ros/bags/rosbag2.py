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


"""Reading and writing of rosbag2 bags with the library rosbags, without a ROS installation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
import shutil
import sqlite3
from typing import Any, NamedTuple

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosbags.typesys.store import Typestore
from sync_perception.files.bags import BAG_SUFFIXES
from sync_perception.files.whole_files import cannot_write
from sync_perception.ros.bags.bag_files import BagFile, Contents

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
VERSION = 9  # version of the metadata, as written by Jazzy
IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
UNKNOWN_HASH = f'RIHS01_{"0" * 64}'
# value that rosbag2 writes for unset durations
INFINITE = QosTime(9223372036, 854775807)


def qos(depth: int = 5, latched: bool = False, reliable: bool = True) -> Qos:
    """
    Return the quality of service offered by a topic's publisher.

    :param depth: queue depth.
    :param latched: whether the durability is transient local.
    :param reliable: whether the reliability is reliable.
    """
    return Qos(
        history=QosHistory.KEEP_LAST, depth=depth,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=INFINITE, lifespan=INFINITE, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=INFINITE, avoid_ros_namespace_conventions=False)


class Record(NamedTuple):
    """
    Recorded message.

    :param time: recording time in nanoseconds.
    :param data: the message serialized as CDR.
    """

    connection: Connection
    time: int
    data: bytes

    @property
    def topic(self) -> str:
        """Return the name of the message's topic."""
        return self.connection.topic


class Bag:
    """
    Recorded rosbag2 bag, open for reading; close it, or use it in a `with` statement.

    Damaged files of a bag are skipped and listed in `damage`.

    :param path: the bag's folder, or one of its files (.mcap, .db3).
    :raises ValueError: if there is no bag, or none of its files can be read.
    :ivar connections: topics of all files.
    :ivar topics: message type by topic name.
    :ivar counts: number of messages by topic name in the readable files.
    :ivar damage: descriptions of the unreadable parts, by file name; complete when all records
        have been read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.contents = Contents.of(self.path)
        self.damage: dict[str, str] = {}
        self.files = list(self._open_files())
        if not self.files:
            raise ValueError(
                f'{self.path} is not a rosbag2 bag that can be read '
                f'({"; ".join(self.damage.values())}); if the recording was not ended properly, '
                'repair it with `ros2 bag reindex` or `mcap recover`')
        try:
            self.connections = self._join_connections()
        except ValueError:
            self.close()
            raise
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        for connection in self.connections:
            self.topics[connection.topic] = connection.msgtype
            before = self.counts.get(connection.topic, 0)
            self.counts[connection.topic] = before + connection.msgcount

    def _open_files(self) -> Iterator[BagFile]:
        """Yield the files that can be opened, and record the others as damaged."""
        for path in self.contents.files:
            try:
                file = BagFile(path, self.contents.compressed_messages)
                if file.cut:
                    self._note_cut(file)
                yield file
            except Exception as error:  # noqa: BLE001 - any error for a damaged file
                count = self.contents.counts.get(path.name)
                lost = 'all its' if count is None else f'its {count}'
                self.damage[path.name] = (
                    f'{path.name} cannot be read, {lost} messages are lost '
                    f'({describe_error(error)})')

    def _note_cut(self, file: BagFile) -> None:
        """Record what is lost in a truncated file."""
        recorded = self.contents.counts.get(file.path.name)
        if recorded == file.message_count:
            return  # only the index is lost
        lost = 'an unknown number of' if recorded is None else recorded - file.message_count
        self.damage[file.path.name] = (
            f'{file.path.name} is truncated: its first {file.message_count} messages are read, '
            f'{lost} messages after them are lost')

    def _join_connections(self) -> list[Connection]:
        """
        Return the topics of the metadata and of all files.

        The quality of service is taken from the files, since `ros2 bag reindex` omits it in the
        metadata.

        :raises ValueError: if the messages are not serialized as CDR.
        """
        found = [connection for file in self.files for connection in file.connections]
        joined = []
        for key in dict.fromkeys([*self.contents.topics, *map(_key, found)]):
            same = [connection for connection in found if _key(connection) == key]
            formats = {connection.ext.serialization_format for connection in same} - {'cdr'}
            if formats:
                raise ValueError(f'{self.path}: the messages on {key[0]} are serialised as '
                                 f'{", ".join(sorted(formats))}, expected cdr')
            profiles = [connection.ext.offered_qos_profiles for connection in same]
            digests = [connection.digest for connection in same]
            joined.append(Connection(
                id=len(joined) + 1, topic=key[0], msgtype=key[1],
                msgdef=next(
                    (connection.msgdef for connection in same
                     if connection.msgdef.format != MessageDefinitionFormat.NONE),
                    MessageDefinition(MessageDefinitionFormat.NONE, '')),
                digest=next(filter(None, [self.contents.topics.get(key), *digests]), ''),
                msgcount=sum(connection.msgcount for connection in same),
                ext=ConnectionExtRosbag2('cdr', next(filter(None, profiles), [])), owner=self))
        return joined

    def __enter__(self) -> Bag:
        """Return the bag."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        files, self.files = self.files, []
        for file in files:
            file.close()

    @property
    def message_count(self) -> int:
        """Return the number of messages of all topics."""
        return sum(self.counts.values())

    @property
    def start_time(self) -> int:
        """Return the recording time of the first message in nanoseconds; 0 for an empty bag."""
        return min((file.start_time for file in self.files if file.message_count), default=0)

    @property
    def storage(self) -> str:
        """Return the name of the bag's storage plugin."""
        suffixes = {suffix for path in self.contents.files for suffix in path.suffixes}
        return next(name for name, suffix in BAG_SUFFIXES.items() if suffix in suffixes)

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """
        Yield the messages in the order of recording.

        If a file is damaged, reading continues with the next one, and `damage` describes the loss.

        :param topics: selected topics; None for all.
        """
        wanted = {_key(each): each for each in self.connections
                  if topics is None or each.topic in topics}
        for file in self.files:
            own = {each.id: wanted[_key(each)] for each in file.connections
                   if _key(each) in wanted}
            expected = sum(each.msgcount for each in file.connections if each.id in own)
            messages = file.messages([each for each in file.connections if each.id in own])
            count = 0
            while True:
                try:
                    message = next(messages, None)
                except Exception as error:  # noqa: BLE001 - as for opening
                    self.damage[file.path.name] = (
                        f'{file.path.name} is damaged after {count} of {expected} messages '
                        f'({describe_error(error)})')
                    break
                if message is None:
                    break
                count += 1
                yield Record(own[message[0]], *message[1:])

    def listing(self, kinds: Collection[str] | None = None) -> str:
        """Return a text that lists the topics of the given types, with types and counts."""
        lines = [f'{topic} ({kind}, {self.counts[topic]})'
                 for topic, kind in sorted(self.topics.items()) if not kinds or kind in kinds]
        return ', '.join(lines) or 'none'


def _key(connection: Connection) -> tuple[str, str]:
    """Return the key of a topic across the files of a bag: its name and its type."""
    return connection.topic, connection.msgtype


def describe_error(error: Exception) -> str:
    """Return a one-line description of an exception of a library."""
    return f'{type(error).__name__}: {" ".join(str(error).split())}'


class BagWriter:
    """
    Writer of a bag with one file, which appears under its name only when it is complete.

    Use it in a `with` statement. Until the end of the block, the files are in a hidden folder
    beside the bag, which is removed on an error.

    :param folder: folder of the bag, which must not exist.
    :param storage: mcap or sqlite3.
    :param notes: custom data of the bag's metadata.
    :raises ValueError: if the folder exists, or the storage is unknown.
    :raises OSError: if writing fails, such as on a full disk.
    """

    def __init__(self, folder: str | Path, storage: str = 'mcap',
                 notes: dict[str, str] | None = None):
        self.folder = Path(folder).expanduser()
        if storage not in STORAGES:
            raise ValueError(f'storage: got {storage!r}, expected one of {", ".join(STORAGES)}')
        if self.folder.exists():
            raise ValueError(f'{self.folder} already exists, expected a new folder')
        # the file is named after its folder, so the folder within has the final name
        self.hidden = self.folder.parent / f'.{self.folder.name}.partial'
        shutil.rmtree(self.hidden, ignore_errors=True)
        self.writer = Writer(
            self.hidden / self.folder.name, version=VERSION, storage_plugin=STORAGES[storage])
        for key, value in (notes or {}).items():
            self.writer.set_custom_data(key, value)
        self.bytes = 0

    def __enter__(self) -> BagWriter:
        """Open the file."""
        try:
            with clear_errors(self.folder):
                self.writer.open()
        except OSError:
            self._remove_hidden()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Complete and rename the bag, or remove it after an error."""
        try:
            if kind is None:
                with clear_errors(self.folder):
                    self.writer.close()
                    self.writer.path.rename(self.folder)
        finally:
            self._remove_hidden()

    def _remove_hidden(self) -> None:
        if self.writer.storage is not None:
            with suppress(Exception):
                self.writer.abort()
        shutil.rmtree(self.hidden, ignore_errors=True)

    def add_topic(self, topic: str, kind: str, profile: Qos, store: Typestore) -> Connection:
        """
        Add a topic.

        :param kind: type of the messages, such as `sensor_msgs/msg/Image`.
        :param store: type store that contains this type.
        """
        with clear_errors(self.folder):
            return self.writer.add_connection(
                topic, kind, typestore=store, offered_qos_profiles=[profile])

    def copy_topic(self, connection: Connection, store: Typestore) -> Connection:
        """
        Add a topic of another bag.

        :param connection: connection of the topic in the other bag.
        :param store: type store of that bag, as returned by `typestore`.
        """
        definition, digest = connection.msgdef.data, connection.digest
        if connection.msgtype in store.fielddefs:
            if connection.msgdef.format == MessageDefinitionFormat.NONE:
                definition, _ = store.generate_msgdef(connection.msgtype, ros_version=2)
            digest = digest or store.hash_rihs01(connection.msgtype)
        with clear_errors(self.folder):
            return self.writer.add_connection(
                connection.topic, connection.msgtype, msgdef=definition,
                rihs01=digest or UNKNOWN_HASH,
                serialization_format=connection.ext.serialization_format,
                offered_qos_profiles=connection.ext.offered_qos_profiles)

    def write(self, connection: Connection, time: int, data: bytes | memoryview) -> None:
        """
        Write a message.

        :param connection: connection of the topic, as returned by `add_topic`.
        :param time: recording time in nanoseconds, which determines the order of playback.
        :param data: the message serialized as CDR.
        """
        with clear_errors(self.folder):
            self.writer.write(connection, time, data)
        self.bytes += len(data)


@contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Convert a storage's write errors to OSError with the names of the bag and the disk."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error) from error
    except sqlite3.Error as error:
        raise cannot_write(folder, OSError(str(error))) from error


def typestore(bag: Bag | None = None) -> Typestore:
    """
    Return the message types of Jazzy, and those that a bag defines itself.

    :param bag: the bag; its malformed definitions are skipped.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    if bag is None:
        return store
    for connection in bag.connections:
        text, kind = connection.msgdef.data, connection.msgtype
        defined = connection.msgdef.format == MessageDefinitionFormat.MSG
        if defined and kind not in store.fielddefs:
            with suppress(Exception):  # a malformed definition is copied unchanged
                types = get_types_from_msg(text, kind)
                store.register({name: each for name, each in types.items()
                                if name not in store.fielddefs})
    return store
