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

"""Locations of the shipped configuration and weights, and recognition of model names."""

from __future__ import annotations

from pathlib import Path
import re
import sys

PACKAGE = 'sync_perception'
DEFAULT = 'default'
HUB_ID = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*')
FILE_SUFFIXES = ('.onnx', '.pt2', '.json', '.safetensors')


def package_folder() -> Path:
    """Return the folder of the Python package."""
    return Path(__file__).resolve().parent


def share_folder() -> Path:
    """
    Return the folder that holds config/ and launch/.

    This is the root of the source tree if the package runs from one, also as an editable or
    symlinked installation; otherwise it is the installed share folder.

    :raises FileNotFoundError: if neither exists; the message names the searched folders.
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


def shipped_models() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by name."""
    folder = package_folder() / 'weights'
    return {path.parent.name: path.parent for path in sorted(folder.glob('*/config.json'))}


def default_model_folder() -> Path:
    """Return the folder of the default model's config.json and model.safetensors."""
    return package_folder() / 'weights' / 'driving'


def model_source(model: str | Path | None) -> str | Path:
    """
    Return the folder of a model that comes with the package, or another model's name unchanged.

    :param model: name of a shipped model, such as `driving`; None, an empty text or `default` is
        the default model. A folder of the same name is meant by `./driving`.
    """
    if model is None or model in ('', DEFAULT):
        return default_model_folder()
    return shipped_models().get(model, model) if isinstance(model, str) else model


def is_hub_id(name: str) -> bool:
    """
    Return whether a name can be a Hugging Face hub id; any other name is a local path.

    A hub id is owner/name, where both parts consist of letters, digits, -, _ and . characters. A
    name is still a path if its first part is an existing folder, or if it has the file name
    extension of a model file.
    """
    return (HUB_ID.fullmatch(name) is not None and not name.endswith(FILE_SUFFIXES)
            and not Path(name).parent.is_dir())
