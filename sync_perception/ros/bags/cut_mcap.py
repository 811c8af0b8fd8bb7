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


"""Reading of a truncated .mcap file, as left by a killed recorder."""

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
else:  # also required by rosbags
    from backports import zstd

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
CHUNK_INDEX, STATISTICS, DATA_END = 0x08, 0x0B, 0x0F
RECORD_HEAD = 9
"""Bytes of a record's opcode and length."""
INDEX_HEAD, INDEX_ENTRY = 15, 16
"""Bytes of an empty message index, and of one entry."""
DECOMPRESSORS: dict[bytes, Callable[[bytes], bytes]] = {
    b'': bytes, b'lz4': lz4.decompress, b'zstd': zstd.decompress}


@dataclass
class Chunk:
    """
    Complete chunk of messages.

    :param position: position of its record in the file.
    :param length: length of its record.
    :param sizes: compressed and uncompressed size of its messages in bytes.
    :param counts: number of messages by channel number.
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
    Complete records of a truncated file.

    :ivar end: end of the records in bytes.
    :ivar chunks: complete chunks; empty for a file written without chunks.
    :ivar definitions: schemas and channels as written, by kind and number.
    :ivar counts: number of messages by channel number.
    """

    end: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    definitions: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)

    def note(self, kind: int, content: bytes) -> Counter[int]:
        """Store a definition, or count a message."""
        if kind in (SCHEMA, CHANNEL):
            self.definitions.setdefault((kind, content[:2]), content)
        return Counter(unpack_from('<H', content)) if kind == MESSAGE else Counter()

    def ending(self) -> bytes:
        """Return the missing index and footer."""
        if not self.chunks:  # readers then scan the file
            return record_bytes(FOOTER, pack('<QQI', 0, 0, 0)) + MAGIC
        summary = [record_bytes(kind, content) for (kind, _), content in sorted(
            self.definitions.items())]
        summary += [record_bytes(CHUNK_INDEX, chunk_index(chunk)) for chunk in self.chunks]
        counts = b''.join(pack('<HQ', *entry) for entry in sorted(self.counts.items()))
        kinds = Counter(kind for kind, _ in self.definitions)
        summary.append(record_bytes(STATISTICS, pack(
            '<QHIIIIQQI', self.counts.total(), kinds[SCHEMA], kinds[CHANNEL], 0, 0,
            len(self.chunks), min(chunk.first_time for chunk in self.chunks),
            max(chunk.last_time for chunk in self.chunks), len(counts)) + counts))
        return b''.join(summary) + record_bytes(FOOTER, pack('<QQI', self.end, 0, 0)) + MAGIC


class CutFile:
    """
    Truncated .mcap file, presented with the missing index and footer.

    It replaces a path for the library rosbags; the file itself is not changed.

    :param path: path of the file.
    :raises ValueError: if the file is not truncated, or has no complete message.
    """

    suffix = '.mcap'

    def __init__(self, path: Path):
        self.path = path
        with path.open('rb') as file:
            remains = examine(file)
        if not remains.counts:
            raise ValueError(f'{path.name} has no complete message')
        self.end, self.ending = remains.end, remains.ending()

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return True."""
        return True

    def is_dir(self) -> bool:
        """Return False."""
        return False

    def open(self, mode: str = 'rb') -> BinaryIO:  # noqa: A003 - rosbags calls it
        """Open the file for reading."""
        return io.BufferedReader(MendedStream(self.path.open(mode), self.end, self.ending))


class MendedStream(io.RawIOBase):
    """
    Stream of the beginning of a file, followed by other bytes.

    :param file: the file, which is closed with the stream.
    :param end: number of bytes read from the file.
    :param ending: bytes that follow.
    """

    def __init__(self, file: BinaryIO, end: int, ending: bytes):
        self.file, self.end, self.ending = file, end, ending
        self.position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        start = (0, self.position, self.end + len(self.ending))[whence]
        self.position = max(0, start + offset)
        return self.position

    def readinto(self, buffer) -> int:
        """Read bytes from one of the two parts."""
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
    Read the records of a truncated file up to the first incomplete one.

    :raises ValueError: if it is not an MCAP file, or is not truncated.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - len(MAGIC)))
    ended = file.read() == MAGIC
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC or ended:
        raise ValueError('it is not a truncated MCAP file')
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
        except Exception:  # noqa: BLE001 - any error of a decompressor for a damaged chunk
            return remains
        remains.counts += counts
        remains.end = end


def read_chunk(content: bytes, remains: Remains) -> Chunk:
    """
    Read the header of a chunk, its definitions and the channels of its messages.

    :raises Exception: any error of the decompressors for a damaged chunk.
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
    Yield the kinds and the contents of records.

    :raises ValueError: if a record is incomplete.
    """
    view, position = memoryview(data), 0
    while position < len(data):
        kind, length = unpack_from('<BQ', data, position)
        position += RECORD_HEAD
        if position + length > len(data):
            raise ValueError(f'a record of {length} bytes is incomplete')
        # only the channel of a message is needed
        yield kind, bytes(view[position:position + (2 if kind == MESSAGE else length)])
        position += length


def record_bytes(kind: int, content: bytes) -> bytes:
    """Return a record as bytes."""
    return pack('<BQ', kind, len(content)) + content


def chunk_index(chunk: Chunk) -> bytes:
    """
    Return the index record of a chunk: its position and its number of messages per channel.

    Readers take the counts from the lengths of the message indexes after the chunk, which may be
    missing; they read nothing else from these indexes.
    """
    start = position = chunk.position + chunk.length
    offsets = b''
    for channel, count in sorted(chunk.counts.items()):
        offsets += pack('<HQ', channel, position)
        position += INDEX_HEAD + INDEX_ENTRY * count
    return (pack('<QQQQI', chunk.first_time, chunk.last_time, chunk.position, chunk.length,
                 len(offsets)) + offsets + pack('<QI', position - start, len(chunk.compression))
            + chunk.compression + pack('<QQ', *chunk.sizes))
