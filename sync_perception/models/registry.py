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

"""Registries of branches and models, by their names in config.json files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sync_perception.files.checks import check_arguments, text
from sync_perception.models.efficientvit.branches import EfficientViTBranch, EfficientViTUNet
from sync_perception.models.interface import depth_channels, Interface, Network
from sync_perception.models.padnet import PadNet
from sync_perception.models.refinenet import RefineBranch, RefineNet
from sync_perception.models.sync import Branch, SyncNet
from sync_perception.models.unet.ddpm_unet import UNet
from sync_perception.models.unet.mobilenet import MobileUNet


def transformers_depth(out_channels: int, **arguments: Any) -> Branch:
    """Build a pretrained depth model as a branch; imports the transformers library."""
    # transformers is optional and takes seconds
    from sync_perception.models.huggingface.depth import build_depth_branch
    return build_depth_branch(out_channels, **arguments)


def transformers_segmentation(out_channels: int, **arguments: Any) -> Branch:
    """Build a pretrained segmentation model as a branch."""
    # transformers is optional and takes seconds
    from sync_perception.models.huggingface.semantics import build_segmentation_branch
    return build_segmentation_branch(out_channels, **arguments)


def backbone_unet(out_channels: int, **arguments: Any) -> Branch:
    """Build a UNet around a backbone of the transformers library; imports that library."""
    # transformers is optional and takes seconds
    from sync_perception.models.huggingface.backbone_unet import BackboneUNet
    return BackboneUNet(out_channels, **arguments)


# Each constructor takes the number of output channels, then its own arguments.
BRANCHES: dict[str, Callable[..., Branch]] = {
    'unet': UNet,
    'mobile_unet': MobileUNet,
    'efficientvit': EfficientViTBranch,
    'efficientvit_unet': EfficientViTUNet,
    'backbone_unet': backbone_unet,
    'refinenet': RefineBranch,
    'transformers_depth': transformers_depth,
    'transformers_segmentation': transformers_segmentation,
}


def build_branch(
        out_channels: int, kind: str, freeze_encoder: bool = False, image_scale: float = 1.0,
        **arguments: Any) -> Branch:
    """
    Build a branch by name.

    :param kind: a key of BRANCHES.
    :param freeze_encoder: whether its encoder is frozen in training.
    :param image_scale: side length of the branch's image relative to the network's input, in (0,
        2].
    :raises ValueError: if there is no such kind, or the scale is out of range.
    """
    text(sorted(BRANCHES))(kind, 'kind')
    check_arguments(BRANCHES[kind], arguments, f'branch {kind!r}', given=1)
    if not 0 < image_scale <= 2:
        raise ValueError(f'expected an image_scale in (0, 2], got {image_scale}')
    branch = BRANCHES[kind](out_channels, **arguments)
    branch.image_scale = image_scale
    if freeze_encoder:
        branch.freeze_encoder()
    return branch


def build_sync(
        interface: Interface, depth: dict[str, Any] | None, semantics: dict[str, Any] | None,
        depth_to_semantics: bool = True, semantics_to_depth: bool = True,
        alignment: bool = False, uncertainty: bool = False, normals: bool = False) -> SyncNet:
    """
    Build a synchronised network of two branches, or one of its baselines.

    :param interface: classes, depth range and normalisation.
    :param depth: the depth branch's `kind` and arguments; None for labels only.
    :param semantics: the semantic branch's `kind` and arguments; None for depth only.
    :param depth_to_semantics: whether the depth encoder feeds the semantic decoder.
    :param semantics_to_depth: whether the semantic encoder feeds the depth decoder.
    :param alignment: whether the semantic encoder also modulates the depth decoder's input.
    :param uncertainty: whether the depth branch also outputs the log-variance of ln(depth).
    :param normals: whether the depth branch also outputs surface normals.
    """
    for name, branch in (('depth', depth), ('semantics', semantics)):
        if branch is not None:
            check_arguments(build_branch, branch, name, given=1)
    depth_outputs = sum(depth_channels(uncertainty, normals).values())
    return SyncNet(
        None if depth is None else build_branch(depth_outputs, **depth),
        None if semantics is None else build_branch(interface.num_classes, **semantics),
        interface, depth_to_semantics=depth_to_semantics, semantics_to_depth=semantics_to_depth,
        alignment=alignment, uncertainty=uncertainty, normals=normals)


def transformers_joint(interface: Interface, **arguments: Any) -> Network:
    """Build a pretrained model that outputs depth, normals and labels."""
    # transformers is optional and takes seconds
    from sync_perception.models.huggingface.joint import Joint
    return Joint(interface, **arguments)


# Each constructor takes the interface, then its own arguments.
MODELS: dict[str, Callable[..., Network]] = {
    'padnet': PadNet,
    'sync': build_sync,
    'refinenet': RefineNet,
    'transformers_joint': transformers_joint,
}
