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

"""Any model as a folder: config.json says what it is, model.safetensors holds the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, MISSING
import json
import os
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sync_perception.models.hub_files import find_file
import torch
from torch import nn

CONFIG_NAME = 'config.json'
WEIGHTS_NAME = 'model.safetensors'


class FolderConfig:
    """Base of the dataclasses that config.json files hold: unknown keys are refused by name."""

    @classmethod
    def from_dict(cls: type[Config], description: dict[str, Any], source: str = 'model config'
                  ) -> Config:
        """
        Check and take a config.json's content.

        :raises ValueError: naming an unknown or missing key.
        """
        known = {entry.name for entry in fields(cls)}
        required = {entry.name for entry in fields(cls)
                    if entry.default is MISSING and entry.default_factory is MISSING}
        unknown = sorted(set(description) - known)
        missing = sorted(required - set(description))
        if unknown or missing:
            raise ValueError(
                f'{source}: unknown keys {unknown}, missing keys {missing}; '
                f'known are {sorted(known)}')
        return cls(**description)


class FolderModel(nn.Module, PyTorchModelHubMixin):
    """
    A module that is saved to and loaded from a folder, or the Hugging Face hub.

    Its constructor takes one argument, the config: an instance of `config_type` or its dictionary.

    :ivar config: what rebuilds the module where no pretrained parts are at hand.
    """

    config_type: ClassVar[type[FolderConfig]]
    config: FolderConfig

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @classmethod
    def _from_pretrained(
            cls: type[Model], *, model_id: str, map_location: str = 'cpu', config: dict[str, Any],
            **download: Any) -> Model:
        # the mixin's own would fall back to a pickle where there is no model.safetensors
        path = find_file(model_id, WEIGHTS_NAME)
        if path is None:
            raise FileNotFoundError(f'{model_id}: expected {WEIGHTS_NAME} beside {CONFIG_NAME}')
        model = cls(config)
        model.load_state_dict(load_file(path, device=map_location), strict=True)
        return model.eval()


Config = TypeVar('Config', bound=FolderConfig)
Model = TypeVar('Model', bound=FolderModel)


def read_config(model: str | Path, config_type: type[Config]) -> Config:
    """
    Read the config of a model folder, or of a model on the Hugging Face hub.

    :raises FileNotFoundError: if there is no such folder or model, or it has no config.json.
    :raises ConnectionError: if the hub is out of reach.
    :raises ValueError: if it is not a config of this type; an unknown key is named.
    """
    path = find_file(str(model), CONFIG_NAME)
    if path is None:
        raise FileNotFoundError(
            f'{model} is no model folder: expected {CONFIG_NAME} and {WEIGHTS_NAME} in it')
    try:
        description = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    return config_type.from_dict(description, source=str(path))


def load(model_type: type[Model], model: str | Path, device: str | torch.device = 'cpu') -> Model:
    """
    Load a model folder, or a model on the Hugging Face hub, for inference.

    Only config.json and model.safetensors are read; nothing is ever unpickled.

    :raises FileNotFoundError: if the folder is not there or lacks a file.
    :raises ValueError: if the config is not understood or the weights do not fit it.
    """
    read_config(model, model_type.config_type)
    if Path(model).is_dir() and not (Path(model) / WEIGHTS_NAME).is_file():
        raise FileNotFoundError(f'{model}: expected {WEIGHTS_NAME} beside {CONFIG_NAME}')
    try:
        loaded = model_type.from_pretrained(str(model), map_location=str(device))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f'{model}: the weights do not fit {CONFIG_NAME}: {error}') from error
    return loaded.eval().to(device)


def save(model: FolderModel, folder: str | Path, card: str = '') -> None:
    """
    Write a model as a folder.

    Each file is written beside and then put in its place at once: whoever reads the folder
    meanwhile, or after the writer was killed, finds the former file or the new one, never a part.

    :param card: text of the folder's README.md; without it the folder's present one stays.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    with replacing(folder / WEIGHTS_NAME) as path:
        save_file(tensors, path, metadata={'format': 'pt'})
        path.chmod(0o644)  # safetensors leaves it to the owner alone
    with replacing(folder / CONFIG_NAME) as path:
        path.write_text(json.dumps(asdict(model.config), indent=2) + '\n')
    if card:
        with replacing(folder / 'README.md') as path:
            path.write_text(card)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside to write to, which then takes the place of this one at once."""
    beside = path.with_name(f'.{path.name}.part')  # always the same: a kill leaves one at most
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
