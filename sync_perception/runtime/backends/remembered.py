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

"""Cache on disk of the fastest backend for each model on this machine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
import logging
from pathlib import Path
import platform
from typing import Any

from sync_perception.files.cache import cache_folder
from sync_perception.files.whole_files import read_remembered, write_json
from sync_perception.machine import processor_name
from sync_perception.models.exchange.exported import ExportedModel
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends.graphs import network_fingerprint
import torch

LOGGER = logging.getLogger(__name__)
FILE = 'backends.json'
MAX_ENTRIES = 200


def key(model: PerceptionModel | ExportedModel, half: bool) -> str:
    """Return the cache key: network, precision, library versions, processor and threads."""
    return '|'.join([
        network_fingerprint(model), 'half' if half else 'float32', package_version('onnxruntime'),
        platform.node(), processor_name(), f'{torch.get_num_threads()} threads'])


def package_version(name: str) -> str:
    """Return a package's name and version, or a note that it is not installed."""
    try:
        return f'{name} {version(name)}'
    except PackageNotFoundError:
        return f'no {name}'


def recall(of: str) -> str | None:
    """Return the backend that was fastest, or None if it is not known."""
    entry = read_remembered(choices_file()).get(of)
    return entry.get('backend') if isinstance(entry, dict) else None


def remember(of: str, backend: str, facts: dict[str, Any]) -> None:
    """Store the fastest backend; if writing fails, the next start measures again."""
    known = read_remembered(choices_file())
    known.pop(of, None)
    known[of] = {'backend': backend, **facts}
    kept = dict(list(known.items())[-MAX_ENTRIES:])
    try:
        write_json(choices_file(), kept, shared=True)
    except OSError as error:
        LOGGER.warning('cannot store the choice of the backend: %s', error)


def choices_file() -> Path:
    """Return the path of the cache file."""
    return cache_folder() / FILE
