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

"""Load EfficientViT's published checkpoints: names, variants and classes."""

from __future__ import annotations

from typing import Any

from sync_perception.models.efficientvit.network import EfficientViT, EFFICIENTVIT_SIZES, HEAD_TAPS
from sync_perception.models.exchange.published_checkpoints import check_checkpoint
import torch
from torch import nn, Tensor

RENAMED = (
    ('head.input_ops.0.op_list.0.', 'head.input_ops.0.'),
    ('head.input_ops.1.op_list.0.', 'head.input_ops.1.'),
    ('head.output_ops.0.op_list.', 'head.output_ops.'), ('.op_list.', '.'), ('.main.', '.'),
    ('.aggreg.0.', '.aggreg.'), ('backbone.', 'encoder.'),
    ('encoder.input_stem.', 'encoder.stem.'))
LAST_LAYER = 'head.output_ops.'
ABSENT_CLASS_BIAS = -4.0
"""Initial score of classes that a checkpoint lacks: below the scores of its classes."""


def own_names(state: dict[str, Any]) -> dict[str, str]:
    """
    Map a published checkpoint's names to those of `EfficientViTBranch`.

    The L series counts its stem as the first stage.
    """
    stem_is_stage = not any('input_stem' in name for name in state)
    names = {}
    for published in state:
        name = published
        for old, new in RENAMED:
            name = name.replace(old, new)
        if stem_is_stage and name.startswith('encoder.stages.'):
            number, _, rest = name.removeprefix('encoder.stages.').partition('.')
            place = 'stem' if number == '0' else f'stages.{int(number) - 1}'
            name = f'encoder.{place}.{rest}'
        names[published] = name
    return names


def find_published_variant(state: dict[str, Any]) -> str | None:
    """Return a published checkpoint's key of VARIANTS; None if it matches none."""
    shapes = {
        own: tuple(state[name].shape) for name, own in own_names(state).items()
        if own.startswith('encoder.') and isinstance(state[name], Tensor)}
    for name, variant in EFFICIENTVIT_SIZES.items():
        with torch.device('meta'):
            encoder = EfficientViT(variant, HEAD_TAPS)
        if shapes == {f'encoder.{key}': tuple(value.shape) for key, value in encoder.state_dict(
                ).items() if not key.endswith('num_batches_tracked')}:
            return name
    return None


def load_published(branch: nn.Module, state: dict[str, Any], source: str) -> None:
    """
    Load a published segmentation checkpoint, or only its encoder if the branch has no head.

    If the branch has more classes, the checkpoint's come first and the others start with a low
    score; if it has fewer, the last layer is unchanged.

    :param branch: module with `encoder`, and optionally the published `head`.
    :param state: the checkpoint's state dict.
    :param source: its name, for the error message.
    :raises ValueError: if the checkpoint is not of this variant; the message names the tensors.
    """
    names = own_names(state)
    given = {own: state[name] for name, own in names.items()}
    weights = branch.state_dict()
    has_head = any(name.startswith(LAST_LAYER) for name in weights)
    taken = {
        name: tuple(value.shape) for name, value in weights.items()
        if name.startswith(('encoder.', 'head.') if has_head else 'encoder.')
        and not name.endswith('num_batches_tracked')}
    last = [name for name in taken if name.startswith(LAST_LAYER)][-2:] if has_head else []
    check_checkpoint(
        {name: value for name, value in given.items()
         if name not in last and (has_head or name.startswith('encoder.'))},
        {name: shape for name, shape in taken.items() if name not in last},
        f'{source} is not a checkpoint of this EfficientViT')
    with torch.no_grad():
        for name in taken:
            if name not in last:
                weights[name].copy_(given[name])
        copy_classes(*(weights[name] for name in last), *(given.get(name) for name in last))


def copy_classes(
        weight: Tensor | None = None, bias: Tensor | None = None,
        given_weight: Tensor | None = None, given_bias: Tensor | None = None) -> None:
    """Copy a last layer's classes if there are at least as many; others get a low score."""
    if weight is None or given_weight is None or len(weight) < len(given_weight):
        return
    known = len(given_weight)
    weight[:known].copy_(given_weight)
    bias[:known].copy_(given_bias)
    weight[known:] = 0
    bias[known:] = ABSENT_CLASS_BIAS
