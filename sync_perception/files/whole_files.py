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

"""Atomic writing of files, and reading of small description files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import json
import os
from pathlib import Path
import shutil
from typing import Any

import yaml

LARGEST_DESCRIPTION = 2 ** 26
"""Limit in bytes; a config, a label space or a recipe has a few thousand."""


@contextmanager
def replacing(path: str | Path, shared: bool = False) -> Iterator[Path]:
    """
    Yield a temporary file beside a file; at the end of the block it atomically replaces the file.

    Concurrent readers find either the old file or the complete new one, also after the writer was
    killed or the disk was full. A path that is not a regular file, such as /dev/stdout, is written
    directly.

    :param path: path of the file; its folder is created.
    :param shared: whether other processes may write the same file at the same time.
    :raises OSError: if writing fails; the message names the file and the free space on its disk.
    """
    if Path(path).exists() and not Path(path).is_file():
        try:
            yield Path(path)
        except OSError as error:
            raise cannot_write(path, error) from error
        return
    place = Path(path).resolve()
    # a fixed name if possible, so that killed processes leave at most one such file
    beside = place.with_name(f'.{place.name}.{f"{os.getpid()}." if shared else ""}part')
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open('rb') as file:
            os.fsync(file.fileno())
        os.replace(beside, place)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def cannot_write(path: str | Path, error: OSError) -> OSError:
    """Return an error that names the file and the free space on its disk."""
    folder = Path(path).resolve().parent
    while not folder.is_dir():
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    failure = type(error)(
        f'cannot write {path}: {error.strerror or error} ({disk.free / 1e9:.2f} of '
        f'{disk.total / 1e9:.2f} GB are free on the disk of {folder})')
    failure.errno = error.errno
    return failure


def write_bytes(path: str | Path, data: bytes | memoryview, shared: bool = False) -> None:
    """Write a file atomically; see `replacing`."""
    with replacing(path, shared) as beside:
        beside.write_bytes(data)


def write_text(path: str | Path, text: str, shared: bool = False) -> None:
    """Write text as UTF-8 with Unix line ends, atomically; see `replacing`."""
    write_bytes(path, text.encode(), shared)


def write_json(path: str | Path, value: Any, indent: int = 2, shared: bool = False) -> None:
    """Write a value as JSON, atomically; see `replacing`."""
    write_text(path, json.dumps(value, indent=indent) + '\n', shared)


def read_json(path: str | Path) -> Any:
    """
    Read a JSON file.

    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if it is not JSON; the message names the file.
    """
    return parse_json(read_small_text(path), str(path))


def read_remembered(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a cache file; {} if the file is missing or malformed."""
    try:
        known = read_json(path)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def parse_json(text: str, source: str) -> Any:
    """
    Parse JSON.

    :param source: origin of the text, for error messages.
    :raises ValueError: if it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{source} is not JSON: {error}') from error


def read_yaml(path: str | Path) -> Any:
    """
    Read a YAML file of plain values; tags that would create objects are errors.

    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if it is not YAML; the message names the file.
    """
    text = read_small_text(path)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not YAML: {" ".join(str(error).split())}') from error


def read_small_text(path: str | Path) -> str:
    """
    Read a small text file.

    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if it is not a regular file, larger than the limit, or not UTF-8.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'no file {path}')
    if not path.is_file():  # reading a pipe would block
        raise ValueError(f'{path}: expected a file, got a folder or a device')
    size = path.stat().st_size
    if size > LARGEST_DESCRIPTION:
        raise ValueError(
            f'{path}: expected at most {LARGEST_DESCRIPTION / 1e6:.0f} MB, got {size / 1e6:.0f}')
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not text in UTF-8: {error}') from error
