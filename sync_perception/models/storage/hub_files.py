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

"""Locate model files in a local folder or on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from sync_perception.resources import is_hub_id

PATIENCE = 3.0
"""Timeout of a request to the hub, seconds."""


def find_file(model: str, name: str) -> Path | None:
    """
    Find a file of a local model folder, or download it from the hub.

    :param model: the folder, or a hub id.
    :param name: name of the file.
    :return: path of the file; None if the model has no such file.
    :raises FileNotFoundError: if the name is a path at which there is no folder, or the hub has
        no such model.
    :raises ConnectionError: if the hub is out of reach, and the file was not downloaded before.
    """
    if Path(model).is_dir():
        path = Path(model, name)
        return path if path.is_file() else None
    if not is_hub_id(model):
        raise FileNotFoundError(
            f'{model}: there is no such folder ({Path(model).absolute()}); expected a folder, or '
            'owner/name for a model of the Hugging Face hub')
    try:
        # the download itself would retry five times, for 23 seconds
        get_hf_file_metadata(hf_hub_url(model, name), timeout=PATIENCE)
    except EntryNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f'{model}: there is no such folder ({Path(model).absolute()}), and the Hugging Face '
            'hub has no model of this name') from error
    except Exception as error:  # noqa: BLE001 - of whatever library it uses for HTTP
        try:
            return Path(hf_hub_download(model, name, local_files_only=True))
        except LocalEntryNotFoundError:
            raise ConnectionError(
                f'{model}: there is no such folder ({Path(model).absolute()}), and the Hugging '
                f'Face hub could not be reached for {name} of {model}: {error}; download the '
                'model on a machine with access to the hub and pass its folder') from error
    return Path(hf_hub_download(model, name))
