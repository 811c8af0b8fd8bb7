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

"""Model configuration: the content of config.json."""

from __future__ import annotations

from dataclasses import dataclass, field
import math
import operator
from typing import Any, ClassVar

from sync_perception.files.checks import (
    check_arguments,
    flag,
    mapping,
    number,
    optional,
    several,
    text,
    whole,
)
from sync_perception.labels import LabelSpace
from sync_perception.models.finish import Finish
from sync_perception.models.storage.folder import FolderConfig

SCALE_SOURCES = ('depth', 'stereo', 'poses', 'camera height')
"""Sources of metric scale in training."""
MOST_PIXELS = 2 ** 22
"""Limit of a network's input, pixels: more would take gigabytes of memory for one image."""
MOST_UNEQUAL_SIDES = 64
"""Limit of the ratio of the sides of a network's input."""
MOST_MULTIPLE = 512
"""Limit of `input_multiple`, pixels."""


def check_label_space(value: Any, key: str) -> None:
    """Check that a value describes a label space with a class at a finite distance."""
    if LabelSpace.from_dict(value, key).infinite.all():
        raise ValueError(
            f'{key}: expected a class at a finite distance, got {{infinite: true}} for all')


def finish_arguments(value: Any, key: str) -> None:
    """Check that a value holds arguments of `Finish`."""
    check_arguments(Finish, value, key)
    Finish(**value)


def check_input_size(value: Any, key: str) -> None:
    """Check that a value is a height and width of a bounded area and shape."""
    several(whole(1, 2 ** 14), 2)(value, key)
    area, ratio = math.prod(value), max(value) / min(value)
    if area > MOST_PIXELS or ratio > MOST_UNEQUAL_SIDES:
        raise ValueError(
            f'{key}: expected at most {MOST_PIXELS} pixels and sides that differ by a factor of '
            f'at most {MOST_UNEQUAL_SIDES}, got {list(value)}')


@dataclass
class ModelConfig(FolderConfig):
    """
    Configuration of a model: all that is needed to use its weights.

    :param architecture: a key of `sync_perception.models.MODELS`.
    :param arguments: the architecture's own arguments.
    :param label_space: description of the label space, as `LabelSpace.to_dict` returns it.
    :param input_pixels: area to which images are resized for the network, pixels.
    :param input_multiple: both sides of the network's input are multiples of it, pixels; 96 keeps
        the scale of a branch that sees the image at 2/3 of its size.
    :param input_size: fixed height and width of the network's input, as in an exported file; None
        for a network that takes any size.
    :param mean: mean of the input's normalisation, per channel, in [0, 1].
    :param std: standard deviation of the input's normalisation, per channel, in [0, 1].
    :param depth_range: least and greatest depth of the canonical camera, metres.
    :param canonical_focal: focal length of the canonical camera, pixels; None for a network whose
        output is metric for any camera.
    :param focal_range: least and greatest focal length seen in training, pixels at the
        network's input size; empty if unknown.
    :param record: how the model was trained; for human readers.
    :param label_part: if the label space is a union, the name of the part whose classes the model
        outputs; None outputs the classes of all parts.
    :param metric: whether depth is in metres; if not, it is correct up to an unknown factor, the
        same for all images, because the training had no source of metric scale.
    :param finish: arguments of `Finish`, which changes the maps outside of training.
    :param scale_from: sources of the metric scale in training, a subset of SCALES; empty if there
        were none or they are unknown.
    """

    checks: ClassVar = {
        'architecture': text(), 'arguments': mapping, 'label_space': check_label_space,
        'input_pixels': whole(1, MOST_PIXELS), 'input_multiple': whole(1, MOST_MULTIPLE),
        'input_size': optional(check_input_size),
        'mean': several(number(0, 1), 3), 'std': several(number(0.001, 1), 3),
        'depth_range': several(number(1e-6, 1e6), 2, order=operator.lt),
        'canonical_focal': optional(number(1, 1e6)),
        'focal_range': several(number(1e-3, 1e6), 0, 2, order=operator.le), 'record': mapping,
        'label_part': optional(text()), 'metric': flag,
        'scale_from': several(text(SCALE_SOURCES)), 'finish': finish_arguments}

    architecture: str
    arguments: dict[str, Any]
    label_space: dict[str, Any]
    input_pixels: int = 640 * 192
    input_multiple: int = 32
    input_size: list[int] | None = None
    mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    depth_range: list[float] = field(default_factory=lambda: [0.5, 200.0])
    canonical_focal: float | None = 375.0
    focal_range: list[float] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    label_part: str | None = None
    metric: bool = True
    finish: dict[str, float] = field(default_factory=dict)
    scale_from: list[str] = field(default_factory=list)
