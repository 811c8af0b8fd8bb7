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

"""A model is a folder: config.json says what it is, model.safetensors holds its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TYPE_CHECKING

from sync_perception.labels import LabelSpace
from sync_perception.models import folder as folders
from sync_perception.models.folder import FolderConfig, FolderModel
from sync_perception.models.interface import Interface, Network, present_maps
from sync_perception.types import DenseOutput
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from sync_perception.models.exported import ExportedModel

SCALES = ('depth', 'stereo', 'poses', 'camera height')
"""What can tell a training how long a metre is."""


@dataclass
class ModelConfig(FolderConfig):
    """
    Everything that a model's user must know, beside the weights.

    :param architecture: a key of `sync_perception.models.MODELS`.
    :param arguments: the architecture's own arguments.
    :param label_space: a label space's description, as `LabelSpace.to_dict` gives it.
    :param input_pixels: area at which the network sees an image.
    :param input_size: height and width at which the network sees every image, whatever its shape,
        as in an exported file; None for a network that takes any size.
    :param mean: of the input's normalisation, per channel, in [0, 1].
    :param std: of the input's normalisation, per channel, in [0, 1].
    :param depth_range: least and greatest depth of the canonical camera, metres.
    :param canonical_focal: focal length of the canonical camera, pixels; None for a network that
        gives metres whatever the camera.
    :param focal_range: least and greatest focal length seen in training, pixels at the
        network's input size; empty if unknown.
    :param record: how the model was trained, for people.
    :param label_part: where the label space is a union, the name of the part whose classes the
        model gives, as if the others were not there; None gives them all.
    :param metric: whether depth is in metres; if not, an unknown factor, the same for all images,
        lies between: nothing in the training said how long a metre is.
    :param scale_from: what said it, some of SCALES; empty if nothing did or nobody noted it.
    """

    architecture: str
    arguments: dict[str, Any]
    label_space: dict[str, Any]
    input_pixels: int = 640 * 192
    input_size: list[int] | None = None
    mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    depth_range: list[float] = field(default_factory=lambda: [0.5, 200.0])
    canonical_focal: float | None = 375.0
    focal_range: list[float] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    label_part: str | None = None
    metric: bool = True
    scale_from: list[str] = field(default_factory=list)


class PerceptionModel(FolderModel):
    """
    A network under its contract: a normalised image batch in, a DenseOutput out.

    Inputs may have any size: they are padded inside, and the padding is cut off again.

    :param config: what to build.
    :raises ValueError: if the architecture, one of its arguments or the part of the label space
        is unknown.
    """

    config_type = ModelConfig

    def __init__(self, config: ModelConfig):
        super().__init__()
        if isinstance(config, dict):
            config = ModelConfig.from_dict(config)
        space = LabelSpace.from_dict(config.label_space)
        self.labels, self.given_classes = space.part(config.label_part)
        self.network = build_network(config, num_classes=len(space))
        self.config = replace(
            config, arguments=self.network.resolved_arguments(config.arguments))

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """
        Run the network.

        :param image_b3hw: float (B, 3, H, W), normalised by the config's mean and std.
        :return: the maps that the network gives, at H / k, W / k, k a whole number.
        """
        height, width = image_b3hw.shape[-2:]
        down, right = -height % self.network.multiple, -width % self.network.multiple
        part = self.config.label_part
        if not down and not right and part is None:
            return self.network(image_b3hw)
        padded = functional.pad(image_b3hw, (0, right, 0, down), mode='replicate')
        maps = present_maps(self.network(padded))
        for name, values in maps.items():
            factor = padded.shape[-1] // values.shape[-1]
            maps[name] = values[..., :-(-height // factor), :-(-width // factor)]
        if part is not None and 'logits' in maps:
            maps['logits'] = maps['logits'][:, self.given_classes]
        return DenseOutput(**maps)


def build_network(config: ModelConfig, num_classes: int) -> Network:
    """
    Build the architecture that a config names.

    :raises ValueError: if it is unknown; the message lists the known ones.
    """
    from sync_perception.models import MODELS
    builder: Callable[..., Network] | None = MODELS.get(config.architecture)
    if builder is None:
        raise ValueError(
            f'no architecture {config.architecture!r}, there are: {", ".join(sorted(MODELS))}')
    interface = Interface(
        num_classes, tuple(config.depth_range), tuple(config.mean), tuple(config.std))
    try:
        return builder(interface, **config.arguments)
    except TypeError as error:
        raise ValueError(
            f'architecture {config.architecture!r} does not take {config.arguments}: {error}'
        ) from error


def pretrained_config(model: str | Path) -> ModelConfig | None:
    """Return the config of the pretrained models that a name such as `A+B` means; else None."""
    from sync_perception.models.huggingface import pair  # which imports this module
    return pair.read_pretrained(str(model)) if pair.names_pretrained(model) else None


def read_config(model: str | Path) -> ModelConfig:
    """
    Read the config of a model folder, of a hub model, of a pair `A+B`, or of an exported file.

    That of a pair, or of a pretrained model that is joint by itself, names what it is pretrained
    from: see `models.huggingface.pair`.

    :raises FileNotFoundError: if a local folder has no config.json, or the hub no such model.
    :raises ValueError: if it is not a config; an unknown key is named.
    """
    from sync_perception.models import exported  # which imports this module
    if exported.is_exported(model):
        return exported.read_exported_config(model)
    return pretrained_config(model) or folders.read_config(model, ModelConfig)


def load(
        model: str | Path, device: str | torch.device = 'cpu') -> PerceptionModel | ExportedModel:
    """
    Load a model for inference: a folder, one on the Hugging Face hub, a pair `A+B` of it, a file.

    Of folders only config.json and model.safetensors are read; nothing is ever unpickled. Exported
    files give an `ExportedModel`, which keeps the same contract for one size of images.

    :raises FileNotFoundError: if the folder is not there or lacks a file.
    :raises ValueError: if the config is not understood or the weights do not fit it.
    """
    from sync_perception.models import exported  # which imports this module
    if exported.is_exported(model):
        return exported.load_exported(model, device)
    pretrained = pretrained_config(model)
    if pretrained is not None:
        return PerceptionModel(pretrained).eval().to(device)
    return folders.load(PerceptionModel, model, device)


def save(model: FolderModel, folder: str | Path, card: str = '') -> None:
    """
    Write a model as a folder.

    :param card: text of the folder's README.md; without it the folder's present one stays.
    """
    folders.save(model, folder, card)
