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


"""Which weight learns how fast: encoders slower than the rest, their early layers slowest."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import nn


def learned_parameters(
        model: nn.Module, rate: float, encoder_rate: float, layer_decay: float = 1.0
        ) -> list[dict[str, Any]]:
    """
    Group what may be learned by its learning rate, for an optimiser of torch.

    :param rate: of all that is in no encoder.
    :param encoder_rate: of the last layer of every submodule named `encoder`.
    :param layer_decay: each layer's rate over that of the next, in (0, 1].
    :return: groups with `params` and `lr`, each weight once; slower groups first.
    :raises ValueError: if everything is frozen or the decay is out of range.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f'expected an encoder_layer_decay in (0, 1], got {layer_decay}')
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if not names:
        raise ValueError('the network has nothing to learn: all of its weights are frozen')
    distance = distances_from_top(names)
    groups: dict[float, list[nn.Parameter]] = {}
    for name in names:
        own = encoder_rate * layer_decay ** distance[name] if of_encoder(name) else rate
        groups.setdefault(own, []).append(model.get_parameter(name))
    return [{'params': groups[own], 'lr': own} for own in sorted(groups)]


def of_encoder(name: str) -> bool:
    """Say of a parameter's name whether it is below an `encoder` that is no part of a decoder."""
    path = name.split('.')
    return 'encoder' in path and 'decoder' not in path[:path.index('encoder')]


def distances_from_top(names: list[str]) -> dict[str, int]:
    """
    Count for each parameter of an encoder the layers between it and the encoder's last one.

    A layer is what the first number behind `encoder` counts: `encoder.layer.3.attention.weight`
    belongs to the fourth. What comes before any layer (embeddings, a stem) is one farther than
    the first; what has no number and is declared behind the layers (a norm) goes with the last.

    :param names: in the order of declaration.
    """
    places: dict[str, tuple[str, int]] = {}
    layers: dict[str, int] = {}
    for name in filter(of_encoder, names):
        path = name.split('.')
        behind = path.index('encoder') + 1
        encoder = '.'.join(path[:behind])
        number = next((int(part) for part in path[behind:] if part.isdecimal()), None)
        if number is None:
            number = layers.get(encoder, 0) - 1
        places[name] = encoder, number
        layers[encoder] = max(layers.get(encoder, 0), number + 1)
    return {name: layers[encoder] - 1 - number for name, (encoder, number) in places.items()}


def annealed(
        optimizer: torch.optim.Optimizer, trainer: lightning.Trainer, warmup: float
        ) -> dict[str, Any]:
    """
    Let an optimiser's rates rise and fall over a training, as Lightning wants to be told.

    :param warmup: share of the training in which the rates rise.
    """
    steps = trainer.estimated_stepping_batches
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_cosine(step / steps, warmup))
    return {
        'optimizer': optimizer, 'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'}}


def warm_cosine(progress: float, warmup: float) -> float:
    """
    Share of the peak learning rate: a linear rise, then half a cosine down to zero.

    :param progress: share of the training that is done.
    :param warmup: share of the training in which the rate rises.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1)))
