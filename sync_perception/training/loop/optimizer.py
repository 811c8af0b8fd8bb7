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

from dataclasses import dataclass
import math
from typing import Any

import lightning
from sync_perception.files import checks
import torch
from torch import nn


@dataclass(frozen=True)
class OptimizerConfig:
    """
    AdamW, whose rates rise and then fall as half a cosine.

    :param learning_rate: peak rate of decoders, heads and couplings, 0 or more.
    :param encoder_learning_rate: peak rate of submodules named `encoder`, which may come from
        pretraining, 0 or more.
    :param encoder_layer_decay: rate of each layer of an encoder over that of the next one, in
        (0, 1]; the last layer learns at `encoder_learning_rate`.
    :param weight_decay: decoupled, 0 or more.
    :param warmup: share of the training in which the rates rise, in [0, 1].
    """

    learning_rate: float = 1e-3
    encoder_learning_rate: float = 2e-4
    encoder_layer_decay: float = 1.0
    weight_decay: float = 1e-2
    warmup: float = 0.05

    def __post_init__(self):
        """Refuse numbers out of range."""
        for name, most in (('learning_rate', 1e6), ('encoder_learning_rate', 1e6),
                           ('encoder_layer_decay', 1), ('weight_decay', 1e6), ('warmup', 1)):
            checks.number(0, most)(getattr(self, name), f'optimizer.{name}')
        if self.encoder_layer_decay == 0:
            checks.refuse('optimizer.encoder_layer_decay', 'a number in (0, 1]', 0)


def learned_parameters(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """
    Group what may be learned by its learning rate, for an optimiser of torch.

    :return: groups with `params` and `lr`, each weight once; slower groups first.
    :raises ValueError: if everything is frozen.
    """
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if not names:
        raise ValueError('the network has nothing to learn: all of its weights are frozen')
    distance = distances_from_top(names)
    groups: dict[float, list[nn.Parameter]] = {}
    for name in names:
        own = config.learning_rate
        if of_encoder(name):
            own = config.encoder_learning_rate * config.encoder_layer_decay ** distance[name]
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
