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

"""Base classes of models stored as folders with config.json and model.safetensors."""

from __future__ import annotations

from dataclasses import asdict, fields, MISSING
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from sync_perception.files.checks import Check, first_line, mapping
from sync_perception.files.whole_files import read_json, write_bytes, write_json, write_text
from sync_perception.models.storage.hub_files import find_file
from sync_perception.models.storage.weights import check_finite, check_weights, model_shapes
import torch
from torch import nn

CONFIG_NAME = 'config.json'
WEIGHTS_NAME = 'model.safetensors'


class FolderConfig:
    """
    Base of the dataclasses stored in config.json files; every key is checked.

    :cvar checks: check of each field's value.
    """

    checks: ClassVar[dict[str, Check]]

    def __post_init__(self):
        """Check all values."""
        for name, check in self.checks.items():
            check(getattr(self, name), name)

    @classmethod
    def from_dict(cls: type[Config], description: dict[str, Any], source: str = 'model config'
                  ) -> Config:
        """
        Return the config of a config.json's content.

        :raises ValueError: naming a key that is unknown, missing or of another type.
        """
        mapping(description, source)
        known = {entry.name for entry in fields(cls)}
        required = {entry.name for entry in fields(cls)
                    if entry.default is MISSING and entry.default_factory is MISSING}
        unknown = sorted(set(description) - known)
        missing = sorted(required - set(description))
        if unknown or missing:
            raise ValueError(
                f'{source}: unknown keys {unknown}, missing keys {missing}; '
                f'known are {sorted(known)}')
        try:
            return cls(**description)
        except ValueError as error:
            raise ValueError(f'{source}: {error}') from error


class FolderModel(nn.Module, PyTorchModelHubMixin):
    """
    Module that is saved to and loaded from a folder or the Hugging Face hub.

    Its constructor takes one argument, the config: an instance of `config_type` or its dictionary.

    :ivar config: config that rebuilds the module without its pretrained sources.
    """

    config_type: ClassVar[type[FolderConfig]]
    config: FolderConfig

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.parameters()).device

    @classmethod
    def _from_pretrained(
            cls: type[LoadedModel], *, model_id: str, map_location: str = 'cpu',
            config: dict[str, Any], **download: Any) -> LoadedModel:
        # the mixin's own method would fall back to a pickle if there is no model.safetensors
        path = find_file(model_id, WEIGHTS_NAME)
        if path is None:
            raise FileNotFoundError(f'{model_id}: expected {WEIGHTS_NAME} next to {CONFIG_NAME}')
        check_weights(path, model_shapes(cls, config))
        model = cls(config)
        model.load_state_dict(load_file(path, device=map_location), strict=True)
        return model.eval()


Config = TypeVar('Config', bound=FolderConfig)
LoadedModel = TypeVar('Model', bound=FolderModel)


def read_folder_config(model: str | Path, config_type: type[Config]) -> Config:
    """
    Read the config of a model folder, or of a model on the Hugging Face hub.

    :raises FileNotFoundError: if there is no such folder or model, or it has no config.json.
    :raises ConnectionError: if the hub is out of reach.
    :raises ValueError: if it is not a config of this type; an unknown key is named.
    """
    path = find_file(str(model), CONFIG_NAME)
    if path is None:
        raise FileNotFoundError(
            f'{model} is not a model folder: expected {CONFIG_NAME} and {WEIGHTS_NAME} in it')
    return config_type.from_dict(read_json(path), source=str(path))


def load_folder(
        model_type: type[LoadedModel], model: str | Path, device: str | torch.device = 'cpu'
        ) -> LoadedModel:
    """
    Load a model folder, or a model on the Hugging Face hub, for inference.

    Only config.json and model.safetensors are read; nothing is ever unpickled.

    :raises FileNotFoundError: if the folder does not exist or lacks a file.
    :raises ValueError: if the config is not understood or the weights do not fit it.
    """
    read_folder_config(model, model_type.config_type)
    if Path(model).is_dir() and not (Path(model) / WEIGHTS_NAME).is_file():
        raise FileNotFoundError(f'{model}: expected {WEIGHTS_NAME} next to {CONFIG_NAME}')
    try:
        loaded = model_type.from_pretrained(str(model), map_location=str(device))
        check_finite(loaded)
    except SafetensorError as error:
        raise ValueError(f'{model}: {WEIGHTS_NAME} is damaged: {first_line(error)}') from error
    except ValueError as error:
        raise ValueError(f'{model}: {error}') from error
    except RuntimeError as error:
        raise ValueError(
            f'{model}: no model can be built from the arguments in {CONFIG_NAME}: '
            f'{first_line(error)}') from error
    return loaded.eval().to(device)


def save_folder(model: FolderModel, folder: str | Path, card: str = '') -> None:
    """
    Write a model as a folder.

    Each file is written to a temporary file and renamed, so that readers always find a complete
    file, old or new.

    :param card: text of the folder's README.md; if empty, an existing README.md is kept.
    """
    folder = Path(folder)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    write_bytes(folder / WEIGHTS_NAME, serialise(tensors, metadata={'format': 'pt'}))
    write_json(folder / CONFIG_NAME, asdict(model.config))
    if card:
        write_text(folder / 'README.md', card)
