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

"""Base class of training objectives, and the training step that they are computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
import math
from typing import Any, ClassVar

from sync_perception.files import checks
from sync_perception.models.network_input import metric_scale, normalise
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.resizing import resize_bilinear
from sync_perception.training.feeding.mixture import Mixture
from sync_perception.training.objectives.class_matching import ClassMatching
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor


class Step:
    """
    A training step: a batch and the network's predictions for it.

    The network runs on the batch once, when `output` or `depths` is first used.

    :param model: the trained network.
    :param batch: batch of `sync_perception.training.feeding.mixture`.
    :param number: optimiser steps made before this one.
    :param augment: function from images, uint8 (B, H, W, 3), to the network's input (B, 3, H, W);
        by default normalisation only.
    """

    def __init__(
            self, model: PerceptionModel, batch: dict[str, Any], number: int = 0,
            augment: Callable[[Tensor], Tensor] | None = None):
        self.model, self.batch, self.number = model, batch, number
        self.augment = augment or self.normalised

    def normalised(self, images_bhw3: Tensor) -> Tensor:
        """Return the network's input (B, 3, H, W) for images in [0, 255]."""
        return normalise(images_bhw3, self.model.config.mean, self.model.config.std)

    @cached_property
    def image(self) -> Tensor:
        """Return the network's input, (B, 3, H, W)."""
        return self.augment(self.batch['image'])

    @cached_property
    def prediction(self) -> tuple[DenseOutput, list[Tensor]]:
        """Return the network's maps at their own size, and its depth at its own scales."""
        return depth_scales(self.model, self.image)

    @cached_property
    def output(self) -> DenseOutput:
        """Return the network's maps at the size of the batch's targets."""
        return resize_output(self.prediction[0], self.batch['labels'].shape[-2:])

    @cached_property
    def depths(self) -> list[Tensor]:
        """Return canonical depth, (B, 1, h / 2^s, w / 2^s), finest first; none without depth."""
        return self.prediction[1]


@dataclass(frozen=True)
class Setup:
    """
    Inputs for the construction of an objective.

    :param model: the trained network, before weights of earlier trainings are copied.
    :param arguments: arguments of its architecture in the recipe, with its pretrained weights.
    :param classes: the network's label space, and the correspondence of others.
    :param others: the objectives built before, by name.
    """

    model: PerceptionModel
    arguments: dict[str, Any]
    classes: ClassMatching
    others: Mapping[str, Objective]


class Objective(ABC):
    """
    Base class of training objectives: loss terms, their weights, and their requirements.

    A new objective is a subclass in a file of its own and a line in
    `sync_perception.training.objectives.OBJECTIVES`. All but `terms` has a default.

    :ivar Config: the dataclass of its settings in a recipe; each field has a description, and a
        unit and range where it has any.
    :ivar TASKS: the task that a term belongs to, by the first part of its name: `depth`,
        `normals` or `semantics`, which the training may balance; terms of no task are added.
    :ivar DEFAULT: whether a training has this objective unless its recipe says `null`.
    :ivar weights: the weight of each term, by name.
    :ivar learned: auxiliary network that is trained, but not exported; None for none.
    :ivar scale_free: whether the objective leaves the scale of depth open, unless a batch provides
        one (see `scale_from`).
    :param config: an instance of Config.
    :param setup: further inputs.
    """

    Config: ClassVar[type]
    TASKS: ClassVar[Mapping[str, str]] = {}
    DEFAULT: ClassVar[bool] = False

    def __init__(self, config: Any, setup: Setup):
        self.config = config
        self.weights: dict[str, float] = {}
        self.learned: nn.Module | None = None
        self.scale_free = False

    @abstractmethod
    def terms(self, step: Step) -> dict[str, Tensor]:
        """Return the batch's available terms, unweighted scalars by name."""

    def by_task(self, terms: Mapping[str, Tensor]) -> dict[str | None, Tensor]:
        """Return the weighted terms, summed by task; None is the key of terms without task."""
        losses: dict[str | None, Tensor] = {}
        for name, term in terms.items():
            task = self.TASKS.get(name.partition('/')[0])
            losses[task] = losses.get(task, 0) + self.weights[name] * term
        return losses

    def check_offsets(self, offsets: Sequence[int]) -> None:  # noqa: B027 - optional
        """
        Raise ValueError if the data lack the neighbours that this objective needs.

        :param offsets: offsets of the samples' neighbours in frames; 0 is the stereo partner.
        """

    def check_mixture(self, mixture: Mixture) -> None:  # noqa: B027 - optional
        """Raise ValueError if no sample of the data suits this objective."""

    def prepare(self, model: nn.Module, device: torch.device) -> None:  # noqa: B027 - optional
        """Load or move objects outside of the module, before the first step."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups of `learned`; groups without rate get that of decoders."""
        return [] if self.learned is None else [{'params': list(self.learned.parameters())}]

    def scale_from(self, step: Step, terms: Mapping[str, Tensor]) -> set[str]:
        """
        Return the sources of metric scale of depth in a batch.

        :param terms: the terms that this objective has just computed.
        :return: a subset of `sync_perception.models.config.SCALE_SOURCES`.
        """
        return set()

    def state(self) -> dict[str, Any]:
        """Return the state for checkpoints, besides the weights of `learned`."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027 - optional
        """Restore a checkpoint's state."""


def at_least_0(config: Any, where: str, *names: str) -> None:
    """
    Check that the named numbers of a configuration are not negative.

    :param where: the configuration's key in a recipe.
    :raises ValueError: naming the key, what was expected and what was got.
    """
    for name in names:
        checks.number(0, math.inf)(getattr(config, name), f'{where}.{name}')


def batch_scale(batch: dict[str, Any], canonical_focal: float | None) -> Tensor:
    """
    Return the `metric_scale` of each sample's depth.

    :param canonical_focal: pixels; None if the network gives metres for any camera.
    :return: (B, 1, 1, 1), NaN for unknown cameras unless canonical_focal is None.
    """
    return metric_scale(batch['focal'], canonical_focal)[:, None, None, None]


def depth_scales(model: PerceptionModel, image_b3hw: Tensor) -> tuple[DenseOutput, list[Tensor]]:
    """
    Run a model, and return its maps, and its depth at several scales if it has them.

    :param image_b3hw: normalised.
    :return: depth of the canonical camera, (B, 1, h / 2^s, w / 2^s) each, finest first; none of a
        network without depth.
    """
    network = model.network
    whole = not any(side % network.multiple for side in image_b3hw.shape[-2:])
    if hasattr(network, 'forward_scales') and whole:
        output, disparities = network.forward_scales(image_b3hw)
        return output, [network.depth_of(disparity) for disparity in disparities]
    output = model(image_b3hw)
    return output, [] if output.depth is None else [output.depth]


def resize_output(output: DenseOutput, size: tuple[int, int]) -> DenseOutput:
    """Return all maps at one size, resized bilinearly if needed."""
    return output.apply(
        lambda values: values if values.shape[-2:] == size else resize_bilinear(values, size))
