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

"""Where things lie: config/ and weights/ in any installation; models, by their names."""

from __future__ import annotations

from pathlib import Path
import re
import sys

PACKAGE = 'sync_perception'
HUB_ID = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*')
FILE_SUFFIXES = ('.onnx', '.pt2', '.json', '.safetensors')


def package_folder() -> Path:
    """Return the folder of the Python package."""
    return Path(__file__).resolve().parent


def share_folder() -> Path:
    """
    Return the folder that holds config/ and launch/.

    The source tree's root when the package runs from one (an editable or a symlinked
    installation included), else the share folder that the installation filled.

    :raises FileNotFoundError: if neither exists; the message names what was searched.
    """
    candidates = [package_folder().parent]
    prefixes = [*package_folder().parents, Path(sys.prefix)]
    candidates += [prefix / 'share' / PACKAGE for prefix in prefixes]
    for candidate in candidates:
        if (candidate / 'config' / 'labels').is_dir():
            return candidate
    raise FileNotFoundError(
        f'the configuration of {PACKAGE} is in none of: {", ".join(map(str, candidates))}')


def config_folder() -> Path:
    """Return the folder of the shipped configuration files."""
    return share_folder() / 'config'


def default_model_folder() -> Path:
    """Return the folder of the default model's config.json and model.safetensors."""
    return package_folder() / 'weights'


def is_hub_id(name: str) -> bool:
    """
    Tell whether a name can be one of the hub; every other one is a path, and must exist.

    An id of the hub is owner/name: letters, digits, -, _ and . with one slash between them. A
    name of which the first part is a folder here, or which ends as a file of a model does, is a
    path all the same.
    """
    return (HUB_ID.fullmatch(name) is not None and not name.endswith(FILE_SUFFIXES)
            and not Path(name).parent.is_dir())
