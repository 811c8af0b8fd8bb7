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

"""Perception model: a network built from a config, loaded from and saved to a folder."""

from __future__ import annotations

from dataclasses import replace

from sync_perception.files.checks import check_arguments, first_line, shown, text
from sync_perception.labels import LabelSpace
from sync_perception.models.config import ModelConfig
from sync_perception.models.finish import Finish
from sync_perception.models.interface import Interface, Network
from sync_perception.models.registry import MODELS
from sync_perception.models.storage.folder import FolderModel
from sync_perception.types import DenseOutput
from torch import Tensor
from torch.nn import functional

BUILD_ERRORS = (
    TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError)
"""Errors that constructors raise for inconsistent values of the right types."""


class PerceptionModel(FolderModel):
    """
    Perception model: a normalised image batch in, a DenseOutput out.

    Inputs may have any size: `forward` pads them, and crops the maps.

    :param config: configuration of the model.
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
        self.finish = Finish(**config.finish)
        self.network = build_network(config, num_classes=len(space))
        self.config = replace(
            config, arguments=self.network.resolved_arguments(config.arguments))

    def forward(self, image_b3hw: Tensor) -> DenseOutput:
        """
        Run the network.

        :param image_b3hw: float (B, 3, H, W), normalised by the config's mean and std.
        :return: the network's maps, at H / k, W / k for an integer k.
        """
        height, width = image_b3hw.shape[-2:]
        down, right = -height % self.network.multiple, -width % self.network.multiple
        part = self.config.label_part
        if not down and not right and part is None:
            return self.finished(self.network(image_b3hw))
        padded = functional.pad(image_b3hw, (0, right, 0, down), mode='replicate')

        def crop(values: Tensor) -> Tensor:
            factor = padded.shape[-1] // values.shape[-1]
            return values[..., :-(-height // factor), :-(-width // factor)]

        output = self.finished(self.network(padded)).apply(crop)
        if part is None or output.logits is None:
            return output
        return replace(output, logits=output.logits[:, self.given_classes])

    def finished(self, output: DenseOutput) -> DenseOutput:
        """Return the maps after the config's `Finish`; in training they stay as they are."""
        return output if self.training else self.finish(output)


def build_network(config: ModelConfig, num_classes: int) -> Network:
    """
    Build the network of a config.

    :raises ValueError: if the architecture is unknown; the message lists the known ones.
    """
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


def build_model(config: ModelConfig) -> PerceptionModel:
    """
    Build a model with random weights, or with the `pretrained` weights of its arguments.

    :raises ValueError: if the architecture or one of its arguments is unknown.
    """
    return PerceptionModel(config)
