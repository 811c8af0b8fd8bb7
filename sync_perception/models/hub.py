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

from dataclasses import dataclass, field, replace
import operator
from pathlib import Path
from typing import Any, ClassVar, TYPE_CHECKING

from sync_perception.checks import (
    check_arguments,
    first_line,
    flag,
    mapping,
    number,
    optional,
    several,
    shown,
    text,
    whole,
)
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
MOST_PIXELS = 2 ** 25
"""Of a network's input: as many as an 8K camera has."""
BUILD_ERRORS = (
    TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError)
"""What a constructor raises for values of the right types that make no sense together."""

BUILD_ERRORS = (
    TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError)
"""What a constructor raises for values of the right types that make no sense together."""


def label_space(value: Any, key: str) -> None:
    """Accept descriptions of label spaces."""
    LabelSpace.from_dict(value, key)


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

    checks: ClassVar = {
        'architecture': text(), 'arguments': mapping, 'label_space': LabelSpace.from_dict,
        'input_pixels': whole(1, MOST_PIXELS),
        'input_size': optional(several(whole(1, 2 ** 14), 2)),
        'mean': several(number(0, 1), 3), 'std': several(number(0.001, 1), 3),
        'depth_range': several(number(1e-6, 1e6), 2, order=operator.lt),
        'canonical_focal': optional(number(1, 1e6)),
        'focal_range': several(number(1e-3, 1e6), 0, 2, order=operator.le), 'record': mapping,
        'label_part': optional(text()), 'metric': flag, 'scale_from': several(text(SCALES))}

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
    text(sorted(MODELS))(config.architecture, 'architecture')
    builder = MODELS[config.architecture]
    check_arguments(builder, config.arguments, 'arguments', given=1)
    interface = Interface(
        num_classes, tuple(config.depth_range), tuple(config.mean), tuple(config.std))
    try:
        return builder(interface, **config.arguments)
    except ValueError as error:
        raise ValueError(f'arguments: {first_line(error)}') from error
    except BUILD_ERRORS as error:
        raise ValueError(
            f'arguments: architecture {config.architecture!r} cannot be built of '
            f'{shown(config.arguments)}: {type(error).__name__}: '
            f'{first_line(error)}') from error


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
    files give an `ExportedModel`, which keeps the same contract for one size of images; those that
    can run code (.pt2) are refused, unless `sync_perception.trust` allows them.

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
