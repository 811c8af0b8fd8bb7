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

"""Load and save models as folders with config.json and model.safetensors."""

from __future__ import annotations

from pathlib import Path

from sync_perception.models.config import ModelConfig
from sync_perception.models.exchange import exported
from sync_perception.models.huggingface import pair
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.storage import folder as folders
from sync_perception.models.storage.folder import FolderModel
import torch


def pretrained_config(model: str | Path) -> ModelConfig | None:
    """Return the config if `model` names pretrained models, such as `A+B`; None otherwise."""
    return pair.read_pretrained(str(model)) if pair.names_pretrained(model) else None


def read_config(model: str | Path) -> ModelConfig:
    """
    Read the config of a model folder, of a hub model, of a pair `A+B`, or of an exported file.

    For a pair, or a pretrained joint model, the config names the pretrained weights: see
    `models.huggingface.pair`.

    :raises FileNotFoundError: if a local folder has no config.json, or the hub no such model.
    :raises ValueError: if it is not a config; an unknown key is named.
    """
    if exported.is_exported(model):
        return exported.read_exported_config(model)
    return pretrained_config(model) or folders.read_folder_config(model, ModelConfig)


def load(
        model: str | Path, device: str | torch.device = 'cpu'
        ) -> PerceptionModel | exported.ExportedModel:
    """
    Load a model for inference: a local or hub folder, a pair `A+B`, or an exported file.

    Only config.json and model.safetensors of a folder are read; nothing is unpickled. An exported
    file becomes an `ExportedModel`, which keeps the same contract for one image size. Formats that
    can run code (.pt2) are refused, unless `sync_perception.files.trust` allows them.

    :raises FileNotFoundError: if the folder is not there or lacks a file.
    :raises ValueError: if the config is not understood or the weights do not fit it.
    """
    if exported.is_exported(model):
        return exported.load_exported(model, device)
    pretrained = pretrained_config(model)
    if pretrained is not None:
        return PerceptionModel(pretrained).eval().to(device)
    return folders.load_folder(PerceptionModel, model, device)


def save(model: FolderModel, folder: str | Path, card: str = '') -> None:
    """
    Write a model as a folder.

    :param card: text of the folder's README.md; if empty, an existing README.md is kept.
    """
    folders.save_folder(model, folder, card)
