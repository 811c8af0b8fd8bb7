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

"""Locks that prevent two processes from writing the same output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import errno
import fcntl
import os
from pathlib import Path
import socket
import time

from sync_perception.files.whole_files import cannot_write

WOULD_BLOCK = (errno.EAGAIN, errno.EACCES)


@contextmanager
def output_lock(path: str | Path) -> Iterator[None]:
    """
    Hold the lock of an output, a hidden file beside it, during the `with` block.

    The operating system releases the lock when the process ends for any reason, so the lock file
    of a killed process blocks nobody.

    :param path: the file or folder to be written; its parent folder is created.
    :raises ValueError: if another process has the lock; the message names that process.
    :raises OSError: if the lock file cannot be written.
    """
    path = Path(path).expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f'.{path.name}.lock')
    descriptor = _acquire(path, file)
    try:
        os.ftruncate(descriptor, 0)
        try:
            os.pwrite(descriptor, _myself().encode(), 0)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # on a full disk only the holder's name is missing
                raise
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, file: Path) -> int:
    while True:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(file, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, descriptor):
                return descriptor
        except OSError as error:
            holder = os.pread(descriptor, 1000, 0).decode(errors='replace')
            os.close(descriptor)
            if error.errno not in WOULD_BLOCK:
                raise
            raise ValueError(
                f'{path} is being written by {holder or "another process"}: wait until it has '
                'ended, or write to another place') from error
        os.close(descriptor)  # the holder has removed the file, so this lock is void


def _is_still(file: Path, descriptor: int) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _myself() -> str:
    now = time.strftime('%Y-%m-%d %H:%M:%S')
    return f'process {os.getpid()} on {socket.gethostname()} since {now}'
