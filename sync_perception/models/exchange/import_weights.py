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


"""`sync_perception import-weights`: convert published checkpoints to model folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import os
from pathlib import Path
import shutil
from typing import Any

from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.models.efficientvit.published import (
    find_published_variant,
    LAST_LAYER,
    load_published,
    own_names,
)
from sync_perception.models.exchange.published_checkpoints import (
    check_checkpoint,
    read_checkpoint,
    shape_of,
)
from sync_perception.models.interface import IMAGENET_NORMALISATION
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.refinenet import POOLINGS
from sync_perception.models.storage.weights import check_finite
from sync_perception.models.unet.mobilenet import STAGES

IMAGENET_MEAN, IMAGENET_STD = map(list, IMAGENET_NORMALISATION)
CITYSCAPES_CLASSES = 19
# Normals are published as right, forward, down, and here as right, down, forward.
NORMAL_AXES = [0, 2, 1]


@dataclass(frozen=True)
class ImportOptions:
    """
    Properties that a checkpoint does not state; None for the published networks' values.

    :param label_space: a name, a YAML file or several of them joined by `+`.
    :param label_part: if several are joined, the one whose classes the model outputs; None for
        all.
    :param focal: focal length in pixels, at the network's input size, of the camera of the
        training data; None if the network's depth is metric for any camera.
    :param input_pixels: area to which images are resized for the network, pixels.
    :param max_depth: greatest valid depth of the network, metres.
    """

    label_space: str | None = None
    label_part: str | None = None
    focal: float | None = None
    input_pixels: int | None = None
    max_depth: float | None = None


@dataclass(frozen=True)
class Recipe:
    """
    Conversion of an architecture's published checkpoints.

    :param configure: returns the config for a checkpoint's weights and the user's options.
    :param load: copies the checkpoint's weights into the model; raises ValueError, whose message
        begins with the given file name, if they do not fit.
    """

    configure: Callable[[dict[str, Any], ImportOptions], ModelConfig]
    load: Callable[[PerceptionModel, dict[str, Any], str], None]


@dataclass(frozen=True)
class CheckpointDefaults:
    """
    Defaults of the published networks of a label space.

    :param label_space: its name.
    :param input_pixels: area of its data set's images.
    :param max_depth: greatest depth of its data set, metres.
    """

    label_space: str
    input_pixels: int
    max_depth: float


# by the number of classes
REFINENETS = {
    40: CheckpointDefaults('nyud40', 640 * 480, 10.0),
    6: CheckpointDefaults('kitti6', 1242 * 375, 80.0),
    46: CheckpointDefaults('nyud40+kitti6', 640 * 480, 80.0),
}


def import_weights(
        checkpoint: str | Path, architecture: str, out: str | Path,
        options: ImportOptions | None = None) -> ModelConfig:
    """
    Convert a published checkpoint to a model folder, atomically.

    :param checkpoint: .ckpt, .pth, .pt (read without running any code in them) or .safetensors:
        a state dict, also inside `state_dict`, also with `module.` before every name.
    :param architecture: a key of RECIPES.
    :param out: the folder; it must not hold anything yet.
    :return: the config that was written.
    :raises FileNotFoundError: if there is no such checkpoint.
    :raises ValueError: if the architecture has no recipe, the checkpoint cannot be read or is not
        one of this architecture (what is missing, left over or of another shape is named), its
        label space is unknown, or the folder is not empty.
    """
    if architecture not in RECIPES:
        raise ValueError(
            f'no checkpoints of {architecture!r} can be imported, only of: '
            f'{", ".join(sorted(RECIPES))}')
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f'{out} already exists and is not empty: expected a new folder')
    recipe = RECIPES[architecture]
    state = read_checkpoint(checkpoint)
    config = recipe.configure(state, options or ImportOptions())
    model = build_model(replace(config, record={'imported_from': Path(checkpoint).name}))
    recipe.load(model, state, str(checkpoint))
    try:
        check_finite(model)
    except ValueError as error:
        raise ValueError(f'{checkpoint}: {error}') from error
    write_folder(model, out, card_of(model, checkpoint))
    return model.config


def write_folder(model: PerceptionModel, out: Path, card: str) -> None:
    """Write a model folder atomically: to a temporary folder beside it, which is then renamed."""
    staging = out.with_name(f'.{out.name}.{os.getpid()}')
    try:
        hub.save(model, staging, card)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def card_of(model: PerceptionModel, checkpoint: str | Path) -> str:
    """Return the model card: the source of the weights and the classes."""
    config = model.config
    metres = 'metres for any camera'
    if config.canonical_focal is not None:
        metres = f'metres of a camera with a focal length of {config.canonical_focal} pixels'
    return (
        f'# {config.architecture}, {model.labels.name}\n\n'
        f'Imported from `{Path(checkpoint).name}`: {len(model.labels)} classes of '
        f'`{model.labels.name}`; depth in {metres}. The weights keep the licence under which they '
        'were published.\n')


def configure_refinenet(state: dict[str, Any], options: ImportOptions) -> ModelConfig:
    """
    Return the config of a Light-Weight RefineNet, with classes and tasks of its heads.

    :raises ValueError: if the label space is not known by the number of classes, or does not
        have as many.
    """
    scores = shape_of(state.get('segm.weight'))
    classes = scores[0] if isinstance(scores, tuple) and scores else None
    defaults = REFINENETS.get(classes)
    if options.label_space is None and classes is not None and defaults is None:
        raise ValueError(
            f'the checkpoint has {classes} classes, which determine the label space only for '
            f'{sorted(REFINENETS)}: expected --label-space with a label space of as many')
    space = LabelSpace.load(options.label_space or (defaults or REFINENETS[40]).label_space)
    if classes is not None and len(space) != classes:
        raise ValueError(
            f'the checkpoint has {classes} classes, label space {space.name!r} has {len(space)}')
    defaults = defaults or CheckpointDefaults(space.name, 640 * 480, 80.0)
    return ModelConfig(
        'refinenet', {'depth_form': 'metres', 'normals': 'normal.weight' in state},
        space.to_dict(), input_pixels=options.input_pixels or defaults.input_pixels,
        mean=IMAGENET_MEAN, std=IMAGENET_STD,
        depth_range=[0.1, options.max_depth or defaults.max_depth], canonical_focal=options.focal,
        label_part=options.label_part)


def load_refinenet(model: PerceptionModel, state: dict[str, Any], source: str) -> None:
    """
    Copy a published Light-Weight RefineNet's weights.

    :raises ValueError: if a tensor is missing, left over or of another shape.
    """
    weights = model.network.state_dict()
    names = refinenet_names(model.config)
    check_checkpoint(
        state, {theirs: tuple(weights[ours].shape) for theirs, ours in names.items()},
        f'{source} is not a checkpoint of refinenet for the label space {model.labels.name}')
    for theirs, ours in names.items():
        is_normals = theirs in ('normal.weight', 'normal.bias')
        weights[ours].copy_(state[theirs][NORMAL_AXES if is_normals else slice(None)])


def refinenet_names(config: ModelConfig) -> dict[str, str]:
    """
    Map the parameter names of the published Light-Weight RefineNet to ours.

    In the published names, `layer1` is the stem, `layer2` to `layer8` are the stages, `conv3` to
    `conv8` the laterals, finest first, as are `crp1` to `crp4` and `conv_adapt2` to `4`.
    """
    names = convolution_names('layer1', 'encoder.stem', 0)
    block = 0
    for layer, (_, _, repeats, _) in enumerate(STAGES, start=2):
        for repeat in range(repeats):
            for unit in range(3):
                names |= convolution_names(
                    f'layer{layer}.{repeat}.output.{unit}', f'encoder.blocks.{block}.layers',
                    3 * unit)
            block += 1
    for level in range(6):
        names[f'conv{level + 3}.weight'] = f'decoder.laterals.{level}.weight'
    for level in range(4):
        for index in range(POOLINGS):
            names[f'crp{level + 1}.0.{index + 1}_outvar_dimred.weight'] = (
                f'decoder.poolings.{level}.convolutions.{index}.weight')
    for level in range(3):
        names[f'conv_adapt{level + 2}.weight'] = f'decoder.adaptations.{level}.weight'
    heads = {'depth': 'depth', 'segm': 'logits'}
    if config.arguments.get('normals'):
        heads['normal'] = 'normals'
    for theirs, ours in heads.items():
        names[f'pre_{theirs}.weight'] = f'heads.{ours}.0.weight'
        names[f'{theirs}.weight'] = f'heads.{ours}.2.weight'
        names[f'{theirs}.bias'] = f'heads.{ours}.2.bias'
    return names


def convolution_names(theirs: str, ours: str, index: int) -> dict[str, str]:
    """Map a convolution and its batch norm: published indices 0 and 1, ours from `index` on."""
    norm = ('weight', 'bias', 'running_mean', 'running_var')
    return {
        f'{theirs}.0.weight': f'{ours}.{index}.weight',
        **{f'{theirs}.1.{name}': f'{ours}.{index + 1}.{name}' for name in norm}}


def configure_efficientvit(state: dict[str, Any], options: ImportOptions) -> ModelConfig:
    """
    Return the config of a published EfficientViT, with its variant and classes.

    :raises ValueError: if it is no such checkpoint, or the label space is not known by the number
        of classes or does not have as many.
    """
    variant = find_published_variant(state)
    if variant is None:
        raise ValueError(
            'the checkpoint is not of an EfficientViT for segmentation: expected the tensors of '
            'b0, b1, b2, b3, l1 or l2, as the authors publish them')
    last = [name for name, own in own_names(state).items() if own.startswith(LAST_LAYER)]
    classes = len(state[last[-1]]) if last else 0
    if options.label_space is None and classes != CITYSCAPES_CLASSES:
        raise ValueError(
            f'the checkpoint has {classes} classes, expected --label-space with a label space of '
            f'as many; {CITYSCAPES_CLASSES} are assumed to be those of Cityscapes')
    space = LabelSpace.load(options.label_space or 'cityscapes19')
    if len(space) != classes:
        raise ValueError(
            f'the checkpoint has {classes} classes, label space {space.name!r} has {len(space)}')
    return ModelConfig(
        'sync', {'depth': None, 'semantics': {'kind': 'efficientvit', 'variant': variant}},
        space.to_dict(), input_pixels=options.input_pixels or 2048 * 1024, mean=IMAGENET_MEAN,
        std=IMAGENET_STD, canonical_focal=options.focal, label_part=options.label_part)


def load_efficientvit(model: PerceptionModel, state: dict[str, Any], source: str) -> None:
    """
    Copy a published EfficientViT's weights.

    :raises ValueError: if a tensor is missing, left over or of another shape.
    """
    load_published(model.network.semantics, state, source)


RECIPES: dict[str, Recipe] = {
    'efficientvit': Recipe(configure_efficientvit, load_efficientvit),
    'refinenet': Recipe(configure_refinenet, load_refinenet),
}
