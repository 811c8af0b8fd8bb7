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


"""Reads what is left of an .mcap file whose end is missing, as a killed recorder leaves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
import io
from pathlib import Path
from struct import pack, unpack_from
import sys
from typing import BinaryIO

from lz4 import frame as lz4

if sys.version_info >= (3, 14):
    from compression import zstd
else:  # rosbags has the same requirement
    from backports import zstd

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
CHUNK_INDEX, STATISTICS, DATA_END = 0x08, 0x0B, 0x0F
RECORD_HEAD = 9
"""Bytes of the number of a record's kind and of its length."""
INDEX_HEAD, INDEX_ENTRY = 15, 16
"""Bytes of a message index without entries, and of one of its entries."""
DECOMPRESSORS: dict[bytes, Callable[[bytes], bytes]] = {
    b'': bytes, b'lz4': lz4.decompress, b'zstd': zstd.decompress}


@dataclass
class Chunk:
    """
    A whole chunk: messages that were written together.

    :param position: of its record in the file.
    :param length: of its record.
    :param sizes: of its messages in the file, and decompressed, bytes.
    :param counts: of messages, by the number of their channel.
    """

    position: int
    length: int
    first_time: int
    last_time: int
    compression: bytes
    sizes: tuple[int, int]
    counts: Counter[int]


@dataclass
class Remains:
    """
    The whole records before the cut.

    :ivar end: where they end, bytes.
    :ivar chunks: none in a file that was written without them.
    :ivar definitions: schemas and channels, as they are written, by kind and number.
    :ivar counts: of messages, by the number of their channel.
    """

    end: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    definitions: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)

    def note(self, kind: int, content: bytes) -> Counter[int]:
        """Remember a definition, and count a message."""
        if kind in (SCHEMA, CHANNEL):
            self.definitions.setdefault((kind, content[:2]), content)
        return Counter(unpack_from('<H', content)) if kind == MESSAGE else Counter()

    def ending(self) -> bytes:
        """Return the index and the footer that the whole records lack."""
        if not self.chunks:  # readers then look through the file
            return record(FOOTER, pack('<QQI', 0, 0, 0)) + MAGIC
        summary = [record(kind, content) for (kind, _), content in sorted(
            self.definitions.items())]
        summary += [record(CHUNK_INDEX, chunk_index(chunk)) for chunk in self.chunks]
        counts = b''.join(pack('<HQ', *entry) for entry in sorted(self.counts.items()))
        kinds = Counter(kind for kind, _ in self.definitions)
        summary.append(record(STATISTICS, pack(
            '<QHIIIIQQI', self.counts.total(), kinds[SCHEMA], kinds[CHANNEL], 0, 0,
            len(self.chunks), min(chunk.first_time for chunk in self.chunks),
            max(chunk.last_time for chunk in self.chunks), len(counts)) + counts))
        return b''.join(summary) + record(FOOTER, pack('<QQI', self.end, 0, 0)) + MAGIC


class CutFile:
    """
    The whole records of a cut .mcap file, with the index and the end that it lacks.

    It stands for a path where the library rosbags reads one; the file itself stays as it is.

    :param path: of the file.
    :raises ValueError: if its end is there, or no message of it is whole.
    """

    suffix = '.mcap'

    def __init__(self, path: Path):
        self.path = path
        with path.open('rb') as file:
            remains = examine(file)
        if not remains.counts:
            raise ValueError(f'{path.name} has no whole message')
        self.end, self.ending = remains.end, remains.ending()

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return that it is there."""
        return True

    def is_dir(self) -> bool:
        """Return that it is a file."""
        return False

    def open(self, mode: str = 'rb') -> BinaryIO:  # noqa: A003 - rosbags calls it
        """Open it for reading."""
        return io.BufferedReader(MendedStream(self.path.open(mode), self.end, self.ending))


class MendedStream(io.RawIOBase):
    """
    The beginning of a file, followed by other bytes.

    :param file: is closed with it.
    :param end: how many bytes of the file there are.
    :param ending: the other bytes.
    """

    def __init__(self, file: BinaryIO, end: int, ending: bytes):
        self.file, self.end, self.ending = file, end, ending
        self.position = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that its position can be set."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        start = (0, self.position, self.end + len(self.ending))[whence]
        self.position = max(0, start + offset)
        return self.position

    def readinto(self, buffer) -> int:
        """Read from one of the two parts."""
        if self.position < self.end:
            self.file.seek(self.position)
            data = self.file.read(min(len(buffer), self.end - self.position))
        else:
            start = self.position - self.end
            data = self.ending[start:start + len(buffer)]
        buffer[:len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()


def examine(file: BinaryIO) -> Remains:
    """
    Read the records of a cut file up to the first one that is not whole.

    :raises ValueError: if it is no MCAP file, or its end is there.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - len(MAGIC)))
    ended = file.read() == MAGIC
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC or ended:
        raise ValueError('it is no MCAP file whose end is missing')
    remains = Remains(end=len(MAGIC))
    while True:
        head = file.read(RECORD_HEAD)
        if len(head) < RECORD_HEAD:
            return remains
        kind, length = unpack_from('<BQ', head)
        end = remains.end + RECORD_HEAD + length
        if kind in (0, FOOTER, DATA_END) or end > size:
            return remains
        try:
            content = file.read(length)
            counts = remains.note(kind, content)
            if kind == CHUNK:
                chunk = read_chunk(content, remains)
                remains.chunks.append(chunk)
                counts = chunk.counts
        except Exception:  # noqa: BLE001 - what a broken chunk makes of a decompressor
            return remains
        remains.counts += counts
        remains.end = end


def read_chunk(content: bytes, remains: Remains) -> Chunk:
    """
    Read the head of a chunk, its definitions and the channels of its messages.

    :raises Exception: whatever a damaged one makes of the decompressors.
    """
    first, last, size, _, name_length = unpack_from('<QQQII', content)
    start = 32 + name_length
    compression = content[32:start]
    [packed_size] = unpack_from('<Q', content, start)
    data = DECOMPRESSORS[compression](content[start + 8:start + 8 + packed_size])
    if len(data) != size:
        raise ValueError(f'got {len(data)} bytes, expected {size}')
    counts: Counter[int] = Counter()
    for kind, record_content in records(data):
        counts += remains.note(kind, record_content)
    return Chunk(remains.end, RECORD_HEAD + len(content), first, last, compression,
                 (packed_size, size), counts)


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """
    Return the kinds and the contents of records.

    :raises ValueError: if one is not whole.
    """
    view, position = memoryview(data), 0
    while position < len(data):
        kind, length = unpack_from('<BQ', data, position)
        position += RECORD_HEAD
        if position + length > len(data):
            raise ValueError(f'a record of {length} bytes is not whole')
        # of a message only the channel counts
        yield kind, bytes(view[position:position + (2 if kind == MESSAGE else length)])
        position += length


def record(kind: int, content: bytes) -> bytes:
    """Write a record."""
    return pack('<BQ', kind, len(content)) + content


def chunk_index(chunk: Chunk) -> bytes:
    """
    Write where a chunk is and how many messages of each channel it has.

    Readers know the counts from the lengths of the message indexes behind the chunk, which may
    be missing; nothing else is read from these.
    """
    start = position = chunk.position + chunk.length
    offsets = b''
    for channel, count in sorted(chunk.counts.items()):
        offsets += pack('<HQ', channel, position)
        position += INDEX_HEAD + INDEX_ENTRY * count
    return (pack('<QQQQI', chunk.first_time, chunk.last_time, chunk.position, chunk.length,
                 len(offsets)) + offsets + pack('<QI', position - start, len(chunk.compression))
            + chunk.compression + pack('<QQ', *chunk.sizes))
