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

"""Networks: a normalised image batch in, a DenseOutput out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sync_perception.models.hub import ModelConfig, PerceptionModel
from sync_perception.models.mobilenet import MobileUNet
from sync_perception.models.sync import Branch, SyncNet
from sync_perception.models.unet import UNet
from torch import nn

BRANCHES: dict[str, Callable[..., Branch]] = {
    'unet': UNet,
    'mobile_unet': MobileUNet,
}


def build_branch(out_channels: int, kind: str, **arguments: Any) -> Branch:
    """
    Build a branch by name.

    :raises ValueError: if there is no such kind.
    """
    if kind not in BRANCHES:
        raise ValueError(f'no branch {kind!r}, there are: {", ".join(sorted(BRANCHES))}')
    return BRANCHES[kind](out_channels, **arguments)


def build_sync(
        num_classes: int, depth: dict[str, Any], semantics: dict[str, Any],
        depth_to_semantics: bool = True, semantics_to_depth: bool = True) -> SyncNet:
    """
    Build the synchronised network of two branches.

    :param depth: the depth branch's `kind` and arguments.
    :param semantics: the semantic branch's `kind` and arguments.
    """
    return SyncNet(
        build_branch(1, **depth), build_branch(num_classes, **semantics),
        depth_to_semantics=depth_to_semantics, semantics_to_depth=semantics_to_depth)


MODELS: dict[str, Callable[..., nn.Module]] = {
    'sync': build_sync,
}


def build_model(config: ModelConfig) -> PerceptionModel:
    """
    Build a model with fresh weights.

    :raises ValueError: if the architecture or one of its arguments is unknown.
    """
    return PerceptionModel(config)
